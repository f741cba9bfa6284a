"""Exact Viterbi paths of long sequences, from overlapping segments that are decoded side by side.

One sequence keeps a processor's vector units empty: a step of sixteen segments costs hardly more than a step of one.
A segment that begins within the sequence begins in any state, and after some genes it usually no longer matters which.
Neighbours overlap, so this can be checked at a border between them. Their paths must pass through one state there, and
no state may have a better score, compared with that one's, in the earlier segment than in the later one. Then

- what follows the border in the later segment is best for the whole, too: against its path, any other one through
  another state can only do worse where it counts what really lies before the border;
- along the path the scores of both are the same, less a constant, so the same holds at the next border.

By induction the pieces together are the path that `viterbi` finds, base by base: scores are integers, and a state that
ties with the path's in the whole ties in the segment, or is better there.

Segments of `size` positions begin `size - 2 * flank` apart. The border of two neighbours lies behind the later one's
first `flank` positions, which is before the earlier one's last `flank`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from .graph import Graph, Scores
from .kernels import FLOOR, kernel_of
from .viterbi import Path, to_fixed, trace

_Observations = TypeVar("_Observations")


def spans_of(length: int, size: int, flank: int) -> list[tuple[int, int]]:
    """First and end of the segments of a sequence, of which the last may be shorter."""
    step = size - 2 * flank
    return [(first, min(first + size, length)) for first in range(0, max(length - 2 * flank, 1), step)]


def segment_paths(
    graph: Graph,
    fixed: Scores,
    emissions: Callable[[_Observations], jax.Array],
    observations: _Observations,
    lengths: jax.Array,
    begins: jax.Array,
    ends: jax.Array,
    flank: int,
) -> tuple[jax.Array, jax.Array]:
    """Viterbi over a batch of segments.

    Args:
        graph: the topology, of at most 256 states.
        fixed: log weights of the transitions, of `to_fixed_scores`.
        emissions: log scores [states, batch] in nat from the observations of one position.
        observations: arrays with leading axes [time, batch].
        lengths: [batch] int32; what lies beyond is padding and ignored.
        begins: [batch] bool, whether the sequence begins with the segment.
        ends: [batch] bool, whether it ends with it.
        flank: positions before the first border, and behind the second; 0 for whole sequences.

    Returns:
        Paths [time, batch] uint8, and the states' scores at the positions before the two borders [2, states, batch],
        in fixed point, less the best.
    """
    kernel = kernel_of(graph)
    time = jax.tree.leaves(observations)[0].shape[0]

    def step(best: jax.Array, inputs: tuple[_Observations, jax.Array]) -> tuple[jax.Array, jax.Array]:
        observed, t = inputs
        arrived, words = kernel.max_sum(fixed.edges, best)
        arrived = jnp.where((t == 0) & begins, fixed.initial[:, None], arrived)
        after = jnp.maximum(arrived + to_fixed(emissions(observed)) - jnp.max(best, axis=0), FLOOR)
        return jnp.where(t < lengths, after, best), words

    best = jnp.zeros((len(graph.states), len(lengths)), jnp.int32)
    borders, words = [], []
    for first, end in pairwise(sorted({0, flank, time - flank, time})):
        part = jax.tree.map(lambda x, first=first, end=end: x[first:end], observations)
        best, of_part = lax.scan(step, best, (part, jnp.arange(first, end, dtype=jnp.int32)))
        borders.append(best - jnp.max(best, axis=0))
        words.append(of_part)
    last = jnp.argmax(best + jnp.where(ends, fixed.final[:, None], 0), axis=0).astype(jnp.int32)
    _, path = trace(graph, jnp.concatenate(words), last, jnp.int32(0), lengths)
    return path, jnp.stack(borders[:2])


def joined(spans: Sequence[tuple[int, int]], paths: Path, borders: NDArray[np.int32], flank: int) -> Path | None:
    """The path of a sequence from those of its segments; None if they do not prove it.

    Args:
        spans: of `spans_of`.
        paths: [segments, size].
        borders: [segments, 2, states] scores before the two borders.
        flank: as the segments have it.
    """
    out = np.empty(spans[-1][1], np.uint8)
    for (first, end), path in zip(spans, paths, strict=True):
        begin = flank if first else 0
        out[first + begin : end] = path[begin : end - first]
    for n, ((first, _), (later, _)) in enumerate(pairwise(spans)):
        before = later + flank - 1  # the position before the border
        state = paths[n][before - first]
        ahead = borders[n][1] - borders[n + 1][0]
        if paths[n + 1][before - later] != state or (ahead > ahead[state]).any():
            return None
    return out
