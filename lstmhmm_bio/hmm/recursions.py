"""Forward filtering and posterior decoding on sparse graphs, in log space.

Forward subtracts a running maximum at every step and keeps the sum of the maxima apart (compensated), so that float32
stays accurate over millions of positions. Posteriors come from the filtered scores alone,

    P(s_t-1 = i | x) = sum_j P(s_t = j | x) P(s_t-1 = i | s_t = j, x_0 .. x_t-1),

sums of non-negative terms that need neither the emissions again nor backward scores. The same pass yields the
gradient of `forward`: posteriors for the emissions, expected transition counts for the edges.

Emissions are [batch, time, states] float32 log scores; a hard mask is an emission of `graph.NEG`. Where the masks
allow no path at all, results are finite and meaningless, and the log partition is below about `graph.NEG`. They may
also be made position by position from what they depend on (`partition`): then memory holds a few numbers per position
instead of several arrays over all states, which is what training would wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export, lax
from jax.scipy.special import logsumexp

from ..programs import kept
from .graph import Graph, Scores
from .kernels import Kernel, kernel_of

_Carry = tuple[jax.Array, jax.Array, jax.Array]
#: emissions [states, batch] of one position, from what is observed there: what they are differentiable in, and the rest
Emit = Callable[[Any, Any], jax.Array]


class Filtered(NamedTuple):
    """What forward carries from one block of positions to the next.

    Attributes:
        log_alpha: [states, batch] log score of all paths up to the last position by their state there, less an
            offset common to the states.
        offset, compensation: [batch] that offset is `offset - compensation` (Kahan's summation).
        position: [] int32, positions seen.

    """

    log_alpha: jax.Array
    offset: jax.Array
    compensation: jax.Array
    position: jax.Array


# programs that are kept give it back
export.register_namedtuple_serialization(Filtered, serialized_name="lstmhmm.recursions.Filtered")


def start(graph: Graph, batch: int) -> Filtered:
    """The state of forward before the first position."""
    zero = jnp.zeros(batch, jnp.float32)
    return Filtered(jnp.zeros((len(graph.states), batch), jnp.float32), zero, zero, jnp.int32(0))


def forward(graph: Graph, scores: Scores, emissions: jax.Array, lengths: jax.Array) -> jax.Array:
    """Log partition: log of the sum over all paths of exp(score).

    Differentiable in `scores` and `emissions` at the memory cost of one [time, states, batch] array; second
    derivatives are not supported.

    Args:
        graph: the topology (static).
        scores: log weights of the transitions.
        emissions: [batch, time, states] float32 log scores.
        lengths: [batch] int32; what lies beyond is padding and ignored.

    Returns:
        [batch] float32 in nat; 0 for an empty sequence.

    """
    return partition(graph, _as_they_are, scores, time_major(emissions), None, jnp.zeros_like(lengths), lengths)


def _as_they_are(values: jax.Array, _: None) -> jax.Array:
    return values


def forward_backward(
    graph: Graph, scores: Scores, emissions: jax.Array, lengths: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Log partition [batch] and posterior probabilities of the states [batch, time, states], 0 at padding."""
    kernel = kernel_of(graph)
    last, history = filter_block(kernel, scores, start(graph, len(emissions)), time_major(emissions), lengths)
    at_end, log_z = close(scores, last, lengths)
    _, posteriors, _ = smooth_block(kernel, scores.edges, history, at_end, jnp.int32(0), lengths)
    return log_z, jnp.transpose(posteriors, (2, 0, 1))


def posteriors_blockwise(
    graph: Graph,
    scores: Scores,
    block: Callable[[int], jax.Array],
    blocks: int,
    lengths: jax.Array,
    groups: jax.Array | None = None,
) -> tuple[jax.Array, Iterator[tuple[int, jax.Array]]]:
    """Posterior decoding of long sequences in the memory of a few blocks.

    Exact: forward keeps its state at the block borders only, and on the way back every block's forward is computed
    again. `block` is thus called twice per block.

    Args:
        graph: the topology.
        scores: log weights of the transitions.
        block: gives the emissions [batch, time, states] of the i-th block, the same at every call. Every new shape is
            compiled once; pad the last block.
        blocks: how many there are.
        lengths: [batch] int32 of the whole sequences; what lies beyond is padding.
        groups: [states, groups] weights, to get sums over groups of states instead of states.

    Returns:
        Log partition [batch], and an iterator, from the last block to the first, over (block, posteriors
        [batch, time, states or groups], 0 at padding).
    """
    lengths = jnp.asarray(lengths, jnp.int32)
    entry = start(graph, len(lengths))
    entries = []
    for i in range(blocks):
        entries.append(entry)
        entry = _filter_once(graph, scores, entry, block(i), lengths)
    at_end, log_z = _close(scores, entry, lengths)

    def backwards(at_end: jax.Array) -> Iterator[tuple[int, jax.Array]]:
        for i in reversed(range(blocks)):
            at_end, posteriors = _filter_and_smooth(graph, scores, entries.pop(), block(i), lengths, at_end, groups)
            yield i, posteriors

    return log_z, backwards(at_end)


@kept(0)
def _filter_once(graph: Graph, scores: Scores, entry: Filtered, emissions: jax.Array, lengths: jax.Array) -> Filtered:
    return filter_block(kernel_of(graph), scores, entry, time_major(emissions), lengths, keep=False)[0]


@kept(0)
def _filter_and_smooth(
    graph: Graph,
    scores: Scores,
    entry: Filtered,
    emissions: jax.Array,
    lengths: jax.Array,
    at_end: jax.Array,
    groups: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    kernel = kernel_of(graph)
    _, history = filter_block(kernel, scores, entry, time_major(emissions), lengths)
    before, posteriors, _ = smooth_block(kernel, scores.edges, history, at_end, entry.position, lengths)
    if groups is not None:
        return before, jnp.einsum("tsb,sg->btg", posteriors, groups, precision="highest")
    return before, jnp.transpose(posteriors, (2, 0, 1))


def filter_block(
    kernel: Kernel,
    scores: Scores,
    entry: Filtered,
    emissions: Any,
    ends: jax.Array,
    *,
    begins: jax.Array | int = 0,
    emit: Callable[[Any], jax.Array] = lambda emission: emission,
    keep: bool = True,
) -> tuple[Filtered, jax.Array]:
    """Forward over one block of positions.

    Args:
        kernel: steps over the graph's edges.
        scores: log weights of the transitions.
        entry: the state before the block.
        emissions: [time, states, batch], or what `emit` makes them of, [time, ...].
        ends: [batch] one past the last position of each sequence, counted from where the first block begins.
        begins: [batch] first position of each sequence.
        emit: makes the emissions of one position, [states, batch].
        keep: return the history too, which `smooth_block` needs.

    Returns:
        The state after the block and the history: [time, states, batch] log_alpha *before* each position (empty
        without `keep`).

    """

    def step(carry: _Carry, inputs: tuple[Any, jax.Array]) -> tuple[_Carry, jax.Array]:
        alpha, offset, compensation = carry
        observed, t = inputs
        # the maximum of the step before: that of this one would have to be computed before any state is finished
        top = jnp.max(alpha, axis=0)
        arrived = jnp.where(t == begins, scores.initial[:, None], kernel.log_sum(scores.edges, alpha))
        inside = (t >= begins) & (t < ends)
        after = jnp.where(inside, arrived + emit(observed) - top, alpha)
        gain = jnp.where(inside, top, 0.0) - compensation
        total = offset + gain
        return (after, total, (total - offset) - gain), alpha if keep else jnp.zeros((0,))

    length = len(jax.tree.leaves(emissions)[0])
    times = entry.position + jnp.arange(length, dtype=jnp.int32)
    carry = (entry.log_alpha, entry.offset, entry.compensation)
    (alpha, offset, compensation), history = lax.scan(step, carry, (emissions, times))
    return Filtered(alpha, offset, compensation, entry.position + length), history


def close(scores: Scores, last: Filtered, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """After the last block: posterior of the states at the last position [states, batch] and log partition [batch]."""
    ends = last.log_alpha + scores.final[:, None]
    log_z = logsumexp(ends, axis=0) - last.compensation + last.offset
    return jax.nn.softmax(ends, axis=0), jnp.where(lengths > 0, log_z, 0.0)


_close = kept()(close)


def smooth_block(
    kernel: Kernel,
    edges: jax.Array,
    history: jax.Array,
    at_end: jax.Array,
    position: jax.Array,
    ends: jax.Array,
    *,
    begins: jax.Array | int = 0,
    beside: Any = None,
    read: Callable[[jax.Array, Any], Any] = _as_they_are,
) -> tuple[jax.Array, Any, jax.Array]:
    """Posteriors of one block, from its last position to its first.

    Args:
        kernel: steps over the graph's edges.
        edges: [edges] log weights.
        history: [time, states, batch] from `filter_block`.
        at_end: [states, batch] posterior at the block's last position (of a sequence that ended earlier: at its end).
        position: [] int32, of the block's first position.
        ends: as for `filter_block`.
        begins: as for `filter_block`.
        beside: arrays [time, ...] for `read`.
        read: what is kept of each position, from its posteriors [states, batch], 0 at padding, and what is beside them.

    Returns:
        The posterior at the last position before the block, [states, batch], of sequences that begin in it that at
        their first position; what `read` makes of each position, the block's posteriors [time, states, batch]; and the
        expected number of uses of each edge [edges, batch] (into the block's positions).

    """

    def step(
        carry: tuple[jax.Array, jax.Array], inputs: tuple[jax.Array, Any, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], Any]:
        posterior, counts = carry
        alpha, observed, t = inputs
        inside = (t >= begins) & (t < ends)
        goes_on = inside & (t > begins)
        before, crossing = kernel.smooth(edges, alpha, posterior)
        counts = counts + jnp.where(goes_on, crossing, 0.0)
        # rounding must not build up over a chromosome
        before = before / jnp.maximum(jnp.sum(before, axis=0), 1e-30)
        found = read(jnp.where(inside, posterior, 0.0), observed)
        return (jnp.where(goes_on, before, posterior), counts), found

    times = position + jnp.arange(len(history), dtype=jnp.int32)
    counts = jnp.zeros((len(edges), history.shape[2]), jnp.float32)
    (before, counts), found = lax.scan(step, (at_end, counts), (history, beside, times), reverse=True)
    return before, found, counts


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def partition(
    graph: Graph, emit: Emit, scores: Scores, observed: Any, fixed: Any, begins: jax.Array, ends: jax.Array
) -> jax.Array:
    """`forward`, with emissions that are made inside the loop.

    Differentiable in `scores` and `observed` at the memory cost of one [time, states, batch] array.

    Args:
        graph: the topology (static).
        emit: emissions [states, batch] of one position from `observed` and `fixed` there (static).
        scores: log weights of the transitions.
        observed: PyTree of float arrays [time, ...].
        fixed: PyTree of arrays [time, ...].
        begins: [batch] int32, first position of each sequence; what lies before is padding.
        ends: [batch] int32, one past its last; what lies beyond is padding.

    Returns:
        [batch] float32 in nat; 0 for an empty sequence.
    """
    return _partition(graph, emit, scores, observed, fixed, begins, ends, keep=False)[1]


def _partition(
    graph: Graph,
    emit: Emit,
    scores: Scores,
    observed: Any,
    fixed: Any,
    begins: jax.Array,
    ends: jax.Array,
    *,
    keep: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Posterior at the end, log partition, history."""
    last, history = filter_block(
        kernel_of(graph),
        scores,
        start(graph, len(ends)),
        (observed, fixed),
        ends,
        begins=begins,
        emit=lambda here: emit(*here),
        keep=keep,
    )
    return *close(scores, last, ends - begins), history


def _partition_fwd(
    graph: Graph, emit: Emit, scores: Scores, observed: Any, fixed: Any, begins: jax.Array, ends: jax.Array
) -> tuple[jax.Array, tuple[Any, ...]]:
    at_end, log_z, history = _partition(graph, emit, scores, observed, fixed, begins, ends, keep=True)
    return log_z, (scores.edges, history, at_end, observed, fixed, begins, ends)


def _partition_bwd(
    graph: Graph, emit: Emit, residuals: tuple[Any, ...], cotangent: jax.Array
) -> tuple[Scores, Any, None, None, None]:
    edges, history, at_end, observed, fixed, begins, ends = residuals

    def pull_back(posterior: jax.Array, here: tuple[Any, Any]) -> Any:
        return jax.vjp(lambda x: emit(x, here[1]), here[0])[1](posterior * cotangent)[0]

    first, gradient, counts = smooth_block(
        kernel_of(graph),
        edges,
        history,
        at_end,
        jnp.int32(0),
        ends,
        begins=begins,
        beside=(observed, fixed),
        read=pull_back,
    )
    some = ends > begins
    initial, final = (jnp.where(some, posterior, 0.0) @ cotangent for posterior in (first, at_end))
    return Scores(counts @ cotangent, initial, final), gradient, None, None, None


partition.defvjp(_partition_fwd, _partition_bwd)


def time_major(emissions: jax.Array) -> jax.Array:
    """[batch, time, states] to [time, states, batch]."""
    return jnp.transpose(emissions, (1, 2, 0)).astype(jnp.float32)
