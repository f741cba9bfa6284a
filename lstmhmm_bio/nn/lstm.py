"""Long short-term memory on `jax.lax.scan`.

The cell is the textbook one (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000):

    f, i, o = sigma(W [x, h] + b)      C~ = tanh(W [x, h] + b)
    C = f * C + i * C~                 h = o * tanh(C)

The four gates are one fused matrix in the order i, f, o, C~. sigma(z) is computed as (1 + tanh(z / 2)) / 2, which is
the same function and faster on CPU. The input projection stays inside the step: computed outside, its [time, batch,
4 * hidden] buffer leaves the cache and memory traffic becomes the limit.

Where a step is masked both h and C are zero, so padding before the first real step leaves the initial state untouched.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class LSTMParams(NamedTuple):
    """Weights of one LSTM direction: `wx` [inputs, 4 * hidden], `wh` [hidden, 4 * hidden], `b` [4 * hidden]."""

    wx: Array
    wh: Array
    b: Array


def init_lstm(key: Array, inputs: int, hidden: int) -> LSTMParams:
    """Random weights: Glorot-uniform input, orthogonal recurrent blocks, forget bias 1."""
    kx, kh = jax.random.split(key)
    limit = (6.0 / (inputs + hidden)) ** 0.5
    wx = jax.random.uniform(kx, (inputs, 4 * hidden), minval=-limit, maxval=limit)
    blocks = [jax.random.orthogonal(k, hidden) for k in jax.random.split(kh, 4)]
    bias = jnp.zeros(4 * hidden).at[hidden : 2 * hidden].set(1.0)
    return LSTMParams(wx, jnp.concatenate(blocks, axis=1), bias)


def lstm_step(params: LSTMParams, h: Array, c: Array, x: Array) -> tuple[Array, Array]:
    """One step: h, c [batch, hidden] and x [batch, inputs] -> next h, c."""
    hidden = h.shape[-1]
    z = x @ params.wx + h @ params.wh + params.b
    gates = 0.5 * jnp.tanh(0.5 * z[:, : 3 * hidden]) + 0.5
    candidate = jnp.tanh(z[:, 3 * hidden :])
    i, f, o = gates[:, :hidden], gates[:, hidden : 2 * hidden], gates[:, 2 * hidden :]
    c = f * c + i * candidate
    return o * jnp.tanh(c), c


def lstm(params: LSTMParams, x: Array, mask: Array, *, reverse: bool = False) -> Array:
    """Runs an LSTM over time-major input.

    Args:
        params: the weights.
        x: [time, batch, inputs] float.
        mask: [time, batch] float, 1 at real steps and 0 at padding.
        reverse: read from the last step to the first; outputs stay in place.

    Returns:
        [time, batch, hidden] hidden states, 0 at padding.
    """
    hidden = params.wh.shape[0]
    zeros = jnp.zeros((x.shape[1], hidden), x.dtype)

    def step(carry: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        x_t, m = inputs
        h, c = lstm_step(params, *carry, x_t)
        h, c = h * m[:, None], c * m[:, None]
        return (h, c), h

    # for gradients a step is computed again from h and C: cheaper than moving its gates through memory
    _, hs = jax.lax.scan(jax.checkpoint(step), (zeros, zeros), (x, mask), reverse=reverse)
    return hs


def bilstm(forward: LSTMParams, backward: LSTMParams, x: Array, mask: Array) -> Array:
    """Both directions side by side: [time, batch, inputs] -> [time, batch, 2 * hidden]."""
    return jnp.concatenate([lstm(forward, x, mask), lstm(backward, x, mask, reverse=True)], axis=-1)


def strand_lstm(params: LSTMParams, x: Array, mask: Array) -> Array:
    """A bidirectional layer tied by reverse-complement symmetry.

    The batch holds every sequence twice: rows [0, n) read along the given strand, rows [n, 2n) along its reverse
    complement. One set of weights reads both 5' to 3'; each row then gets its own states beside those of the other
    strand turned into its own orientation. The layer is equivariant: exchanging the strands exchanges the outputs.

    Args:
        params: the weights of the one direction.
        x: [time, 2 n, inputs].
        mask: [time, 2 n].

    Returns:
        [time, 2 n, 2 * hidden]: own states, then the opposite strand's.
    """
    h = lstm(params, x, mask)
    return jnp.concatenate([h, opposite(h)], axis=-1)


def opposite(x: Array) -> Array:
    """Values of the other strand in the orientation of this one: [time, 2 n, ...] reversed in time, halves swapped."""
    return jnp.roll(x[::-1], x.shape[1] // 2, axis=1)
