"""E-values: how a profile scores random sequences.

Local Viterbi and MSV scores of random sequences follow Gumbel distributions and local Forward scores have an
exponential tail, all with one slope, lambda, close to log 2 per bit (Eddy, PLoS Comput. Biol. 4:e1000069, 2008). The
slope is computed from the profile, the locations are fitted to simulated sequences of the background's composition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import numpy as np
from numpy.typing import NDArray

from ..hmm.chain import forward_scores, length_model
from ..hmm.chain_paths import viterbi
from ..hmm.ungapped import ungapped_scores
from .build import relative_entropy
from .plan7 import SearchModel
from .profile import Codes, Profile
from .statistics import null_score

#: random sequences and their length: for Gumbel distributions and for the exponential tail
_SEQUENCES = 200
_GUMBEL_LENGTH = 200
_TAIL_LENGTH = 100
#: share of the scores that belongs to the tail
_TAIL = 0.04
#: sequences scored at once
_BATCH = 40


def calibrate(profile: Profile, *, seed: int = 42) -> Profile:
    """The profile with its statistics of random scores.

    Args:
        profile: any.
        seed: of the random sequences; same seed, same statistics.
    """
    slope = slope_of(profile)
    generator = np.random.default_rng(seed)
    alphabet = profile.alphabet

    def draw(length: int) -> NDArray[np.uint8]:
        return generator.choice(alphabet.size, (_SEQUENCES, length), p=alphabet.background).astype(np.uint8)

    model = SearchModel(profile)
    ungapped = partial(ungapped_scores, model.log_odds, np.float32(model.size))
    msv = gumbel_location(_bits(ungapped, draw(_GUMBEL_LENGTH)), slope)
    viterbi_mu = gumbel_location(_bits(lambda *x: viterbi(model.chain, *x).score, draw(_GUMBEL_LENGTH)), slope)
    tau = tail_location(_bits(partial(forward_scores, model.chain), draw(_TAIL_LENGTH)), slope)
    statistics = {"MSV": (msv, slope), "VITERBI": (viterbi_mu, slope), "FORWARD": (tau, slope)}
    return replace(profile, statistics=statistics)


def _bits(score: Callable[..., jax.Array], sequences: Codes) -> NDArray[np.float64]:
    """Multihit scores of sequences [n, length], null model taken off."""
    nats = []
    for i in range(0, len(sequences), _BATCH):
        codes = sequences[i : i + _BATCH]
        lengths = np.full(len(codes), codes.shape[1], np.int32)
        nats.append(np.asarray(score(length_model(lengths, multihit=True), codes, lengths), np.float64))
    return (np.concatenate(nats) - null_score(sequences.shape[1])) / np.log(2)


def slope_of(profile: Profile) -> float:
    """Lambda per bit: log 2, and the edge correction for short profiles with little information."""
    return float(np.log(2) + 1.44 / (profile.length * relative_entropy(profile.match, profile.alphabet)))


def gumbel_location(scores: NDArray[np.floating], slope: float) -> float:
    """Maximum likelihood location of a Gumbel distribution of known slope (Lawless 1982, eq. 4.1.6)."""
    values = np.asarray(scores, np.float64)
    lowest = values.min()
    return float(lowest - np.log(np.mean(np.exp(-slope * (values - lowest)))) / slope)


def tail_location(scores: NDArray[np.floating], slope: float) -> float:
    """Where an exponential tail of known slope would have probability 1: a Gumbel is fitted to all scores, slope
    included, and its quantile at the tail's mass is extended.
    """
    location, own_slope = _fit_gumbel(np.asarray(scores, np.float64))
    threshold = location - np.log(-np.log1p(-_TAIL)) / own_slope
    return float(threshold + np.log(_TAIL) / slope)


def _fit_gumbel(values: NDArray[np.float64]) -> tuple[float, float]:
    """Maximum likelihood location and slope of a Gumbel distribution (Lawless 1982, eq. 4.1.5)."""
    from scipy.optimize import brentq  # type: ignore[import-untyped]

    centred = values - values.mean()

    def excess(slope: float) -> float:
        weights = np.exp(-slope * (centred - centred.min()))
        return 1 / slope - values.mean() + float(weights @ values / weights.sum())

    guess = np.pi / np.sqrt(6) / values.std()
    slope = float(brentq(excess, guess / 20, guess * 20))
    return gumbel_location(values, slope), slope
