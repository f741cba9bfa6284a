"""Border models: where regions of a label begin and end, read from the bases around.

An LSTM that reads several bases a step learns what long regions are made of. What short ones have in common (an RNA
gene, a repeat, a binding site) are words at nearly fixed distances from their ends, and some hundred examples suffice
for a model that is laid at the ends themselves: all examples are then aligned. As with `sites`, a linear screen scores
every base, and a perceptron corrects it at the best ones.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .lstm import on_host
from .sites import Dense, init_dense, read_in

#: bases that a model sees: outside of the region from its end on, and inside with the end itself
OUTSIDE, INSIDE = 10, 101
WIDTH = OUTSIDE + INSIDE
#: first base that the model of a region's beginning (its end) sees, relative to the region's first (last) base
FIRST = (-OUTSIDE, 1 - INSIDE)
#: bases that a perceptron is spent on, per 256 bases of a strand
PER_256 = 8
#: and at least, however short a window is
FEWEST = 32
#: hidden units of the perceptrons
HIDDEN = (96, 32)


class BorderParams(NamedTuple):
    """Weights of the models of `n` labels, stacked: two for each label, of its beginnings and of its ends.

    Attributes:
        screen: [2 n, 4 * WIDTH, 1] and [2 n, 1].
        layers: of the perceptrons.
        log_temperature: [2 n] of the scores.
    """

    screen: Dense
    layers: tuple[Dense, Dense, Dense]
    log_temperature: Array


def init_borders(rng: np.random.Generator, labels: int) -> BorderParams:
    """Random initial weights."""

    def layers() -> tuple[Dense, Dense, Dense]:
        return (
            init_dense(rng, 4 * WIDTH, HIDDEN[0]),
            init_dense(rng, *HIDDEN),
            init_dense(rng, HIDDEN[1], 1, scale=0.1),
        )

    models = 2 * labels
    stacked = jax.tree.map(lambda *x: np.stack(x), *(layers() for _ in range(models)))
    return BorderParams(
        Dense(on_host(np.zeros((models, 4 * WIDTH, 1))), on_host(np.zeros((models, 1)))),
        stacked,
        on_host(np.full(models, np.log(0.3))),
    )


def correction(layers: tuple[Dense, Dense, Dense], bases: Array, kept: Array | float = 1.0) -> Array:
    """What the perceptron of one model makes of windows [..., WIDTH] of codes: [...].

    `kept` multiplies the units of its first layer (dropout).
    """
    first, second, last = layers
    x = jax.nn.one_hot(bases, 4).reshape(*bases.shape[:-1], -1)
    y = jax.nn.relu(x @ first.w + first.b) * kept
    y = jax.nn.relu(y @ second.w + second.b)
    return (y @ last.w + last.b)[..., 0]


def border_scores(params: BorderParams, codes: Array) -> Array:
    """Log-odds-like scores of "a region begins here" and "a region ends here".

    Args:
        params: models of n labels.
        codes: [rows, time] uint8, both strands.

    Returns:
        [rows, time, 2 n].
    """
    time = codes.shape[1]
    padded = jnp.pad(codes, ((0, 0), (WIDTH, WIDTH)), constant_values=4)
    models = len(params.log_temperature)
    kernel = params.screen.w.reshape(models, WIDTH, 4).transpose(1, 2, 0)
    screened = jax.lax.conv_general_dilated(
        jax.nn.one_hot(padded, 4), kernel, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
    )
    begin = jnp.tile(WIDTH + jnp.array(FIRST), models // 2)  # of the window of base 0

    def one(model: tuple[Array, Array, Array, tuple[Dense, Dense, Dense]]) -> Array:
        column, bias, offset, layers = model
        rough = jax.lax.dynamic_slice_in_dim(column, offset, time, 1) + bias
        at = jax.lax.top_k(rough, read_in(time, PER_256, FEWEST))[1]
        index = at[:, :, None] + offset + jnp.arange(WIDTH)
        bases = jax.vmap(lambda row, i: row[i])(padded, index)
        return jax.vmap(lambda row, i, v: row.at[i].add(v))(rough, at, correction(layers, bases))

    scores = jax.lax.map(one, (jnp.moveaxis(screened, 2, 0), params.screen.b, begin, params.layers))
    return jnp.moveaxis(scores, 0, 2)
