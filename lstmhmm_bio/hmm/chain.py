"""Profile HMMs: chains of match, insert and delete states between flanks, batched over sequences.

States are an array axis and the parameters run-time arguments, padded to a few lengths (`pad_length`), so that another
profile compiles nothing new; `jax.vmap` batches over profiles. Delete states are silent: within a row,
D_k = a_k D_(k-1) + b_k is an associative scan. The flanks are those of Plan7 (Eddy 2011, PLoS Comput Biol 7:e1002195):

    S -> N -> B -> [chain] -> E -> C -> T,   E -> J -> B,   N, C and J emit unaligned residues.

Scores are odds ratios against the background, so inserts and flanks emit with 1. `forward` works in probability
space: every row is scaled by a power of two, which loses nothing, and the exponents are summed as integers. Values
more than about 2**126 below their row's largest are lost, so that a glocal alignment that is worse than the flanks by
over 120 bits scores -inf; local alignments have no such prefix. A code that no match state
emits (``*``) has a row of zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

#: lengths to which chains are padded; beyond, multiples of the last
LENGTHS = (64, 128, 256, 512, 1024)


class Chain(NamedTuple):
    """Parameters of a profile of `length` nodes; those of padding nodes are 0. Transitions leave the node they are at.

    Attributes:
        match: [codes, length] odds ratios of the match states.
        insert: [codes] of all insert states; 1 where they emit as the background does.
        enter: [length] B -> M_k.
        leave: [length] M_k -> E and D_k -> E: 1 everywhere (local) or at the last node only (glocal).
        mm, mi, md, im, ii, dm, dd: [length] M_k -> M_(k+1), M_k -> I_k, M_k -> D_(k+1), ...
    """

    match: jax.Array
    insert: jax.Array
    enter: jax.Array
    leave: jax.Array
    mm: jax.Array
    mi: jax.Array
    md: jax.Array
    im: jax.Array
    ii: jax.Array
    dm: jax.Array
    dd: jax.Array


class Flanks(NamedTuple):
    """Transitions of the special states, [batch] each.

    Attributes:
        loop: N -> N, C -> C, J -> J.
        move: N -> B, C -> T, J -> B.
        again: E -> J, 0 if there is but one hit.
        end: E -> C.
    """

    loop: jax.Array
    move: jax.Array
    again: jax.Array
    end: jax.Array


class Rows(NamedTuple):
    """Values of the states at one position, less a factor of 2**exponent: [batch, length] and [batch].

    `total` is the sum by which the next row is scaled.
    """

    m: jax.Array
    i: jax.Array
    d: jax.Array
    n: jax.Array
    b: jax.Array
    j: jax.Array
    c: jax.Array
    e: jax.Array
    total: jax.Array
    exponent: jax.Array


class Parse(NamedTuple):
    """Where the chain is entered and left, expected numbers [batch, time].

    Attributes:
        score: [batch] forward score in nat.
        begin: B just before this position.
        end: E just after it.
        outside: the position is emitted by N, J or C.
    """

    score: jax.Array
    begin: jax.Array
    end: jax.Array
    outside: jax.Array


class Posteriors(NamedTuple):
    """Posterior probabilities of the emitting states.

    Attributes:
        score: [batch] forward score in nat.
        match, insert: [time, batch, length].
        outside: [time, batch, 3] of N, J and C.
    """

    score: jax.Array
    match: jax.Array
    insert: jax.Array
    outside: jax.Array


def pad_length(length: int) -> int:
    """The padded length of a chain."""
    for bucket in LENGTHS:
        if length <= bucket:
            return bucket
    return -(-length // LENGTHS[-1]) * LENGTHS[-1]


def length_model(lengths: jax.Array | NDArray[np.integer], *, multihit: bool) -> Flanks:
    """The flanks of HMMER's length model: they emit as many residues as the sequence has, on average.

    Args:
        lengths: [batch] of the sequences; of numpy or JAX, and so the result.
        multihit: any number of hits, half of them followed by another one; otherwise one.
    """
    turns = 3.0 if multihit else 2.0
    move = (turns / (lengths + turns)).astype(np.float32)
    again = 0 * move + np.float32(0.5 if multihit else 0.0)
    return Flanks(*(1 - move, move, again, 1 - again))  # type: ignore[arg-type]


def forward(chain: Chain, flanks: Flanks, codes: jax.Array, lengths: jax.Array) -> jax.Array:
    """Log of the odds of the sequences, summed over all paths; differentiable in the parameters.

    Args:
        chain: the profile.
        flanks: of each sequence.
        codes: [batch, time] integers.
        lengths: [batch]; what lies beyond is padding and ignored.

    Returns:
        [batch] in nat; -inf for an empty sequence.
    """
    chain = Chain(*map(jnp.asarray, chain))
    step = _forward_step(chain, flanks, lengths, unrolled=True)

    def advance(rows: Rows, at: tuple[jax.Array, jax.Array]) -> tuple[Rows, None]:
        return step(rows, *at), None

    rows, _ = lax.scan(advance, _first(chain, flanks), (codes.T, jnp.arange(codes.shape[1])))
    return _score(rows, flanks)


@jax.jit
def forward_scores(chain: Chain, flanks: Flanks, codes: jax.Array, lengths: jax.Array) -> jax.Array:
    """As `forward`, in time of the longest sequence instead of the padding's; not differentiable."""
    step = _forward_step(chain, flanks, lengths)
    rows = lax.fori_loop(0, jnp.max(lengths), lambda t, rows: step(rows, codes[:, t], t), _first(chain, flanks))
    return _score(rows, flanks)


@jax.jit
def parse(chain: Chain, flanks: Flanks, codes: jax.Array, lengths: jax.Array) -> Parse:
    """Forward and backward of whole sequences, keeping special states only."""
    longest = jnp.max(lengths)

    def specials(rows: Rows) -> tuple[jax.Array, jax.Array]:
        return jnp.stack([rows.n, rows.b, rows.j, rows.c, rows.e]), rows.exponent

    ahead, rows = _keep(
        _forward_step(chain, flanks, lengths), _first(chain, flanks), codes, longest, specials, backwards=False
    )
    back, _ = _keep(
        _backward_step(chain, flanks, lengths), _last(chain, flanks), codes, longest, specials, backwards=True
    )
    score = _score(rows, flanks)
    (fn, fb, fj, fc, fe), (bn, bb, bj, bc, be) = (jnp.moveaxis(x[0], 1, 0) for x in (ahead, back))
    fx, bx = ahead[1], back[1]
    mantissa, exponent = _total(rows, flanks)
    inside = jnp.arange(codes.shape[1])[:, None] < lengths

    def expected(product: jax.Array, exponents: jax.Array) -> jax.Array:
        return jnp.where(inside, _scaled(product / mantissa, exponents - exponent), 0.0).T

    outside = flanks.loop * (fn[:-1] * bn[1:] + fj[:-1] * bj[1:] + fc[:-1] * bc[1:])
    return Parse(
        score,
        expected(fb[:-1] * bb[:-1], fx[:-1] + bx[:-1]),
        expected(fe[1:] * be[1:], fx[1:] + bx[1:]),
        expected(outside, fx[:-1] + bx[1:]),
    )


@jax.jit
def forward_rows(chain: Chain, flanks: Flanks, codes: jax.Array, lengths: jax.Array) -> tuple[jax.Array, Rows]:
    """Forward score [batch] and all rows, [time + 1, batch, ...]; row t is that after t positions."""
    step = _forward_step(chain, flanks, lengths)
    kept, rows = _keep(step, _first(chain, flanks), codes, jnp.max(lengths), lambda rows: rows, backwards=False)
    return _score(rows, flanks), kept


@jax.jit
def posteriors(chain: Chain, flanks: Flanks, codes: jax.Array, lengths: jax.Array) -> Posteriors:
    """Posterior decoding; memory grows with time x batch x length."""
    longest = jnp.max(lengths)

    def emitting(rows: Rows) -> tuple[jax.Array, ...]:
        return rows.m, rows.i, jnp.stack([rows.n, rows.j, rows.c], axis=-1), rows.exponent

    ahead, rows = _keep(
        _forward_step(chain, flanks, lengths), _first(chain, flanks), codes, longest, emitting, backwards=False
    )
    back, _ = _keep(
        _backward_step(chain, flanks, lengths), _last(chain, flanks), codes, longest, emitting, backwards=True
    )
    mantissa, exponent = _total(rows, flanks)
    inside = jnp.arange(codes.shape[1])[:, None] < lengths

    def expected(before: int, state: int, factor: jax.Array) -> jax.Array:
        forth = ahead[state][:-1] if before else ahead[state][1:]
        exponents = (ahead[3][:-1] if before else ahead[3][1:]) + back[3][1:] - exponent
        product = forth * back[state][1:] * factor[:, None]
        return jnp.where(inside[..., None], _scaled(product, exponents[..., None]), 0.0)

    weight = 1 / mantissa
    return Posteriors(
        _score(rows, flanks), expected(0, 0, weight), expected(0, 1, weight), expected(1, 2, weight * flanks.loop)
    )


def shift(values: jax.Array, by: int = 1, fill: float = 0.0) -> jax.Array:
    """Values of the last axis moved on by some places (back if negative)."""
    pads = [(0, 0)] * (values.ndim - 1)
    if by > 0:
        return jnp.pad(values[..., :-by], [*pads, (by, 0)], constant_values=fill)
    return jnp.pad(values[..., -by:], [*pads, (0, -by)], constant_values=fill)


Step = Callable[[Rows, jax.Array, jax.Array], Rows]


def _forward_step(chain: Chain, flanks: Flanks, lengths: jax.Array, *, unrolled: bool = False) -> Step:
    """The step from the row before position t to that after it."""
    delete = _runs(shift(chain.dd), +1, unrolled=unrolled)

    def step(rows: Rows, x: jax.Array, t: jax.Array) -> Rows:
        scale, exponent = _power_of_two(rows)
        # beyond the end nothing is emitted, and C waits
        inside = t < lengths
        emits = jnp.where(inside, scale, 0.0)
        into = shift(rows.m * chain.mm + rows.i * chain.im + rows.d * chain.dm) + rows.b[:, None] * chain.enter
        m = into * emits[:, None] * chain.match[x]
        i = (rows.m * chain.mi + rows.i * chain.ii) * (emits * chain.insert[x])[:, None]
        d = delete(shift(m * chain.md))
        e, alive = jnp.sum((m + d) * chain.leave, axis=1), jnp.sum(m + d, axis=1)
        stay = scale * flanks.loop
        n = rows.n * stay
        j = rows.j * stay + e * flanks.again
        c = jnp.where(inside, rows.c * stay + e * flanks.end, rows.c * scale)
        total = alive + n + j + c
        return Rows(m, i, d, n, (n + j) * flanks.move, j, c, e, total, rows.exponent + exponent)

    return step


def _backward_step(chain: Chain, flanks: Flanks, lengths: jax.Array) -> Step:
    """The step from the row after position t to that before it."""
    ends = _ends(chain, flanks)

    def step(rows: Rows, x: jax.Array, t: jax.Array) -> Rows:
        scale, exponent = _power_of_two(rows)
        emits = jnp.where(t < lengths, scale, 0.0)
        emitted = rows.m * chain.match[x] * emits[:, None]
        inserted = rows.i * (emits * chain.insert[x])[:, None]
        c = rows.c * jnp.where(t < lengths, flanks.loop * scale, scale)
        b = jnp.sum(emitted * chain.enter, axis=1)
        n = rows.n * flanks.loop * scale + b * flanks.move
        j = rows.j * flanks.loop * scale + b * flanks.move
        return ends(shift(emitted, -1), inserted, n, b, j, c, rows.exponent + exponent)

    return step


def _ends(chain: Chain, flanks: Flanks) -> Callable[..., Rows]:
    """What completes a row of backward: from emissions at the next position to the states before it."""
    delete = _runs(chain.dd, -1)

    def complete(
        emitted: jax.Array,
        inserted: jax.Array,
        n: jax.Array,
        b: jax.Array,
        j: jax.Array,
        c: jax.Array,
        exponent: jax.Array,
    ) -> Rows:
        e = c * flanks.end + j * flanks.again
        leave = e[:, None] * chain.leave
        d = delete(leave + emitted * chain.dm)
        m = leave + emitted * chain.mm + inserted * chain.mi + shift(d, -1) * chain.md
        i = emitted * chain.im + inserted * chain.ii
        return Rows(m, i, d, n, b, j, c, e, jnp.sum(m, axis=1) + n + c, exponent)

    return complete


def _runs(a: jax.Array, direction: int, *, unrolled: bool = False) -> Callable[[jax.Array], jax.Array]:
    """Solves d_k = b_k + a_k d_(k-1) (or k+1, against the direction) for d, given b [batch, length].

    A scan by doubling: after s rounds all runs shorter than 2**s are in. Its coefficients do not depend on b, so the
    rounds that would add less than 1e-18 of anything are known before and left out.

    Args:
        a: [length].
        direction: 1 or -1.
        unrolled: all rounds, differentiable.
    """
    length = a.shape[-1]
    coefficients = []
    by = 1
    while by < length:
        coefficients.append(a)
        a = a * shift(a, by * direction)
        by *= 2
    table = jnp.stack(coefficients)
    rounds = len(coefficients) if unrolled else jnp.sum(jnp.max(table, axis=1) > 1e-18)

    def solve(d: jax.Array) -> jax.Array:
        nothing = jnp.zeros_like(d)

        def body(s: jax.Array, d: jax.Array) -> jax.Array:
            by = jnp.left_shift(1, s)
            extended, start = ([nothing, d], length - by) if direction > 0 else ([d, nothing], by)
            return d + table[s] * lax.dynamic_slice_in_dim(jnp.concatenate(extended, axis=1), start, length, axis=1)

        return lax.fori_loop(0, rounds, body, d)

    return solve


def _first(chain: Chain, flanks: Flanks) -> Rows:
    """The row before the first position."""
    one = jnp.ones_like(flanks.move)
    nothing = jnp.zeros((len(one), chain.enter.shape[-1]), chain.enter.dtype)
    zero = jnp.zeros_like(one)
    exponent = jnp.zeros(len(one), jnp.int32)
    return Rows(nothing, nothing, nothing, one, flanks.move, zero, zero, zero, one, exponent)


def _last(chain: Chain, flanks: Flanks) -> Rows:
    """The row after the last position, of backward."""
    nothing = jnp.zeros((len(flanks.move), chain.enter.shape[-1]), chain.enter.dtype)
    zero = jnp.zeros_like(flanks.move)
    exponent = jnp.zeros(len(zero), jnp.int32)
    return _ends(chain, flanks)(nothing, nothing, zero, zero, zero, flanks.move, exponent)


def _keep(
    step: Step, rows: Rows, codes: jax.Array, longest: jax.Array, select: Callable[[Rows], tuple], *, backwards: bool
) -> tuple[Any, Rows]:
    """Runs over the positions before `longest` and keeps what `select` picks from the time + 1 rows around them."""
    time = codes.shape[1]
    picked = select(rows)
    start = longest if backwards else 0
    kept = jax.tree.map(lambda x: jnp.zeros((time + 1, *x.shape), x.dtype).at[start].set(x), picked)

    def body(count: jax.Array, carry: tuple[Any, Rows]) -> tuple[Any, Rows]:
        kept, rows = carry
        t = longest - 1 - count if backwards else count
        rows = step(rows, codes[:, t], t)
        place = t if backwards else t + 1
        return jax.tree.map(lambda all_rows, x: all_rows.at[place].set(x), kept, select(rows)), rows

    return lax.fori_loop(0, longest, body, (kept, rows))


def _power_of_two(rows: Rows) -> tuple[jax.Array, jax.Array]:
    """The power of two [batch] that brings the row's total to [1, 2), and the exponent taken out."""
    bits = lax.bitcast_convert_type(lax.stop_gradient(rows.total), jnp.int32)
    exponent = jnp.clip((bits >> 23) - 127, -126, 126)
    return lax.bitcast_convert_type((127 - exponent) << 23, jnp.float32), exponent


def _total(rows: Rows, flanks: Flanks) -> tuple[jax.Array, jax.Array]:
    """The odds [batch] of whole sequences, as a number and an exponent of two."""
    return rows.c * flanks.move, rows.exponent


def _score(rows: Rows, flanks: Flanks) -> jax.Array:
    odds, exponent = _total(rows, flanks)
    return jnp.log(odds) + exponent * jnp.log(jnp.float32(2))


def _scaled(values: jax.Array, exponents: jax.Array) -> jax.Array:
    """Values times a power of two, where the factor alone may be out of range."""
    half = exponents // 2
    return values * jnp.exp2(half.astype(jnp.float32)) * jnp.exp2((exponents - half).astype(jnp.float32))
