"""Paths through profile HMMs: Viterbi, optimal accuracy, and samples from the posterior distribution.

All three fill the rows of a sequence and trace back through them. A path is told by what emits each residue: the node
(from 1; 0 is N, J or C), whether its insert state does, and where the chain is entered; deletes are the nodes that are
jumped over.
"""

from __future__ import annotations

from collections.abc import Callable
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


@jax.jit
def sample(
    chain: Chain, flanks: Flanks, rows: Rows, length: jax.Array, order: jax.Array, samples: jax.Array, seed: jax.Array
) -> tuple[jax.Array, ...]:
    """Paths of one sequence, drawn from their posterior distribution one after another.

    The random numbers and the order in which choices are laid out are those of HMMER's ensembles, so that its
    decisions are met with again, up to rounding.

    Args:
        chain: the profile.
        flanks: of the sequence, [1] each.
        rows: of `forward_rows`, [time + 1, 1, ...].
        length: [] int32, of the sequence.
        order: [2 * length of the chain] int32, the order in which ways into E are laid out: k for M_(k+1), k plus the
            chain's length for D_(k+1).
        samples: [paths], whose length is how many are drawn.
        seed: [] uint32, state of the generator x -> 69069 x + 1 (mod 2**32).

    Returns:
        node, inserted, first as in `Paths`, [paths, time].
    """
    time = len(rows.c) - 1
    m, i, d = (x[:, 0] for x in (rows.m, rows.i, rows.d))
    n, b, j, c, exponent = (x[:, 0] for x in (rows.n, rows.b, rows.j, rows.c, rows.exponent))
    exits = jnp.cumsum(jnp.concatenate([m * chain.leave, d * chain.leave], axis=1)[:, order], axis=1)
    loop, again, end = flanks.loop[0], flanks.again[0], flanks.end[0]
    # C and J compare two rows, which are scaled differently
    rescale = jnp.exp2((exponent[:-1] - exponent[1:]).astype(jnp.float32))
    size = chain.enter.shape[-1]

    def draw(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = x * jnp.uint32(69069) + jnp.uint32(1)
        return x, (x >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)

    def path(x: jax.Array, _: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        def step(at: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            x, state, t, k, node, inserted, first = at
            following, roll = draw(x)
            before, previous, here = jnp.maximum(t - 1, 0), jnp.maximum(k - 2, 0), jnp.maximum(k - 1, 0)
            inner = jnp.where(k > 1, 1.0, 0.0)
            ways = jnp.cumsum(
                jnp.stack(
                    [
                        b[before] * chain.enter[here],
                        inner * m[before, previous] * chain.mm[previous],
                        inner * i[before, previous] * chain.im[previous],
                        inner * d[before, previous] * chain.dm[previous],
                    ]
                )
            )
            from_m = jnp.array([_B, _M, _I, _D])[jnp.minimum(jnp.sum(ways <= roll * ways[3]), 3)]
            mi, ii = m[before, here] * chain.mi[here], i[before, here] * chain.ii[here]
            md, dd = m[t, previous] * chain.md[previous], d[t, previous] * chain.dd[previous]
            exit_ = order[jnp.minimum(jnp.sum(exits[t] <= roll * exits[t, -1]), 2 * size - 1)]
            stay_c, stay_j = c[before] * loop * rescale[before], j[before] * loop * rescale[before]
            enter_c, enter_j = rows.e[t, 0] * end, rows.e[t, 0] * again
            came_from = jnp.stack(
                [
                    from_m,
                    jnp.where(roll * (mi + ii) < mi, _M, _I),
                    jnp.where(roll * (md + dd) < md, _M, _D),
                    jnp.where(exit_ < size, _M, _D),
                    jnp.where(roll * (stay_c + enter_c) < stay_c, _C, _E),
                    jnp.where(roll * (stay_j + enter_j) < stay_j, _J, _E),
                    jnp.where(roll * (n[t] + j[t]) < n[t], _N, _J),
                ]
            )[state]
            emits = (state == _M) | (state == _I)
            waits = ((state == _C) | (state == _J)) & (came_from == state)
            place = jnp.where(emits, t - 1, time)
            down = jnp.where(state == _E, exit_ % size + 1, jnp.where((state == _M) | (state == _D), k - 1, k))
            return (
                following,
                came_from,
                jnp.where(emits | waits, t - 1, t),
                jnp.where(came_from == _B, 0, down),
                node.at[place].set(k, mode="drop"),
                inserted.at[place].set(state == _I, mode="drop"),
                first.at[place].set((state == _M) & (came_from == _B), mode="drop"),
            )

        empty = jnp.zeros(time, jnp.int32)
        start: tuple[jax.Array, ...] = (x, jnp.int32(_C), length, jnp.int32(0), empty, empty > 0, empty > 0)
        x, _, _, _, node, inserted, first = lax.while_loop(lambda at: (at[1] != _N) & (at[2] >= 0), step, start)
        return x, (node, inserted, first)

    return lax.scan(path, seed, samples)[1]
