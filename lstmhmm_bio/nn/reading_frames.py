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

#: bases or codons that a loop along a sequence takes per turn
UNROLL = 8


_Two = tuple[Array, Array]
_Three = tuple[Array, Array, Array]


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
    rows, time = starts.shape

    def by_codon(x: Array) -> Array:
        """[codons, rows, 3], the three frames side by side."""
        return jnp.moveaxis(x.reshape(rows, -1, 3), 1, 0)

    index = jnp.arange(time // 3)[:, None, None]
    ends, never = by_codon(stops | unknown), time // 3
    # what closes a frame, by its place; twice that, and one more if it is unknown
    place = 2 * index + by_codon(unknown)
    place_before, place_behind = jnp.where(ends, place, -1), jnp.where(ends, place, 2 * never + 1)
    start = jnp.where(by_codon(starts), index, never)

    def onwards(carry: _Two, codon: _Three) -> tuple[_Two, _Two]:
        last, first = carry
        place, start, end = codon
        return (jnp.maximum(last, place), jnp.where(end, never, jnp.minimum(first, start))), carry

    def backwards(next_end: Array, place: Array) -> tuple[Array, Array]:
        next_end = jnp.minimum(next_end, place)
        return next_end, next_end

    edge = jnp.full((rows, 3), -1), jnp.full((rows, 3), never)
    _, (last, first) = jax.lax.scan(onwards, edge, (place_before, start, ends), unroll=UNROLL)
    _, behind = jax.lax.scan(backwards, jnp.full((rows, 3), 2 * never + 1), place_behind, unroll=UNROLL, reverse=True)

    # the codons before the first one and behind the last one are unknown
    before = jnp.minimum(index - last // 2 - 1, FAR)
    far, inner = before >= FAR, first < never
    since_first = jnp.where(inner, jnp.minimum(index - first, FAR), 0)
    length = jnp.minimum(behind // 2 - index, FAR)
    columns = (
        before,
        jnp.where(far, FAR, since_first),
        (last % 2 == 1) & ~far,
        inner | far,
        length,
        (behind % 2 == 1) & (length < FAR),
    )
    return Frames(*(jnp.moveaxis(x, 0, 1).reshape(rows, time) for x in columns))


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
