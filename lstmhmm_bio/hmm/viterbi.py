"""Exact Viterbi decoding on sparse graphs, of whole batches or online over whole chromosomes.

Scores are fixed-point integers (1/1024 nat) and of equally good predecessors the state with the lowest index wins, so
that decoding at once, in blocks of any size and on any hardware gives the same path for the same emissions. The
running maximum is subtracted at every step, exact in integers, and scores more than 2**20 nat behind it are held
there: a path that needs over a hundred masked positions is as impossible as any other.

Back-pointers take as many bits as there are predecessors to choose from, packed into words of 32 bits: usually one
word (4 bytes) per position and sequence for a gene-finding graph of one strand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export, lax
from numpy.typing import NDArray

from ..programs import kept
from .graph import NEG, Graph, Scores
from .kernels import FLOOR, Kernel, PointerLayout, kernel_of, padded_arcs

#: fixed-point units per nat
UNITS = 1024
#: largest magnitude of a single score, in nat; what lies beyond is clipped
LIMIT = -NEG
#: states that uint8 paths can name
MAX_STATES = 256

Path = NDArray[np.uint8]
_Carry = tuple[jax.Array, jax.Array, jax.Array]


def to_fixed(scores: Any) -> Any:
    """Log scores in nat, of numpy or jax, clipped to +-1e4 (`graph.NEG`), as int32 in units of 1/1024 nat."""
    xp = scores.__array_namespace__()
    return xp.round(xp.clip(scores, -LIMIT, LIMIT) * UNITS).astype(np.int32)


def viterbi(graph: Graph, scores: Scores, emissions: jax.Array, lengths: jax.Array) -> tuple[NDArray[np.float64], Path]:
    """The best path of each of a batch of sequences, decoded at once.

    Args:
        graph: the topology.
        scores: log weights of the transitions.
        emissions: [batch, time, states] float32 log scores.
        lengths: [batch] int32; what lies beyond is padding and ignored.

    Returns:
        Scores of the best paths in nat [batch], exact sums of the rounded scores (0 for an empty sequence), and the
        paths [batch, time], state indices, 0 at padding.

    Raises:
        ValueError: the graph has more than 256 states.
    """
    _check_size(graph)
    lengths = jnp.asarray(lengths, jnp.int32)
    best, path = _decode(graph, to_fixed_scores(scores), emissions, lengths)
    return np.where(np.asarray(lengths) > 0, _in_nat(best), 0.0), np.asarray(path)


def to_fixed_scores(scores: Scores) -> Scores:
    """`to_fixed` for a graph's scores."""
    return Scores(*(to_fixed(x) for x in scores))


class Progress(NamedTuple):
    """What Viterbi carries from block to block.

    Attributes:
        best: [states, batch] int32 score of the best path into each state, less an offset common to the states.
        high, low: [batch] int32, that offset is `high * 2**20 + low`.
        position: [] int32, positions seen.
    """

    best: jax.Array
    high: jax.Array
    low: jax.Array
    position: jax.Array


# programs that are kept give it back
export.register_namedtuple_serialization(Progress, serialized_name="lstmhmm.viterbi.Progress")


def _start(graph: Graph, batch: int) -> Progress:
    zero, nothing = np.zeros(batch, np.int32), np.zeros((len(graph.states), batch), np.int32)
    return Progress._make((nothing, zero, zero, np.int32(0)))


def _advance(
    kernel: Kernel, fixed: Scores, entry: Progress, emissions: jax.Array, lengths: jax.Array
) -> tuple[Progress, jax.Array]:
    """Viterbi over a block of emissions [batch, time, states]; also the back-pointers [time, words, batch] into each
    position. `lengths` [batch] are those of the whole sequences.
    """

    def step(carry: _Carry, inputs: tuple[jax.Array, jax.Array]) -> tuple[_Carry, jax.Array]:
        best, high, low = carry
        emission, t = inputs
        top = jnp.max(best, axis=0)
        arrived, words = kernel.max_sum(fixed.edges, best)
        arrived = jnp.where(t == 0, fixed.initial[:, None], arrived)
        inside = t < lengths
        best = jnp.where(inside, jnp.maximum(arrived + emission - top, FLOOR), best)
        low = low + jnp.where(inside, top, 0)
        return (best, high + (low >> 20), low & (2**20 - 1)), words

    times = entry.position + jnp.arange(emissions.shape[1], dtype=jnp.int32)
    by_time = to_fixed(jnp.transpose(emissions, (1, 2, 0)))
    (best, high, low), words = lax.scan(step, (entry.best, entry.high, entry.low), (by_time, times))
    return Progress(best, high, low, entry.position + emissions.shape[1]), words


def _close(fixed: Scores, last: Progress) -> tuple[jax.Array, _Carry]:
    """The best last state [batch] and its score."""
    ends = last.best + fixed.final[:, None]
    return jnp.argmax(ends, axis=0).astype(jnp.int32), (jnp.max(ends, axis=0), last.high, last.low)


def _in_nat(score: _Carry) -> NDArray[np.float64]:
    best, high, low = (np.asarray(x, np.float64) for x in score)
    return (best + high * 2.0**20 + low) / UNITS


def _predecessor(graph: Graph, words: jax.Array, state: jax.Array) -> jax.Array:
    """Where the best paths into `state` [..., batch] came from, by the back-pointers [words, batch] of a position."""
    layout = PointerLayout(graph)
    source, _ = padded_arcs(graph.predecessors)
    mask = (1 << layout.bits.astype(np.int64)) - 1
    if layout.words == 1:
        word = words[0]
    else:
        word = words[jnp.asarray(layout.word)[state], jnp.arange(words.shape[1])]
    slot = (word >> jnp.asarray(layout.shift)[state]) & jnp.asarray(mask, jnp.uint32)[state]
    return jnp.asarray(source.ravel())[slot.astype(jnp.int32) * len(graph.states) + state]


def trace(
    graph: Graph, words: jax.Array, state: jax.Array, position: jax.Array, lengths: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Follows back-pointers through a block.

    Args:
        graph: the topology.
        words: [time, words, batch] back-pointers into each position.
        state: [batch] at the last position.
        position: [] int32 of the first.
        lengths: [batch] of the whole sequences.

    Returns:
        The state before the block [batch] and the path [time, batch] uint8, 0 at padding.
    """

    def step(state: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        words, t = inputs
        inside = t < lengths
        before = jnp.where(inside, _predecessor(graph, words, state), state)
        return before, jnp.where(inside, state, 0).astype(jnp.uint8)

    times = position + jnp.arange(len(words), dtype=jnp.int32)
    return lax.scan(step, state, (words, times), reverse=True)


@kept(0)
def _decode(graph: Graph, fixed: Scores, emissions: jax.Array, lengths: jax.Array) -> tuple[_Carry, jax.Array]:
    last, words = _advance(kernel_of(graph), fixed, _start(graph, len(emissions)), emissions, lengths)
    state, score = _close(fixed, last)
    _, path = trace(graph, words, state, jnp.int32(0), lengths)
    return score, path.T


@kept(0)
def _advance_block(
    graph: Graph, fixed: Scores, entry: Progress, emissions: jax.Array, length: jax.Array
) -> tuple[Progress, jax.Array]:
    """`_advance` over a block of which the first `length` positions count."""
    last, words = _advance(kernel_of(graph), fixed, entry, emissions, entry.position + length)
    return last._replace(position=entry.position + length), words


@kept(0)
def _trace_block(graph: Graph, words: jax.Array, state: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
    return trace(graph, words, state, jnp.int32(0), length)


@kept(0)
def _ancestors(graph: Graph, words: jax.Array, length: jax.Array) -> jax.Array:
    """For each state at the end of a block, the state before the block that its best path comes from
    [states, batch].
    """
    states = len(graph.states)

    def undecided(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
        t, state = carry
        return (t > 0) & jnp.any(state != state[:1])

    def back(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        t, state = carry
        return t - 1, _predecessor(graph, words[t - 1], state)

    every = jnp.broadcast_to(jnp.arange(states, dtype=jnp.int32)[:, None], (states, words.shape[2]))
    t, state = lax.while_loop(undecided, back, (length, every))
    # from where all paths have met, one is enough; where they have not, t is 0
    _, met = lax.while_loop(lambda carry: carry[0] > 0, back, (t, state[0]))
    return jnp.where(t > 0, met, state)


@dataclass
class _Block:
    """A block whose path is not decided yet."""

    index: int
    entry: Progress
    length: int
    words: jax.Array | None
    ancestors: NDArray[np.int32]


class ViterbiDecoder:
    """Online Viterbi: blocks of emissions in, pieces of the best path out as soon as they are certain.

    A block is certain once the best paths into all states pass through the same state at its end; in practice that is
    known one block later. Until then its back-pointers are kept, 4 bytes a position and sequence per 32 bits of
    choices. With `recompute`, those of all but the newest `max_pending` undecided blocks are dropped, and computed
    again from the block's emissions when it is their turn: memory is then bounded for any input.

    Args:
        graph: the topology.
        scores: log weights of the transitions.
        batch: sequences decoded side by side, all of the same length (such as two strands).
        recompute: gives the emissions of the i-th pushed block again.
        max_pending: undecided blocks whose back-pointers are kept, if `recompute` is given.

    Raises:
        ValueError: the graph has more than 256 states.
    """

    def __init__(
        self,
        graph: Graph,
        scores: Scores,
        batch: int = 1,
        *,
        recompute: Callable[[int], jax.Array] | None = None,
        max_pending: int = 64,
    ) -> None:
        _check_size(graph)
        self._graph = graph
        self._fixed = to_fixed_scores(scores)
        self._recompute = recompute
        self._max_pending = max_pending
        self._progress = _start(graph, batch)
        self._pending: list[_Block] = []
        # for each state now, its best path's state at the end of the oldest pending block; None for a single block
        self._origin: NDArray[np.int32] | None = None
        self._pushed = 0

    def push(self, emissions: jax.Array, length: int | None = None) -> Path:
        """Reads a block of emissions.

        Args:
            emissions: [batch, time, states] float32 log scores. Every new shape is compiled once; use few.
            length: positions that count, from the first, all by default; the others are padding.

        Returns:
            The path decided now, following what earlier calls returned: [batch, decided], state indices.
        """
        length = emissions.shape[1] if length is None else length
        index, self._pushed = self._pushed, self._pushed + 1
        if length == 0:
            return self._empty()
        entry = self._progress
        self._progress, words = _advance_block(self._graph, self._fixed, entry, emissions, jnp.int32(length))
        ancestors = np.asarray(_ancestors(self._graph, words, jnp.int32(length)))
        self._pending.append(_Block(index, entry, length, words, ancestors))
        if self._recompute is not None and len(self._pending) > self._max_pending:
            self._pending[-1 - self._max_pending].words = None
        if len(self._pending) == 1:
            return self._empty()
        self._origin = ancestors if self._origin is None else _compose(self._origin, ancestors)
        return self._emit_decided() if _is_common(self._origin) else self._empty()

    def finish(self) -> tuple[NDArray[np.float64], Path]:
        """Ends the sequences: scores of the best paths in nat [batch] and the rest of the paths [batch, rest]."""
        if not self._pending:
            return np.zeros(self._progress.best.shape[1]), self._empty()
        state, score = _close(self._fixed, self._progress)
        blocks, self._pending = self._pending, []
        return _in_nat(score), self._trace_back(blocks, state)

    def _emit_decided(self) -> Path:
        """The path up to the latest block border at which the best paths into all states pass one state."""
        kept = [self._pending.pop()]
        states = kept[0].ancestors
        self._origin = None
        while not _is_common(states):
            self._origin = states
            kept.append(self._pending.pop())
            states = _compose(kept[-1].ancestors, states)
        decided, self._pending = self._pending, kept[::-1]
        return self._trace_back(decided, jnp.asarray(states[0]))

    def _trace_back(self, blocks: list[_Block], state: jax.Array) -> Path:
        pieces = [self._empty()]
        for block in reversed(blocks):
            words = block.words
            if words is None:
                assert self._recompute is not None
                emissions = self._recompute(block.index)
                _, words = _advance_block(self._graph, self._fixed, block.entry, emissions, jnp.int32(block.length))
            state, path = _trace_block(self._graph, words, state, jnp.int32(block.length))
            pieces.append(np.asarray(path)[: block.length].T)
        return np.concatenate(pieces[::-1], axis=1)

    def _empty(self) -> Path:
        return np.empty((self._progress.best.shape[1], 0), np.uint8)


def _compose(ancestors: NDArray[np.int32], states: NDArray[np.int32]) -> NDArray[np.int32]:
    """Ancestors [states, batch] of `states` [states, batch]."""
    return np.take_along_axis(ancestors, states, axis=0)


def _is_common(states: NDArray[np.int32]) -> bool:
    return bool((states == states[:1]).all())


def _check_size(graph: Graph) -> None:
    if len(graph.states) > MAX_STATES:
        raise ValueError(f"paths name at most {MAX_STATES} states, the graph has {len(graph.states)}")
