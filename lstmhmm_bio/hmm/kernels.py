"""One time step of the recursions on a sparse graph, in two shapes.

Scores are [states, batch]: the batch is innermost, so that a step vectorises over it. `Unrolled` writes the edges out
at trace time, which lets states with one predecessor cost no exponential; `Gathered` pads the predecessor lists, which
compiles fast for hundreds of states. Both compute the same sums in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .graph import Graph

#: graphs up to this many states are unrolled
UNROLLED_STATES = 100


class Kernel(Protocol):
    """Steps over the edges of a graph. `edges` are [edges] log weights."""

    def log_sum(self, edges: jax.Array, scores: jax.Array) -> jax.Array:
        """Log of the sum over predecessors of exp(score + edge), [states, batch]; `NEG`-like where there are none."""

    def smooth(self, edges: jax.Array, scores: jax.Array, posterior: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step back: posterior of the states at t - 1 [states, batch] and of the transitions from t - 1 to t
        [edges, batch], given the filtered scores at t - 1 and the posterior of the states at t.
        """


def kernel_of(graph: Graph) -> Kernel:
    """The faster kernel for a graph of this size."""
    return Unrolled(graph) if len(graph.states) <= UNROLLED_STATES else Gathered(graph)


@dataclass(frozen=True)
class Unrolled:
    """Edges written out at trace time."""

    graph: Graph

    def log_sum(self, edges: jax.Array, scores: jax.Array) -> jax.Array:
        nothing = jnp.full_like(scores[0], _NOTHING)
        incoming = ([scores[arc.state] + edges[arc.edge] for arc in arcs] for arcs in self.graph.predecessors)
        return jnp.stack([_log_sum(terms) if terms else nothing for terms in incoming])

    def smooth(self, edges: jax.Array, scores: jax.Array, posterior: jax.Array) -> tuple[jax.Array, jax.Array]:
        crossing: list[jax.Array] = [posterior[0]] * len(self.graph.edges)
        for state, arcs in enumerate(self.graph.predecessors):
            shares = _softmax([scores[arc.state] + edges[arc.edge] for arc in arcs])
            for arc, share in zip(arcs, shares, strict=True):
                crossing[arc.edge] = posterior[state] if share is None else posterior[state] * share
        nothing = jnp.zeros_like(posterior[0])
        before = [sum((crossing[arc.edge] for arc in arcs), nothing) for arcs in self.graph.successors]
        return jnp.stack(before), jnp.stack(crossing)


@dataclass(frozen=True)
class Gathered:
    """Predecessor and successor lists padded to the longest."""

    graph: Graph

    @cached_property
    def _source(self) -> NDArray[np.int32]:
        """[slots, states] predecessor of each state, 0 where there are fewer."""
        return _padded([[arc.state for arc in arcs] for arcs in self.graph.predecessors], 0)

    @cached_property
    def _incoming(self) -> NDArray[np.int32]:
        """[slots, states] edge from that predecessor, -1 where there are fewer."""
        return _padded([[arc.edge for arc in arcs] for arcs in self.graph.predecessors], -1)

    @cached_property
    def _outgoing(self) -> NDArray[np.int32]:
        """[slots, states] outgoing edges of each state, the number of edges where there are fewer."""
        return _padded([[arc.edge for arc in arcs] for arcs in self.graph.successors], len(self.graph.edges))

    def _terms(self, edges: jax.Array, scores: jax.Array) -> list[jax.Array]:
        extended = jnp.append(edges, jnp.asarray(_NOTHING, edges.dtype))
        return [
            scores[source] + extended[edge][:, None] for source, edge in zip(self._source, self._incoming, strict=True)
        ]

    def log_sum(self, edges: jax.Array, scores: jax.Array) -> jax.Array:
        return _log_sum(self._terms(edges, scores))

    def smooth(self, edges: jax.Array, scores: jax.Array, posterior: jax.Array) -> tuple[jax.Array, jax.Array]:
        shares = _softmax(self._terms(edges, scores))
        if shares[0] is None:
            shares = [jnp.ones_like(scores)]
        crossing = jnp.stack([share * posterior for share in shares if share is not None])
        slot, target = self._slots
        by_edge = crossing[slot, target]
        padded = jnp.concatenate([by_edge, jnp.zeros_like(by_edge[:1])])
        return sum(padded[edge] for edge in self._outgoing), by_edge

    @cached_property
    def _slots(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """For each edge its place in the predecessor lists."""
        slot, target = np.nonzero(self._incoming >= 0)
        order = np.argsort(self._incoming[slot, target])
        return slot[order], target[order]


#: log score of a missing predecessor: below any that a mask can leave
_NOTHING = -1e30


def _log_sum(terms: list[jax.Array]) -> jax.Array:
    if len(terms) == 1:
        return terms[0]
    top = reduce(jnp.maximum, terms)
    return top + jnp.log(sum(jnp.exp(x - top) for x in terms))


def _softmax(terms: list[jax.Array]) -> list[jax.Array | None]:
    """Shares of the terms' exponentials; None stands for the whole."""
    if len(terms) < 2:
        return [None] * len(terms)
    top = reduce(jnp.maximum, terms)
    parts = [jnp.exp(x - top) for x in terms]
    total = sum(parts)
    return [part / total for part in parts]


def _padded(rows: list[list[int]], fill: int) -> NDArray[np.int32]:
    """Rows as columns of one array, padded to the longest."""
    table = np.full((max(1, *map(len, rows)), len(rows)), fill, np.int32)
    for i, row in enumerate(rows):
        table[: len(row), i] = row
    return table
