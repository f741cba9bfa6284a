"""One time step of the recursions on a sparse graph, in three shapes.

Scores are [states, batch]: the batch is innermost, so that a step vectorises over it. `Unrolled` writes the edges out
at trace time, so that a state with one predecessor costs no exponential; `Gathered` pads the predecessor lists, which
compiles fast for hundreds of states; `Runs` moves chains of states as blocks and unrolls the rest, for graphs that are
mostly chains (minimum durations). They agree: exactly in integers, up to rounding in floats.

On a CPU a step of a small batch costs mostly the dispatch of its few small XLA kernels, unless XLA compiles the whole
loop into one. It does so for loop bodies that touch at most 1 kB; the flag in `benchmarks/hmm_speed.py` raises that
limit, which makes long sequences several times faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .graph import Arc, Graph

#: graphs up to this many states are unrolled; beyond, compiling takes seconds and the step is no faster
UNROLLED_STATES = 50
#: fixed-point Viterbi scores never fall further than this behind the best
FLOOR = -(2**30)


class Kernel(Protocol):
    """Steps over the edges of a graph. `edges` are [edges] log weights, float32 or (`max_sum`) fixed-point int32."""

    def log_sum(self, edges: jax.Array, scores: jax.Array) -> jax.Array:
        """Log of the sum over predecessors of exp(score + edge), [states, batch]."""

    def max_sum(self, edges: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maximum over predecessors of score + edge [states, batch], and the back-pointers [words, batch] uint32.

        Of equal predecessors the one with the lowest index wins; see `PointerLayout`.
        """

    def smooth(self, edges: jax.Array, scores: jax.Array, posterior: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step back.

        Args:
            edges: [edges] log weights.
            scores: [states, batch] filtered scores at t - 1.
            posterior: [states, batch] at t.

        Returns:
            The posterior of the states at t - 1 [states, batch] and of the transitions into t [edges, batch].
        """


def kernel_of(graph: Graph) -> Kernel:
    """The fastest kernel for a graph of this size."""
    if len(graph.states) <= UNROLLED_STATES:
        return Unrolled(graph)
    runs = Runs(graph)
    return runs if len(runs.pieces) <= UNROLLED_STATES else Gathered(graph)


@dataclass(frozen=True)
class PointerLayout:
    """How the back-pointers of one position are packed: every state owns as many bits of a 32-bit word as its choice
    of predecessors needs, none if there is no choice.
    """

    graph: Graph

    @cached_property
    def bits(self) -> NDArray[np.uint32]:
        """[states] bits owned."""
        return np.array([max(0, len(arcs) - 1).bit_length() for arcs in self.graph.predecessors], np.uint32)

    @cached_property
    def word(self) -> NDArray[np.int32]:
        """[states] index of the word."""
        return self._places[0]

    @cached_property
    def shift(self) -> NDArray[np.uint32]:
        """[states] lowest bit owned in the word."""
        return self._places[1].astype(np.uint32)

    @property
    def words(self) -> int:
        """Words per position."""
        return int(self.word.max()) + 1

    @cached_property
    def _places(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        word, shift = 0, 0
        places = []
        for bits in self.bits.tolist():
            if shift + bits > 32:
                word, shift = word + 1, 0
            places.append((word, shift % 32 if bits == 0 else shift))
            shift += bits
        table = np.array(places, np.int32)
        return table[:, 0], table[:, 1]

    def pack(self, slots: Sequence[jax.Array | None], batch: int) -> jax.Array:
        """Words [words, batch] from each state's slot [batch] uint32 in its predecessor list (None: no choice)."""
        rows = [jnp.zeros(batch, jnp.uint32)] * self.words
        for word, shift, slot in zip(self.word, self.shift, slots, strict=True):
            if slot is not None:
                rows[word] = rows[word] | (slot << shift)
        return jnp.stack(rows)


@dataclass(frozen=True)
class Unrolled:
    """Edges written out at trace time."""

    graph: Graph

    def log_sum(self, edges: jax.Array, scores: jax.Array) -> jax.Array:
        return jnp.stack([_log_sum(terms) for terms in self._terms(edges, scores)])

    def max_sum(self, edges: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
        choices = [_first_maximum(terms) for terms in self._terms(edges, scores)]
        words = PointerLayout(self.graph).pack([slot for _, slot in choices], scores.shape[1])
        return jnp.stack([best for best, _ in choices]), words

    def smooth(self, edges: jax.Array, scores: jax.Array, posterior: jax.Array) -> tuple[jax.Array, jax.Array]:
        crossing: list[jax.Array] = [posterior[0]] * len(self.graph.edges)
        for state, (arcs, terms) in enumerate(zip(self.graph.predecessors, self._terms(edges, scores), strict=True)):
            if len(arcs) == 1:
                crossing[arcs[0].edge] = posterior[state]
            elif arcs:
                for arc, share in zip(arcs, _softmax(terms), strict=True):
                    crossing[arc.edge] = posterior[state] * share
        nothing = jnp.zeros_like(posterior[0])
        before = [sum((crossing[arc.edge] for arc in arcs), nothing) for arcs in self.graph.successors]
        return jnp.stack(before), jnp.stack(crossing)

    def _terms(self, edges: jax.Array, scores: jax.Array) -> list[list[jax.Array]]:
        """For each state the scores that arrive over each of its incoming edges, or one that is out of the running."""
        nothing = jnp.full_like(scores[0], _nothing(scores.dtype))
        return [[scores[arc.state] + edges[arc.edge] for arc in arcs] or [nothing] for arcs in self.graph.predecessors]


@dataclass(frozen=True)
class Runs:
    """Runs of states of which each has the state before it as its only predecessor are moved as blocks; the other
    states' edges are written out.
    """

    graph: Graph

    @cached_property
    def pieces(self) -> list[tuple[int, int]]:
        """(first, end) of states in order: runs, and single states between them."""
        pieces: list[tuple[int, int]] = []
        in_run = False
        for state, arcs in enumerate(self.graph.predecessors):
            follows = [arc.state for arc in arcs] == [state - 1]
            if follows and in_run:
                pieces[-1] = (pieces[-1][0], state + 1)
            else:
                pieces.append((state, state + 1))
            in_run = follows
        return pieces

    def log_sum(self, edges: jax.Array, scores: jax.Array) -> jax.Array:
        return jnp.concatenate(
            [terms[0] if len(terms) == 1 else _log_sum(terms) for terms in self._terms(edges, scores)]
        )

    def max_sum(self, edges: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
        choices = [_first_maximum(terms) for terms in self._terms(edges, scores)]
        slots: list[jax.Array | None] = [None] * len(self.graph.states)
        for (first, _), (_, slot) in zip(self.pieces, choices, strict=True):
            slots[first] = None if slot is None else slot[0]
        words = PointerLayout(self.graph).pack(slots, scores.shape[1])
        return jnp.concatenate([best for best, _ in choices]), words

    def smooth(self, edges: jax.Array, scores: jax.Array, posterior: jax.Array) -> tuple[jax.Array, jax.Array]:
        return Gathered(self.graph).smooth(edges, scores, posterior)

    def _terms(self, edges: jax.Array, scores: jax.Array) -> list[list[jax.Array]]:
        """For each piece what arrives over each of its incoming edges, [states of the piece, batch]."""
        nothing = jnp.full_like(scores[:1], _nothing(scores.dtype))
        arcs = self.graph.predecessors
        found = []
        for first, end in self.pieces:
            if end - first > 1:
                weights = edges[np.array([arcs[state][0].edge for state in range(first, end)])]
                found.append([scores[first - 1 : end - 1] + weights[:, None]])
            else:
                terms = [scores[a.state : a.state + 1] + edges[a.edge] for a in arcs[first]]
                found.append(terms or [nothing])
        return found


@dataclass(frozen=True)
class Gathered:
    """Predecessor and successor lists, padded among states of similar degree."""

    graph: Graph

    @cached_property
    def _incoming(self) -> tuple[list[_Bucket], NDArray[np.intp]]:
        return _buckets(self.graph.predecessors)

    @cached_property
    def _outgoing(self) -> tuple[list[_Bucket], NDArray[np.intp]]:
        return _buckets(self.graph.successors)

    @cached_property
    def _place(self) -> NDArray[np.intp]:
        """Place of each edge in the concatenated, flattened tables of `_incoming`."""
        edges = np.concatenate([bucket.edge.ravel() for bucket in self._incoming[0]])
        filled = np.flatnonzero(edges >= 0)
        return filled[np.argsort(edges[filled])]

    def log_sum(self, edges: jax.Array, scores: jax.Array) -> jax.Array:
        buckets, order = self._incoming
        return jnp.concatenate([_log_sum(_arrivals(bucket, edges, scores)) for bucket in buckets])[order]

    def max_sum(self, edges: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
        buckets, order = self._incoming
        choices = [_first_maximum(_arrivals(bucket, edges, scores)) for bucket in buckets]
        best = jnp.concatenate([best for best, _ in choices])[order]
        no_choice = jnp.zeros(best.shape, jnp.uint32)
        slots = [no_choice[: len(best)] if slot is None else slot for best, slot in choices]
        layout = PointerLayout(self.graph)
        shifted = jnp.concatenate(slots)[order] << layout.shift[:, None]
        words = [jnp.sum(shifted[layout.word == word], axis=0, dtype=jnp.uint32) for word in range(layout.words)]
        return best, jnp.stack(words)

    def smooth(self, edges: jax.Array, scores: jax.Array, posterior: jax.Array) -> tuple[jax.Array, jax.Array]:
        flows = []
        for bucket in self._incoming[0]:
            flows += [share * posterior[bucket.states] for share in _softmax(_arrivals(bucket, edges, scores))]
        crossing = jnp.concatenate(flows)[self._place]
        padded = jnp.concatenate([crossing, jnp.zeros_like(posterior[:1])])
        buckets, order = self._outgoing
        # an index of -1 picks the row of zeros
        sums = [reduce(jnp.add, [padded[edge] for edge in bucket.edge]) for bucket in buckets]
        return jnp.concatenate(sums)[order], crossing


class _Bucket(NamedTuple):
    """States with similar numbers of arcs: their indices [n], the states at the other ends (0 where there are fewer)
    and the edges (-1) of their arcs [slots, n].
    """

    states: NDArray[np.int32]
    other: NDArray[np.int32]
    edge: NDArray[np.int32]


def _buckets(rows: tuple[tuple[Arc, ...], ...]) -> tuple[list[_Bucket], NDArray[np.intp]]:
    """Arc lists grouped by length, 0-1, 2, 3-4, 5-8, ..., and the places of the states in the groups' concatenation."""
    sizes = np.array([max(0, len(arcs) - 1).bit_length() for arcs in rows])
    members = [np.flatnonzero(sizes == size).astype(np.int32) for size in np.unique(sizes)]
    buckets = [_Bucket(states, *padded_arcs([rows[s] for s in states])) for states in members]
    return buckets, np.argsort(np.concatenate(members))


def padded_arcs(rows: Sequence[tuple[Arc, ...]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Arc lists as columns: states at the other ends [slots, lists] (0 where there are fewer) and edges (-1)."""
    other, edge = np.zeros((2, max(1, max(map(len, rows))), len(rows)), np.int32)
    edge -= 1
    for i, arcs in enumerate(rows):
        other[: len(arcs), i] = [arc.state for arc in arcs]
        edge[: len(arcs), i] = [arc.edge for arc in arcs]
    return other, edge


def _arrivals(bucket: _Bucket, edges: jax.Array, scores: jax.Array) -> list[jax.Array]:
    """For each slot of a bucket of incoming arcs, what arrives over it [n, batch]."""
    nothing = jnp.asarray(_nothing(scores.dtype), scores.dtype)
    return [
        jnp.where((edge >= 0)[:, None], scores[source] + edges[edge][:, None], nothing)
        for source, edge in zip(bucket.other, bucket.edge, strict=True)
    ]


def _nothing(dtype: np.dtype) -> float:
    """Score of a missing predecessor: below any that masks can leave, and far enough from overflow."""
    return -1e30 if jnp.issubdtype(dtype, jnp.floating) else FLOOR - 2**24


def _log_sum(terms: list[jax.Array]) -> jax.Array:
    if len(terms) == 1:
        return terms[0]
    top = reduce(jnp.maximum, terms)
    return top + jnp.log(reduce(jnp.add, [jnp.exp(x - top) for x in terms]))


def _softmax(terms: list[jax.Array]) -> list[jax.Array]:
    """Shares of the terms' exponentials in their sum."""
    top = reduce(jnp.maximum, terms)
    parts = [jnp.exp(x - top) for x in terms]
    scale = 1 / reduce(jnp.add, parts)
    return [part * scale for part in parts]


def _first_maximum(terms: list[jax.Array]) -> tuple[jax.Array, jax.Array | None]:
    """The maximum and the number of the first term that has it (uint32; None if there is but one term)."""
    if len(terms) == 1:
        return terms[0], None
    best, slot = terms[0], jnp.zeros(terms[0].shape, jnp.uint32)
    for i, term in enumerate(terms[1:], 1):
        slot = jnp.where(term > best, jnp.uint32(i), slot)
        best = jnp.maximum(term, best)
    return best, slot
