"""Null models and significance: from scores in nat to bits, P-values and E-values, as in HMMER3."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .profile import Profile

#: prior probability of the null model of biased composition
OMEGA = 1 / 256


def null_score(length: int) -> float:
    """Log probability in nat of the length of a sequence under the null model; its residues score 0 there."""
    return length * math.log(length / (length + 1)) - math.log(length + 1)


def bias_correction(log_odds: float) -> float:
    """What is taken off a score in nat for biased composition, given the residues' log odds under a null model of
    that composition. HMMER's table of logarithms, in steps of 1/1000 nat, is followed.
    """
    biased = math.log(OMEGA) + log_odds
    steps = math.floor(abs(biased) * 1000)
    return max(0.0, biased) + (math.log1p(math.exp(-steps / 1000)) if steps < 15_700 else 0.0)


def log_survival(bits: float, statistics: tuple[float, float]) -> float:
    """Log of the P-value of a forward score: an exponential tail from (tau, lambda)."""
    tau, rate = statistics
    return min(0.0, -rate * (bits - tau))


def gumbel_survival(bits: float, statistics: tuple[float, float]) -> float:
    """P-value of a Viterbi or ungapped score: a Gumbel distribution of (mu, lambda)."""
    mu, rate = statistics
    return -math.expm1(-math.exp(min(700.0, -rate * (bits - mu))))


def composition_score(profile: Profile, codes: NDArray[np.uint8]) -> float:
    """Log odds in nat of a sequence under a null model of two states, background and the profile's mean composition.

    Scores of sequences that merely resemble the profile's composition are held against this before they are taken
    any further.
    """
    alphabet = profile.alphabet
    if profile.composition is None:
        return 0.0
    odds_of_composition = (alphabet.expand @ profile.composition) / np.maximum(
        alphabet.expand @ alphabet.background, 1e-300
    )
    odds_of_composition[~alphabet.expand.any(axis=1)] = 1.0
    background_length, profile_length = 400.0, profile.length / 8.0
    stay = background_length / (background_length + 1)
    stay_biased = profile_length / (profile_length + 1)
    normal, biased, total = 0.999, 0.001 * 1.0, 0.0
    first = True
    for odds in odds_of_composition[codes].tolist():
        if not first:
            normal, biased = (
                normal * stay + biased * (1 - stay_biased),
                normal * (1 - stay) + biased * stay_biased,
            )
        first = False
        biased *= odds
        scale = normal + biased
        total += math.log(scale)
        normal, biased = normal / scale, biased / scale
    return total
