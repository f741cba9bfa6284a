"""Reading bases: k-mers of every position, the bases around some positions, and what a table says of them.

A gather costs by the element on a CPU, ten times what arithmetic does, so there are few of them here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

#: bases that one gathered number holds, three bits each
_PACKED = 10


def kmers(codes: Array, k: int) -> Array:
    """[..., time] index of the k-mer that begins at each base, 4**k where it is unknown or cut off."""
    n = codes.shape[-1]
    beside = [(0, 0)] * (codes.ndim - 1)
    padded = jnp.pad(codes.astype(jnp.int32), [*beside, (0, k - 1)], constant_values=4)
    index = jnp.zeros(codes.shape, jnp.int32)
    unknown = jnp.zeros(codes.shape, bool)
    for j in range(k):
        part = padded[..., j : j + n]
        index = index * 4 + part
        unknown |= part > 3
    return jnp.where(unknown, 4**k, index)


def bases_around(codes: Array, at: Array, first: int, last: int) -> Array:
    """The bases around some positions: int32 [rows, k, last - first + 1], 4 beyond the ends.

    Args:
        codes: [rows, time].
        at: [rows, k], positions.
        first: of the bases, relative to each position,
        last: and the last of them.
    """
    n = last - first + 1
    numbers = -(-n // _PACKED)
    before = max(-first, 0)
    padded = jnp.pad(codes.astype(jnp.int32), ((0, 0), (before, max(last, 0) + _PACKED)), constant_values=4)
    length = padded.shape[1] - _PACKED + 1
    packed = sum((padded[:, j : j + length] << 3 * j for j in range(1, _PACKED)), padded[:, :length])
    places = at[:, :, None] + first + before + _PACKED * jnp.arange(numbers)
    found = jax.vmap(lambda row, i: row.at[i].get(mode="promise_in_bounds"))(packed, places)
    bases = (found[..., None] >> 3 * jnp.arange(_PACKED)) & 7
    return bases.reshape(*at.shape, -1)[..., :n]


def of_bases(values: Array | NDArray[np.float32], bases: Array) -> Array:
    """What a table holds for each base: [..., width], 0 for unknown ones.

    Args:
        values: [..., width, 4], axes before them as those of `bases` or to be broadcast.
        bases: [..., width] codes.
    """
    chosen: Array = jnp.zeros((), values.dtype)
    for base in range(4):
        chosen = jnp.where(bases == base, values[..., base], chosen)
    return chosen
