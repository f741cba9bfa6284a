"""Long short-term memory on `jax.lax.scan`.

The cell is the textbook one (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000):

    f, i, o = sigma(W [x, h] + b)      C~ = tanh(W [x, h] + b)
    C = f * C + i * C~                 h = o * tanh(C)

The four gates are one fused matrix in the order i, f, o, C~. sigma(z) is computed as (1 + tanh(z / 2)) / 2, which is
the same function and faster on CPU. The input projection stays inside the step: computed outside, its [time, batch,
4 * hidden] buffer leaves the cache and memory traffic becomes the limit.

Gradients need the gates again; they are kept, and the weights' gradient is one product over all steps instead of a sum
that every step reads and writes.

Where a step is masked both h and C are zero, so padding before the first real step leaves the initial state untouched.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray


class LSTMParams(NamedTuple):
    """Weights of one LSTM direction: `wx` [inputs, 4 * hidden], `wh` [hidden, 4 * hidden], `b` [4 * hidden]."""

    wx: Array
    wh: Array
    b: Array


def on_host(weights: NDArray) -> Array:
    """Initial weights as float32: NumPy arrays, for which nothing is compiled."""
    return cast("Array", weights.astype(np.float32))


def init_lstm(rng: np.random.Generator, inputs: int, hidden: int) -> LSTMParams:
    """Random weights: Glorot-uniform input, orthogonal recurrent blocks, forget bias 1."""
    limit = (6.0 / (inputs + hidden)) ** 0.5
    wx = rng.uniform(-limit, limit, (inputs, 4 * hidden))
    blocks = [np.linalg.qr(rng.normal(size=(hidden, hidden)))[0] for _ in range(4)]
    bias = np.repeat([0.0, 1.0, 0.0, 0.0], hidden)
    return LSTMParams(on_host(wx), on_host(np.concatenate(blocks, axis=1)), on_host(bias))


def lstm_step(params: LSTMParams, h: Array, c: Array, x: Array) -> tuple[Array, Array]:
    """One step: h, c [batch, hidden] and x [batch, inputs] -> next h, c."""
    return _state(_gates(params, h, x), c, jnp.float32(1))


def lstm(params: LSTMParams, x: Array, mask: Array, *, reverse: bool = False) -> Array:
    """Runs an LSTM over time-major input.

    Args:
        params: the weights.
        x: [time, batch, inputs] float.
        mask: [time, batch] float, 1 at real steps and 0 at padding.
        reverse: read from the last step to the first; outputs stay in place.

    Returns:
        [time, batch, hidden] hidden states, 0 at padding. Differentiable in params and x, once.
    """
    return _lstm(reverse, params, x, mask)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lstm(reverse: bool, params: LSTMParams, x: Array, mask: Array) -> Array:
    return _run(reverse, params, x, mask, keep=False)[0]


def _run(reverse: bool, params: LSTMParams, x: Array, mask: Array, *, keep: bool) -> tuple[Array, ...]:
    """Hidden states; with `keep` also the cells and the gates."""
    zeros = jnp.zeros((x.shape[1], params.wh.shape[0]), x.dtype)

    def step(carry: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        h, c = carry
        x_t, m = inputs
        gates = _gates(params, h, x_t)
        h, c = _state(gates, c, m[:, None])
        return (h, c), (h, c, jnp.concatenate(gates, axis=-1)) if keep else (h,)

    return jax.lax.scan(step, (zeros, zeros), (x, mask), reverse=reverse)[1]


def _gates(params: LSTMParams, h: Array, x: Array) -> tuple[Array, Array, Array, Array]:
    """i, f, o and C~: [batch, hidden] each. Side by side as one array, a step would have to write and read them."""
    *gates, candidate = jnp.split(x @ params.wx + h @ params.wh + params.b, 4, axis=-1)
    i, f, o = (0.5 * jnp.tanh(0.5 * z) + 0.5 for z in gates)
    return i, f, o, jnp.tanh(candidate)


def _state(gates: Sequence[Array], c: Array, mask: Array) -> tuple[Array, Array]:
    """The next h and c, zero where masked."""
    i, f, o, candidate = gates
    c = (f * c + i * candidate) * mask
    return o * jnp.tanh(c) * mask, c


def _lstm_fwd(
    reverse: bool, params: LSTMParams, x: Array, mask: Array
) -> tuple[Array, tuple[LSTMParams, Array, Array, tuple[Array, ...]]]:
    kept = _run(reverse, params, x, mask, keep=True)
    return kept[0], (params, x, mask, kept)


def _lstm_bwd(
    reverse: bool, residuals: tuple[LSTMParams, Array, Array, tuple[Array, ...]], out: Array
) -> tuple[LSTMParams, Array, Array]:
    """Back through time for the gates alone; weights and inputs get theirs in one product over all steps."""
    params, x, mask, (h, c, gates) = residuals

    def before(states: Array) -> Array:
        """The states that each step began with."""
        edge = jnp.zeros_like(states[:1])
        return jnp.concatenate([states[1:], edge] if reverse else [edge, states[:-1]])

    def step(carry: tuple[Array, Array], inputs: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        dh, dc = carry
        out_t, gates_t, c_before, m = inputs
        i, f, o, candidate = jnp.split(gates_t, 4, axis=-1)
        tanh_c = jnp.tanh(f * c_before + i * candidate)
        dh = (dh + out_t) * m[:, None]
        dc = dc * m[:, None] + dh * o * (1 - tanh_c * tanh_c)
        dz = jnp.concatenate(
            [
                dc * candidate * i * (1 - i),
                dc * c_before * f * (1 - f),
                dh * tanh_c * o * (1 - o),
                dc * i * (1 - candidate * candidate),
            ],
            axis=-1,
        )
        return (dz @ params.wh.T, dc * f), dz

    zeros = jnp.zeros_like(h[0])
    _, dz = jax.lax.scan(step, (zeros, zeros), (out, gates, before(c), mask), reverse=not reverse)
    weights = LSTMParams(jnp.einsum("tbi,tbg->ig", x, dz), jnp.einsum("tbh,tbg->hg", before(h), dz), dz.sum((0, 1)))
    return weights, dz @ params.wx.T, jnp.zeros_like(mask)


_lstm.defvjp(_lstm_fwd, _lstm_bwd)


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
