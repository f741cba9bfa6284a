"""Paths through profile HMMs: Viterbi, optimal accuracy, and samples from the posterior distribution.

All three fill the rows of a sequence and trace back through them. A path is told by what emits each residue: the node
(from 1; 0 is N, J or C), whether its insert state does, and where the chain is entered; deletes are the nodes that are
jumped over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .chain import Chain, Flanks, Posteriors, Rows, shift

_NEVER = -jnp.inf
#: states of a traceback
_M, _I, _D, _E, _C, _J, _B, _N = range(8)


class Paths(NamedTuple):
    """Paths of a batch of sequences.

    Attributes:
        score: [batch] log of the odds of the path (Viterbi) or expected number of rightly placed residues.
        node: [batch, time] int32, the node that emits the residue, from 1; 0 in the flanks and in padding.
        inserted: [batch, time] bool, by its insert state.
        first: [batch, time] bool, the residue is the first of a pass through the chain.
    """

    score: jax.Array
    node: jax.Array
    inserted: jax.Array
    first: jax.Array


class _Filled(NamedTuple):
    """Rows 0..time of a dynamic programme in max-plus.

    Attributes:
        m, i, d: [time + 1, batch, length].
        n, j, c, e: [time + 1, batch].
        exit: [time + 1, batch] int32, the node from which E is best reached.
        exit_deleted: [time + 1, batch] bool, from its delete state.
    """

    m: jax.Array
    i: jax.Array
    d: jax.Array
    n: jax.Array
    j: jax.Array
    c: jax.Array
    e: jax.Array
    exit: jax.Array
    exit_deleted: jax.Array


#: position -> scores of its residue: of match states [batch, length], insert states [batch, length or 1], N, J and C
Emission = Callable[[jax.Array], tuple[jax.Array, ...]]


@jax.jit
def viterbi(chain: Chain, flanks: Flanks, codes: jax.Array, lengths: jax.Array) -> Paths:
    """The most probable paths; memory grows with time x batch x length.

    Args:
        chain: the profile.
        flanks: of each sequence.
        codes: [batch, time].
        lengths: [batch]; what lies beyond is padding.
    """
    logs, borders = Chain(*map(jnp.log, chain)), Flanks(*map(jnp.log, flanks))

    def emission(t: jax.Array) -> tuple[jax.Array, ...]:
        x = codes[:, t]
        return logs.match[x], logs.insert[x][:, None], borders.loop, borders.loop, borders.loop

    filled = _fill(logs, borders, emission, codes.shape[1], jnp.max(lengths))
    score = filled.c[lengths, jnp.arange(len(lengths))] + borders.move
    return _trace(logs, borders, emission, filled, lengths, score)


@jax.jit
def optimal_accuracy(chain: Chain, flanks: Flanks, posteriors: Posteriors, lengths: jax.Array) -> Paths:
    """The paths with most expected rightly placed residues (Holmes and Durbin 1998, J Comput Biol 5:493; in HMMER's
    variant after Kall et al. 2005, Bioinformatics 21 Suppl 1:i251).

    Args:
        chain: the profile, of which it only matters which transitions there are.
        flanks: of each sequence, likewise.
        posteriors: of the sequences.
        lengths: [batch].
    """
    logs = Chain(*(jnp.where(x > 0, 0.0, _NEVER) for x in chain))
    borders = Flanks(*(jnp.where(x > 0, 0.0, _NEVER) for x in flanks))

    def emission(t: jax.Array) -> tuple[jax.Array, ...]:
        n, j, c = posteriors.outside[t].T
        return posteriors.match[t], posteriors.insert[t], n, j, c

    filled = _fill(logs, borders, emission, len(posteriors.match), jnp.max(lengths))
    score = filled.c[lengths, jnp.arange(len(lengths))]
    return _trace(logs, borders, emission, filled, lengths, score)


def _fill(logs: Chain, flanks: Flanks, emission: Emission, time: int, longest: jax.Array) -> _Filled:
    batch = len(flanks.move)
    runs = _longest_runs(logs.dd)
    never = jnp.full((batch, logs.enter.shape[-1]), _NEVER)
    no = jnp.full(batch, _NEVER)
    start = _Filled(never, never, never, jnp.zeros(batch), no, no, no, jnp.zeros(batch, jnp.int32), no > 0)
    kept = jax.tree.map(lambda x: jnp.zeros((time + 1, *x.shape), x.dtype).at[0].set(x), start)

    def body(t: jax.Array, carry: tuple[_Filled, _Filled]) -> tuple[_Filled, _Filled]:
        kept, row = carry
        match, insert, n_score, j_score, c_score = emission(t)
        b = jnp.maximum(row.n, row.j) + flanks.move
        chained = jnp.maximum(jnp.maximum(row.m + logs.mm, row.i + logs.im), row.d + logs.dm)
        m = match + jnp.maximum(shift(chained, fill=_NEVER), b[:, None] + logs.enter)
        i = insert + jnp.maximum(row.m + logs.mi, row.i + logs.ii)
        d = runs(shift(m + logs.md, fill=_NEVER))
        leaving, leaving_deleted = m + logs.leave, d + logs.leave
        best, best_deleted = jnp.max(leaving, axis=1), jnp.max(leaving_deleted, axis=1)
        from_deleted = best_deleted > best
        e = jnp.maximum(best, best_deleted)
        node = jnp.where(from_deleted, jnp.argmax(leaving_deleted, axis=1), jnp.argmax(leaving, axis=1))
        row = _Filled(
            m,
            i,
            d,
            row.n + n_score,
            jnp.maximum(row.j + j_score, e + flanks.again),
            jnp.maximum(row.c + c_score, e + flanks.end),
            e,
            node.astype(jnp.int32),
            from_deleted,
        )
        return jax.tree.map(lambda rows, x: rows.at[t + 1].set(x), kept, row), row

    return lax.fori_loop(0, longest, body, (kept, start))[0]


def _longest_runs(dd: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """As `chain._runs` in max-plus: d_k = max(b_k, d_(k-1) + dd_(k-1))."""
    a = shift(dd, fill=_NEVER)
    rounds = []
    by = 1
    while by < a.shape[-1]:
        rounds.append(a)
        a = a + shift(a, by, fill=_NEVER)
        by *= 2
    table = jnp.stack(rounds)

    def solve(d: jax.Array) -> jax.Array:
        length = d.shape[-1]

        def body(s: jax.Array, d: jax.Array) -> jax.Array:
            extended = jnp.concatenate([jnp.full_like(d, _NEVER), d], axis=1)
            moved = lax.dynamic_slice_in_dim(extended, length - jnp.left_shift(1, s), length, axis=1)
            return jnp.maximum(d, table[s] + moved)

        return lax.fori_loop(0, len(rounds), body, d)

    return solve


class _Cursor(NamedTuple):
    """Where the traceback of each sequence is [batch], and the paths so far."""

    state: jax.Array
    t: jax.Array
    k: jax.Array
    node: jax.Array
    inserted: jax.Array
    first: jax.Array


def _trace(
    logs: Chain, flanks: Flanks, emission: Emission, rows: _Filled, lengths: jax.Array, score: jax.Array
) -> Paths:
    """Traces back. Of equally good ways a match prefers match, insert, delete, begin; others prefer match; C and J
    prefer to be entered.
    """
    time = len(rows.m) - 1
    batch = len(lengths)
    here = jnp.arange(batch)
    # what the flanks' residues score, at the position after row t
    scores = lax.map(lambda t: jnp.stack(emission(t)[2:]), jnp.arange(time))

    def step(at: _Cursor) -> _Cursor:
        state, t, k = at.state, at.t, at.k
        before, previous, node = jnp.maximum(t - 1, 0), jnp.maximum(k - 2, 0), jnp.maximum(k - 1, 0)

        def came(values: jax.Array, transition: jax.Array, row: jax.Array, place: jax.Array) -> jax.Array:
            return values[row, here, place] + transition[place]

        begun = jnp.maximum(rows.n[before, here], rows.j[before, here]) + flanks.move + logs.enter[node]
        inner = k > 1
        into_m = jnp.stack(
            [
                jnp.where(inner, came(rows.m, logs.mm, before, previous), _NEVER),
                jnp.where(inner, came(rows.i, logs.im, before, previous), _NEVER),
                jnp.where(inner, came(rows.d, logs.dm, before, previous), _NEVER),
                begun,
            ]
        )
        from_m = jnp.array([_M, _I, _D, _B])[jnp.argmax(into_m, axis=0)]
        stays = came(rows.i, logs.ii, before, node) > came(rows.m, logs.mi, before, node)
        runs = came(rows.d, logs.dd, t, previous) > came(rows.m, logs.md, t, previous)
        _, j_score, c_score = jnp.moveaxis(scores[before, :, here], 1, 0)
        waits_c = (t > 0) & (rows.c[before, here] + c_score > rows.e[t, here] + flanks.end)
        waits_j = (t > 0) & (rows.j[before, here] + j_score > rows.e[t, here] + flanks.again)
        choices = [
            from_m,
            jnp.where(stays, _I, _M),
            jnp.where(runs, _D, _M),
            jnp.where(rows.exit_deleted[t, here], _D, _M),
            jnp.where(waits_c, _C, _E),
            jnp.where(waits_j, _J, _E),
            jnp.where(rows.j[t, here] > rows.n[t, here], _J, _N),
            jnp.full(batch, _N),
        ]
        came_from = jnp.choose(state, choices, mode="clip")
        emits = (state == _M) | (state == _I)
        waits = ((state == _C) | (state == _J) | (state == _N)) & (came_from == state)
        down = jnp.where(state == _E, rows.exit[t, here] + 1, jnp.where((state == _M) | (state == _D), k - 1, k))
        place = jnp.where(emits, t - 1, time)
        return _Cursor(
            jnp.where(t > 0, came_from, _N),
            jnp.where(emits | waits, jnp.maximum(t - 1, 0), t),
            jnp.where(came_from == _B, 0, down),
            at.node.at[here, place].set(k, mode="drop"),
            at.inserted.at[here, place].set(state == _I, mode="drop"),
            at.first.at[here, place].set((state == _M) & (came_from == _B), mode="drop"),
        )

    empty = jnp.zeros((batch, time), jnp.int32)
    start = _Cursor(jnp.full(batch, _C), lengths, jnp.zeros(batch, jnp.int32), empty, empty > 0, empty > 0)
    # N emits all that is left
    end = lax.while_loop(lambda at: jnp.any((at.state != _N) & (at.t > 0)), step, start)
    return Paths(score, end.node, end.inserted, end.first)


@partial(jax.jit, static_argnames="samples")
def sample(
    chain: Chain, flanks: Flanks, rows: Rows, lengths: jax.Array, order: jax.Array, seed: jax.Array, samples: int
) -> tuple[jax.Array, ...]:
    """Paths of some sequences, of each drawn from their posterior distribution one after another.

    The random numbers and the order in which choices are laid out are those of HMMER's ensembles, so that its
    decisions are met with again, up to rounding. A path's random numbers follow those of the path before it, so that
    only sequences go side by side.

    Args:
        chain: the profile.
        flanks: of each sequence.
        rows: of `forward_rows`.
        lengths: [batch] of the sequences; those of length 0 have no paths.
        order: [2 * length of the chain] int32, the order in which ways into E are laid out: k for M_(k+1), k plus the
            chain's length for D_(k+1).
        seed: [] uint32, state of the generator x -> 69069 x + 1 (mod 2**32) before the first path of each sequence.
        samples: how many are drawn.

    Returns:
        node, inserted, first as in `Paths`, [batch, samples, time].
    """
    batch, time, size = len(lengths), len(rows.c) - 1, chain.enter.shape[-1]
    lane = jnp.arange(batch)
    choices = _choices(chain, flanks, rows)
    exits = jnp.cumsum(jnp.concatenate([rows.m * chain.leave, rows.d * chain.leave], axis=2)[..., order], axis=2)

    def left_by(t: jax.Array, roll: jax.Array) -> jax.Array:
        """How E was reached: by bisection, the first way at which the sum exceeds this part of the whole."""
        wanted, place = roll * exits[t, lane, -1], jnp.zeros_like(t)
        for by in (1 << n for n in reversed(range((2 * size).bit_length()))):
            further = place + by
            less = exits[t, lane, jnp.minimum(further, 2 * size) - 1] <= wanted
            place = jnp.where((further <= 2 * size) & less, further, place)
        return order[jnp.minimum(place, 2 * size - 1)]

    def step(at: _Draws) -> _Draws:
        state, t, k = at.state, at.t, at.k
        x = at.x * jnp.uint32(69069) + jnp.uint32(1)
        roll = (x >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)
        before, here = jnp.maximum(t - 1, 0), jnp.maximum(k - 1, 0)
        leaves = state == _E
        exit_ = lax.cond(jnp.any(leaves), lambda: left_by(t, roll), lambda: jnp.zeros_like(t))
        from_m = jnp.sum(choices.m[before, lane, here] <= roll[:, None], axis=1)
        from_i, from_d = (choices.id[t, lane, here] <= roll[:, None]).T
        from_c, from_j, from_b = (choices.special[t, lane] <= roll[:, None]).T
        came_from = jnp.stack(
            [
                jnp.array([_B, _M, _I, _D])[from_m],
                jnp.where(from_i, _I, _M),
                jnp.where(from_d, _D, _M),
                jnp.where(exit_ < size, _M, _D),
                jnp.where(from_c, _E, _C),
                jnp.where(from_j, _E, _J),
                jnp.where(from_b, _J, _N),
            ]
        )[state, lane]
        emits = (state == _M) | (state == _I)
        waits = ((state == _C) | (state == _J)) & (came_from == state)
        begun = (state == _M) & (came_from == _B)
        down = jnp.where(leaves, exit_ % size + 1, jnp.where((state == _M) | (state == _D), k - 1, k))
        moved = jnp.where(emits | waits, t - 1, t)
        # N emits all that is left, and the next path begins at the end
        ended = (came_from == _N) | (moved < 0)
        return _Draws(
            x,
            at.path + ended,
            jnp.where(ended, _C, came_from),
            jnp.where(ended, lengths, moved),
            jnp.where(ended | (came_from == _B), 0, down),
            at.emitted.at[lane, at.path, jnp.where(emits, t - 1, time)].set(
                4 * k + 2 * (state == _I) + begun, mode="drop"
            ),
        )

    start = _Draws(
        jnp.full(batch, seed, jnp.uint32),
        jnp.where(lengths > 0, 0, samples),
        jnp.full(batch, _C),
        lengths,
        jnp.zeros(batch, jnp.int32),
        jnp.zeros((batch, samples, time), jnp.int32),
    )
    emitted = lax.while_loop(lambda at: jnp.any(at.path < samples), step, start).emitted
    return emitted >> 2, emitted & 2 > 0, emitted & 1 > 0


class _Choices(NamedTuple):
    """Where a sampled path came from: the number of values that a random number in [0, 1) reaches.

    Attributes:
        m: [time, batch, length, 3] of M_k at the position after row t: from begin, M, I, D.
        id: [time + 1, batch, length, 2] of I_k, whose residue is before row t, from M or I; of D_k from M or D.
        special: [time + 1, batch, 3] of C, from C or E; of J, from J or E; of B, from N or J.
    """

    m: jax.Array
    id: jax.Array
    special: jax.Array


def _choices(chain: Chain, flanks: Flanks, rows: Rows) -> _Choices:
    m, i, d, e = rows.m, rows.i, rows.d, rows.e

    def earlier(values: jax.Array) -> jax.Array:
        """Those of the row before."""
        return jnp.concatenate([values[:1], values[:-1]])

    ways = [rows.b[..., None] * chain.enter, shift(m * chain.mm), shift(i * chain.im), shift(d * chain.dm)]
    sums = [ways[0], ways[0] + ways[1], ways[0] + ways[1] + ways[2]]
    whole = sums[2] + ways[3]
    mi, ii = earlier(m * chain.mi), earlier(i * chain.ii)
    md, dd = shift(m * chain.md), shift(d * chain.dd)
    # C and J compare two rows, which are scaled differently
    rescale = jnp.exp2((earlier(rows.exponent) - rows.exponent).astype(jnp.float32))
    c, j = (earlier(x) * flanks.loop * rescale for x in (rows.c, rows.j))
    return _Choices(
        jnp.stack([x / whole for x in sums], axis=-1)[:-1],
        jnp.stack([mi / (mi + ii), md / (md + dd)], axis=-1),
        jnp.stack([c / (c + e * flanks.end), j / (j + e * flanks.again), rows.n / (rows.n + rows.j)], axis=-1),
    )


class _Draws(NamedTuple):
    """Where the drawing of each sequence's paths is, [batch].

    Attributes:
        x: state of the generator.
        path: the path's number.
        state, t, k: as in `_Cursor`.
        emitted: [batch, samples, time] four times the node that emits a residue, and 2 for its insert state, 1 for the
            first of a pass.
    """

    x: jax.Array
    path: jax.Array
    state: jax.Array
    t: jax.Array
    k: jax.Array
    emitted: jax.Array
