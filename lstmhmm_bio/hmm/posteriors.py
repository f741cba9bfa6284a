"""Posterior decoding of one batch, for groups of states, with scaled probabilities instead of logarithms.

The forward recursion of `recursions`, but on probabilities that are divided by the largest of the position before
(Rabiner 1989, section V.A): where that one takes an exponential for every edge, this one multiplies. A state that
paths can reach is never let fall further than `FLOOR` behind the best, so that float32 does not lose it: paths that are
69 nat worse than another at some position are all equally unlikely there.

Emissions are made inside the loop, from what they are made of, and groups are summed there: what is read and written
per position are a few numbers instead of one for every state, several times over.

Edges are written out at trace time; meant for graphs of some ten states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from .graph import Arc, Graph, Scores

#: smallest probability of a state, relative to the best of the position before
FLOOR = 1e-30
#: what is divided by is at least this; float32 holds no less with full precision
_SMALLEST = 1e-37
#: emissions are clipped here, in nat: exponentials must not overflow
_LARGEST = 80.0

_Observations = TypeVar("_Observations")


def group_posteriors(
    graph: Graph,
    scores: Scores,
    emissions: Callable[[_Observations], jax.Array],
    observations: _Observations,
    lengths: jax.Array,
    groups: NDArray[np.bool_],
) -> jax.Array:
    """Posterior probabilities of groups of states.

    Args:
        graph: the topology.
        scores: log weights of the transitions.
        emissions: log scores [states, batch] from the observations of one position.
        observations: arrays with leading axes [time, batch].
        lengths: [batch] int32; what lies beyond is padding and ignored.
        groups: [groups, states] membership.

    Returns:
        [time, groups, batch] float32, 0 at padding. Equal to the sums over `recursions.forward_backward`'s up to
        rounding, see `FLOOR`.
    """
    weights = jnp.exp(scores.edges)
    initial, final = jnp.exp(scores.initial)[:, None], jnp.exp(scores.final)[:, None]
    time = jax.tree.leaves(observations)[0].shape[0]
    times = jnp.arange(time, dtype=jnp.int32)

    def forward(alpha: jax.Array, inputs: tuple[_Observations, jax.Array]) -> tuple[jax.Array, jax.Array]:
        observed, t = inputs
        emission = jnp.exp(jnp.minimum(emissions(observed), _LARGEST))
        scale = 1 / jnp.max(alpha, axis=0)
        arrived = jnp.stack([_arriving(alpha, weights, arcs) * scale for arcs in graph.predecessors])
        arrived = jnp.where(t == 0, initial, arrived)
        possible = (arrived > 0) & (emission > 0)
        after = jnp.where(possible, jnp.maximum(arrived * emission, FLOOR), 0.0)
        return jnp.where(t < lengths, after, alpha), alpha

    def backward(posterior: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        alpha, t = inputs
        inside = t < lengths
        before = _before(graph, weights, alpha, posterior)
        # rounding must not build up over a long sequence
        before = before / jnp.maximum(jnp.sum(before, axis=0), _SMALLEST)
        sums = jnp.stack([reduce(jnp.add, [posterior[s] for s in np.flatnonzero(row)]) for row in groups])
        return jnp.where(inside, before, posterior), jnp.where(inside, sums, 0.0)

    alpha = jnp.ones((len(graph.states), len(lengths)), jnp.float32)
    last, history = lax.scan(forward, alpha, (observations, times))
    ends = last * final
    at_end = ends / jnp.maximum(jnp.sum(ends, axis=0), _SMALLEST)
    return lax.scan(backward, at_end, (history, times), reverse=True)[1]


def _arriving(alpha: jax.Array, weights: jax.Array, arcs: Sequence[Arc]) -> jax.Array:
    """Sum over the arcs into a state, [batch]."""
    return reduce(jnp.add, [alpha[a.state] * weights[a.edge] for a in arcs], jnp.zeros_like(alpha[0]))


def _before(graph: Graph, weights: jax.Array, alpha: jax.Array, posterior: jax.Array) -> jax.Array:
    """Posterior at t - 1 from alpha there and the posterior at t, each [states, batch]."""
    # of a state with one predecessor all goes there; with several, in proportion to what came from each
    per_arrival = [
        None if len(arcs) == 1 else posterior[state] / jnp.maximum(_arriving(alpha, weights, arcs), _SMALLEST)
        for state, arcs in enumerate(graph.predecessors)
    ]
    rows = []
    for state, arcs in enumerate(graph.successors):
        total = jnp.zeros_like(alpha[0])
        for arc in arcs:
            share = per_arrival[arc.state]
            total += posterior[arc.state] if share is None else alpha[state] * (weights[arc.edge] * share)
        rows.append(total)
    return jnp.stack(rows)
