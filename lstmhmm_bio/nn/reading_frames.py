"""Open reading frames around codons: how much room a gene has that begins at a start codon or ends at a stop codon.

Stop codons close a frame, and so does what is unknown: the end of a record, padding, an unknown base. Lengths stop
counting at `FAR`, which is less than the context that windows are read with (`windows.FLANK`), so what is said of a
base does not depend on how its record is cut into windows.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

#: codons up to which lengths count
FAR = 240

#: codons that a loop along a sequence takes per turn
UNROLL = 8


_Two = tuple[Array, Array]
_Three = tuple[Array, Array, Array]
_Four = tuple[Array, Array, Array, Array]


class Frames(NamedTuple):
    """The open reading frame of the codon that begins at each base: [rows, time] each.

    Attributes:
        before: int32 codons of it before this one, at most `FAR`.
        first: int32 codons since its first start codon, at most `FAR`; 0 where none lies before this one.
        opened: bool, something unknown and no stop codon lies before these codons.
        inner: bool, a start codon lies before this one (or more than `FAR` codons do). Translation mostly begins at
            the first one, most of all where ribosomes look for it along the transcript (Kozak, Nucleic Acids
            Res. 15:8125, 1987).
        behind: int32 codons from this one on, 0 for a stop codon, at most `FAR`.
        closed: bool, something unknown and no stop codon lies behind them.
    """

    before: Array
    first: Array
    opened: Array
    inner: Array
    behind: Array
    closed: Array


def open_frames(starts: Array, stops: Array, unknown: Array) -> Frames:
    """The open reading frame of every codon.

    Args:
        starts: bool [rows, time], a start codon begins here; time is a multiple of 3.
        stops: the same of stop codons.
        unknown: the same of codons with an unknown base.
    """
    rows = len(starts)
    # codon by codon, the three frames side by side
    start, stop, cut = (jnp.moveaxis(x.reshape(rows, -1, 3), 1, 0) for x in (starts, stops, unknown))
    none, yes = jnp.zeros((rows, 3), jnp.int32), jnp.ones((rows, 3), bool)

    def onwards(carry: _Four, codon: _Three) -> tuple[_Four, _Four]:
        before, first, opened, started = carry
        start, stop, unknown = codon
        far = before >= FAR
        here = before, jnp.where(far, FAR, first), opened & ~far, started | far
        ends, started = stop | unknown, started | start
        first = jnp.where(started & ~ends, jnp.minimum(first + 1, FAR), 0)
        before = jnp.where(ends, 0, jnp.minimum(before + 1, FAR))
        return (before, first, jnp.where(ends, unknown, opened), started & ~ends), here

    def backwards(carry: _Two, codon: _Three) -> tuple[_Two, _Two]:
        behind, closed = carry
        _, stop, unknown = codon
        ends = stop | unknown
        behind, closed = jnp.where(ends, 0, jnp.minimum(behind + 1, FAR)), jnp.where(ends, unknown, closed)
        return (behind, closed), (behind, closed & (behind < FAR))

    _, ahead = jax.lax.scan(onwards, (none, none, yes, ~yes), (start, stop, cut), unroll=UNROLL)
    _, back = jax.lax.scan(backwards, (none, yes), (start, stop, cut), unroll=UNROLL, reverse=True)
    return Frames(*(jnp.moveaxis(x, 0, 1).reshape(starts.shape) for x in (*ahead, *back)))


def tents(lengths: Array, knots: tuple[int, ...]) -> Array:
    """Piecewise linear basis of log lengths: [..., knots], 1 at its own knot and 0 at the others, constant beyond.

    Args:
        lengths: at least 0.
        knots: lengths, ascending.
    """
    at = jnp.log1p(jnp.array(knots, jnp.float32))
    x = jnp.clip(jnp.log1p(lengths.astype(jnp.float32)), at[0], at[-1])[..., None]
    gaps = jnp.diff(at)
    rising = jnp.pad((x - at[:-1]) / gaps, [(0, 0)] * lengths.ndim + [(1, 0)], constant_values=1)
    falling = jnp.pad((at[1:] - x) / gaps, [(0, 0)] * lengths.ndim + [(0, 1)], constant_values=1)
    return jnp.maximum(jnp.minimum(rising, falling), 0)
