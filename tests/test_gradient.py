"""Fitting profiles by gradient: expected counts against the enumeration of all paths, and what the fit does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from profile_samples import random_profile
from test_align import emit

from lstmhmm_bio.hmm.chain import forward_scores, length_model
from lstmhmm_bio.profiles.align import batches
from lstmhmm_bio.profiles.gradient import expected_counts, refined
from lstmhmm_bio.profiles.plan7 import configure
from lstmhmm_bio.profiles.profile import AMINO, DD, DM, DNA, II, IM, MD, MI, MM, Codes, Profile

#: transitions out of a state, and to which state
_OUT = {"M": ((MM, "M"), (MI, "I"), (MD, "D")), "I": ((IM, "M"), (II, "I")), "D": ((DM, "M"), (DD, "D"))}

Use = tuple[str, int, int]


def all_paths(profile: Profile, codes: Codes) -> Iterator[tuple[float, list[Use]]]:
    """Odds of every whole path through a profile, between flanks, and what it uses: ("match", node, residue) and
    ("transition", node, column)."""
    n, size = len(codes), profile.length
    loop, move = (float(x[0]) for x in length_model(np.array([n]), multihit=False)[:2])
    t = profile.transitions

    def onward(state: str, node: int, at: int, odds: float, uses: list[Use]) -> Iterator[tuple[float, list[Use]]]:
        if node == size:
            yield odds * loop ** (n - at) * move, uses + [("transition", size, MM)] * (state == "M")
            return
        for column, to in _OUT[state]:
            if node == 0 and column == MI:
                continue
            # no insertion before the first node: what would open one goes on to M1
            p = 1 - t[0, MD] if node == 0 and column == MM else t[node, column]
            used = [*uses, ("transition", node, column)]
            if to == "D":
                yield from onward("D", node + 1, at, odds * p, used)
            elif at < n and to == "M":
                emitted = profile.match[node, codes[at]] / profile.alphabet.background[codes[at]]
                used.append(("match", node, int(codes[at])))
                yield from onward("M", node + 1, at + 1, odds * p * emitted, used)
            elif at < n:
                yield from onward("I", node, at + 1, odds * p, used)

    for start in range(n):
        for odds, uses in onward("M", 0, start, loop**start * move, []):
            if any(kind == "match" for kind, *_ in uses):
                yield odds, uses


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_all_paths(seed: int) -> None:
    profile = random_profile(DNA, 3, seed)
    rng = np.random.default_rng(seed)
    sequences = [rng.integers(0, 4, length).astype(np.uint8) for length in (4, 2, 5)]
    weights = rng.uniform(0.5, 2, 3)
    match, transitions = np.zeros((3, 4)), np.zeros((4, 7))
    for codes, weight in zip(sequences, weights, strict=True):
        paths = list(all_paths(profile, codes))
        total = sum(odds for odds, _ in paths)
        for odds, uses in paths:
            for kind, node, which in uses:
                (match if kind == "match" else transitions)[node, which] += weight * odds / total
    counts, counted = expected_counts(profile, sequences, weights)
    assert counted == 3
    np.testing.assert_allclose(counts.match, match, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(counts.transitions, transitions, rtol=2e-4, atol=1e-5)


def scores_of(profile: Profile, sequences: list[Codes]) -> np.ndarray:
    chain = configure(profile, "glocal")
    result = np.zeros(len(sequences))
    for members, codes, lengths in batches(sequences, chain):
        result[members] = forward_scores(chain, length_model(lengths, multihit=False), codes, lengths)[: len(members)]
    return result


def test_the_fit_climbs_and_predicts() -> None:
    """Sequences of one profile are likelier, seen or not, after another one like it has been fitted to some of them."""
    true = random_profile(AMINO, 20, 1)
    rng = np.random.default_rng(2)
    seen, unseen = ([AMINO.encode(emit(true, rng, 3)) for _ in range(n)] for n in (60, 40))
    begun = Profile("x", AMINO, 0.5 * true.match + 0.5 * AMINO.background, true.insert, true.transitions)
    fitted = refined(begun, seen, np.ones(len(seen)), 3)
    assert fitted.length == begun.length
    np.testing.assert_allclose(fitted.match.sum(axis=1), 1)
    for sequences in (seen, unseen):
        assert scores_of(fitted, sequences).mean() > scores_of(begun, sequences).mean() + 1


def test_sequences_that_no_whole_path_emits_are_left_out() -> None:
    """They change neither the counts of others nor, by themselves, the profile."""
    profile = random_profile(AMINO, 30, 3)
    rng = np.random.default_rng(4)
    members = [AMINO.encode(emit(profile, rng, 3)) for _ in range(4)]
    empty = np.zeros(0, np.uint8)
    alone, _ = expected_counts(profile, members, np.ones(4))
    with_empty, counted = expected_counts(profile, [empty, *members], np.ones(5))
    assert counted == 4
    np.testing.assert_allclose(with_empty.match, alone.match, rtol=1e-5)
    assert refined(profile, [empty], np.ones(1), 2) is profile
