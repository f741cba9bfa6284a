"""Fitting a profile to sequences by gradient through the forward algorithm.

The derivative of a sequence's log odds by the log of a parameter is the expected number of times that its paths use the
parameter (Fisher's identity), so one differentiation of `hmm.chain.forward` counts all paths at once, by their
probabilities. The mean posterior estimate of these counts under the priors, with the effective number of sequences as
in `build`, is the step that follows: it climbs without a rate to choose and stays a probability (Dempster, Laird and
Rubin, J. R. Stat. Soc. B 39:1, 1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..hmm.chain import Chain, Flanks, forward, forward_scores, length_model
from .align import batches, without_stops
from .build import Counts, effective_number, estimate, shares
from .plan7 import configure
from .priors import prior_of
from .profile import DD, DM, MD, MM, Codes, Profile


def refined(profile: Profile, sequences: Sequence[Codes], weights: NDArray[np.float64], rounds: int) -> Profile:
    """The profile after some rounds of fitting, with the match states that it has.

    Insert states keep their emissions: they score as the background does.

    Args:
        profile: to begin with.
        sequences: codes in its alphabet, whole members of the family.
        weights: [sequences], of mean 1.
        rounds: each counts once over all sequences.
    """
    prior = prior_of(profile.alphabet)
    for _ in range(rounds):
        counts, counted = expected_counts(profile, sequences, weights)
        if not counted:
            return profile
        effective = effective_number(counts.match, counted, profile.alphabet, prior)
        new = estimate(counts.scaled(effective / counted), profile.alphabet, prior, profile.name)
        profile = replace(
            profile,
            match=new.match,
            transitions=new.transitions,
            consensus=new.consensus,
            composition=new.composition,
            effective=effective,
        )
    return profile


def expected_counts(profile: Profile, sequences: Sequence[Codes], weights: NDArray[np.float64]) -> tuple[Counts, int]:
    """Expected numbers of emissions and transitions of whole paths through a profile (glocal, one hit each).

    Args:
        profile: M match states.
        sequences: codes in its alphabet.
        weights: [sequences] that each counts.

    Returns:
        The counts, none of insert emissions; and the number of sequences counted: those too far from the profile for
        a whole path to be told from nothing are left out.
    """
    chain = configure(profile, "glocal")
    total = Chain(*(np.zeros(x.shape) for x in chain))  # type: ignore[arg-type]
    counted = 0
    for members, codes, lengths in batches(without_stops(sequences, profile.alphabet), chain):
        scores = np.asarray(forward_scores(chain, length_model(lengths, multihit=False), codes, lengths))
        spanning = np.flatnonzero(np.isfinite(scores) & (lengths > 0))
        if not len(spanning):
            continue
        # the other rows repeat one of these at no weight: the gradient of a score of -inf would spoil the sum
        rows = np.full(len(codes), spanning[0])
        rows[: len(spanning)] = spanning
        weight = np.zeros(len(codes), np.float32)
        weight[: len(spanning)] = weights[members[spanning]]
        uses = _uses(chain, length_model(lengths[rows], multihit=False), codes[rows], lengths[rows], weight)
        total = Chain(*(a + np.asarray(b, float) for a, b in zip(total, uses, strict=True)))
        counted += len(spanning)
    return _counts(total, profile), counted


@jax.jit
def _uses(chain: Chain, flanks: Flanks, codes: jax.Array, lengths: jax.Array, weights: jax.Array) -> Chain:
    """Expected numbers of times that paths use each of the parameters, summed over a batch by weight."""

    def weighted(parameters: Chain) -> jax.Array:
        return jnp.sum(weights * forward(parameters, flanks, codes, lengths))

    return jax.tree.map(jnp.multiply, chain, jax.grad(weighted)(chain))


def _counts(uses: Chain, profile: Profile) -> Counts:
    """Uses of the chain's parameters as counts of the profile's; leading deletes are folded into B -> M_k there."""
    size = profile.length
    match = np.asarray(uses.match)[:, :size].T @ shares(profile.alphabet)
    transitions = np.zeros((size + 1, 7))
    # in the order of `Profile.transitions`, as `configure` has them
    transitions[1:] = np.stack(uses[-7:], axis=1)[:size]
    enter = np.asarray(uses.enter)[:size]
    transitions[0, MM], transitions[0, MD] = enter[0], enter[1:].sum()
    transitions[1:size, DM] += enter[1:]
    transitions[1 : size - 1, DD] += enter[::-1].cumsum()[::-1][2:]
    transitions[size, MM] = match[-1].sum()  # to the end
    return Counts(match, np.zeros((size + 1, profile.alphabet.size)), transitions)
