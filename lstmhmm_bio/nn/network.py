"""The network: sequence windows in, scores of codon positions and start codons out.

Every window is read on both strands at once by the same weights (`lstm.strand_lstm`), so the outputs of the two
strands are those of one function and no strand is preferred. Several bases go into one LSTM step and come out again
as per-base scores. All arrays that mention strands have a leading axis of 2 n rows: n windows as given, then their
reverse complements, each in its own 5' to 3' orientation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..calibration import PWM_FIRST, PWM_WIDTH, UPSTREAM_FIRST, UPSTREAM_LAST, Tables
from ..sequence import GeneticCode
from .lstm import LSTMParams, init_lstm, strand_lstm

#: per base and strand: 4 bases, then (start codon, stop codon, hexamer log-odds) of the own and of the other strand
CHANNELS = 10
#: upstream and downstream bases that the start model sees
START_FIRST, START_LAST = -48, 14
#: boundaries, relative to the start codon, of the bins in which it sees the codon scores of the three frames
START_BINS = (-96, -48, -24, -12, -3, 0, 3, 12, 24, 48, 96)


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        stride: bases per LSTM step, a multiple of 3.
        stem: width of the convolution (3 steps wide) before the LSTM.
        hidden: LSTM units per direction.
        layers: LSTM layers.
        head: hidden units of the codon head.
        start_head: hidden units of the start model.
    """

    stride: int = 6
    stem: int = 64
    hidden: int = 96
    layers: int = 1
    head: int = 64
    start_head: int = 96


class Dense(NamedTuple):
    """Weights [inputs, outputs] and bias [outputs]."""

    w: Array
    b: Array


class NetworkParams(NamedTuple):
    """All weights of the network."""

    stem: Dense
    lstm: tuple[LSTMParams, ...]
    head: tuple[Dense, Dense]
    start: tuple[Dense, Dense, Dense]


class CodeMasks(NamedTuple):
    """A genetic code for the network: [65] bool each, entry 64 (unknown codon) False."""

    is_start: Array
    is_stop: Array

    @staticmethod
    def of(code: GeneticCode) -> CodeMasks:
        """The masks of a genetic code, as host arrays."""
        return CodeMasks._make(np.concatenate([mask, [False]]) for mask in (code.is_start, code.is_stop))


class Signals(NamedTuple):
    """What the sequence itself says, both strands: [2 n, time] each (see `signals`)."""

    codes: Array
    starts_here: Array
    stop_begins: Array
    hexamers: Array

    @property
    def stop_ends_here(self) -> Array:
        """Bool [2 n, time], the last base of a stop codon."""
        return jnp.pad(self.stop_begins, ((0, 0), (2, 0)))[:, : self.stop_begins.shape[1]]


def start_inputs(config: NetworkConfig) -> int:
    """Width of the start model's input."""
    bases = 4 * (START_LAST - START_FIRST + 1)
    return bases + PWM_WIDTH + (UPSTREAM_LAST - UPSTREAM_FIRST + 1) + 3 * (len(START_BINS) - 1) + 3 + 2 * config.hidden


def init_network(key: Array, config: NetworkConfig) -> NetworkParams:
    """Random initial weights."""
    keys = iter(jax.random.split(key, 16))

    def dense(inputs: int, outputs: int, scale: float = 1.0) -> Dense:
        w = scale * jax.random.normal(next(keys), (inputs, outputs)) / inputs**0.5
        return Dense(w, jnp.zeros(outputs))

    sizes = [config.stem] + [2 * config.hidden] * (config.layers - 1)
    return NetworkParams(
        stem=dense(3 * config.stride * CHANNELS + 3, config.stem),
        lstm=tuple(init_lstm(next(keys), size, config.hidden) for size in sizes),
        head=(dense(2 * config.hidden, config.head), dense(config.head, 3 * config.stride)),
        start=(
            dense(start_inputs(config), config.start_head),
            dense(config.start_head, 32),
            dense(32, 1, scale=0.1),
        ),
    )


def both_strands(codes: Array) -> Array:
    """[n, time] codes -> [2 n, time] with the reverse complements below."""
    flipped = codes[:, ::-1]
    return jnp.concatenate([codes, jnp.where(flipped < 4, 3 - flipped, flipped)])


def _kmers(codes: Array, k: int) -> Array:
    """[rows, time] index of the k-mer that begins at each base, 4**k where it is unknown or cut off."""
    n = codes.shape[1]
    padded = jnp.pad(codes.astype(jnp.int32), ((0, 0), (0, k - 1)), constant_values=4)
    index = jnp.zeros(codes.shape, jnp.int32)
    unknown = jnp.zeros(codes.shape, bool)
    for j in range(k):
        part = padded[:, j : j + n]
        index = index * 4 + part
        unknown |= part > 3
    return jnp.where(unknown, 4**k, index)


def _per_row(tables: Tables) -> Tables:
    """Tables of n windows repeated for their reverse complements."""
    return jax.tree.map(lambda x: jnp.concatenate([x, x]), tables)


def signals(codes: Array, tables: Tables, code: CodeMasks) -> Signals:
    """Codons and hexamer scores of both strands.

    Args:
        codes: [n, time] uint8 codes, 4 for unknown bases and padding.
        tables: with a leading axis of n.
        code: the genetic code.
    """
    rows = both_strands(codes)
    codons = _kmers(rows, 3)
    hexamers = jnp.concatenate([tables.hexamers, tables.hexamers])
    return Signals(
        rows,
        code.is_start[codons],
        code.is_stop[codons],
        jnp.take_along_axis(hexamers, _kmers(rows, 6), axis=1),
    )


def encode(params: NetworkParams, config: NetworkConfig, s: Signals, summary: Array) -> Array:
    """LSTM features of both strands.

    Args:
        params: network weights.
        config: sizes.
        s: from `signals`; time must be a multiple of the stride.
        summary: [n, 3] of `Tables`.

    Returns:
        [time / stride, 2 n, 2 * hidden].
    """
    rows, time = s.codes.shape
    own = jnp.stack([s.starts_here.astype(jnp.float32), s.stop_begins.astype(jnp.float32), s.hexamers], -1)
    other = jnp.roll(own[:, ::-1], rows // 2, axis=0)
    base = jax.nn.one_hot(s.codes, 4)
    x = jnp.concatenate([base, own, other], -1).reshape(rows, time // config.stride, -1).swapaxes(0, 1)
    mask = (s.codes < 4).reshape(rows, -1, config.stride).any(-1).astype(jnp.float32).T
    x = jnp.pad(x, ((1, 1), (0, 0), (0, 0)))
    constant = jnp.broadcast_to(jnp.concatenate([summary, summary]), (x.shape[0] - 2, rows, 3))
    x = jnp.concatenate([x[:-2], x[1:-1], x[2:], constant], -1)
    h = jnp.tanh(x @ params.stem.w + params.stem.b)
    for layer in params.lstm:
        h = strand_lstm(layer, h, mask)
    return h


def codon_logits(params: NetworkParams, config: NetworkConfig, features: Array) -> Array:
    """Logit of "this base is codon position 1, 2, 3" of both strands: [2 n, time, 3]."""
    hidden, out = params.head
    y = jax.nn.relu(features @ hidden.w + hidden.b) @ out.w + out.b
    return y.swapaxes(0, 1).reshape(y.shape[1], -1, 3)


def start_scores(
    params: NetworkParams,
    config: NetworkConfig,
    s: Signals,
    tables: Tables,
    features: Array,
    coding: Array,
    candidates: Array,
) -> Array:
    """Score of each candidate start codon: a two-layer perceptron on its surroundings.

    Args:
        params: network weights.
        config: sizes.
        s: from `signals`.
        tables: with a leading axis of n.
        features: from `encode`.
        coding: [2 n, time, 3] scaled codon scores.
        candidates: [2 n, k] positions of first bases; any value at or beyond time is padding.

    Returns:
        [2 n, k] log-odds-like scores (padding: arbitrary).
    """
    time = s.codes.shape[1]
    tables = _per_row(tables)
    at = jnp.minimum(candidates, time - 1)

    def window(values: Array, first: int, last: int, fill: float) -> Array:
        """What lies around the candidates, of values [rows, time]: [rows, k, last - first + 1]."""
        padded = jnp.pad(values, ((0, 0), (-first, max(last, 0))), constant_values=fill)
        index = at[:, :, None] + jnp.arange(last - first + 1)
        return jax.vmap(lambda v, i: v[i])(padded, index)

    bases = window(s.codes, START_FIRST, START_LAST, 4)
    offset = PWM_FIRST - START_FIRST
    near = bases[:, :, offset : offset + PWM_WIDTH].astype(jnp.int32)
    context = jax.vmap(lambda table, b: table[jnp.arange(PWM_WIDTH), b])(tables.context, near)
    pentamers = jnp.take_along_axis(tables.upstream, _kmers(s.codes, 5), axis=1)
    upstream = window(pentamers, UPSTREAM_FIRST, UPSTREAM_LAST, 0.0)
    lstm = jax.vmap(lambda f, i: f[i])(features.swapaxes(0, 1), at // config.stride)
    summary = jnp.broadcast_to(tables.summary[:, None], (*at.shape, 3))
    x = jnp.concatenate(
        [
            jax.nn.one_hot(bases, 4).reshape(*at.shape, -1),
            context,
            upstream,
            _frame_bins(coding, s.codes < 4, at),
            summary,
            lstm,
        ],
        -1,
    )
    first, second, last = params.start
    y = jax.nn.relu(x @ first.w + first.b)
    y = jax.nn.relu(y @ second.w + second.b)
    return (y @ last.w + last.b)[..., 0]


def _frame_bins(coding: Array, known: Array, at: Array) -> Array:
    """Mean codon score of the known bases in bins around candidates, in the candidate's frame and the two others:
    [rows, k, 3 * bins].
    """
    time = coding.shape[1]
    position = jnp.arange(time)
    # frame f: a base t is its codon position (t - f) mod 3
    frames = [coding[:, position, (position - f) % 3] for f in range(3)]
    columns = jnp.stack([*frames, known.astype(jnp.float32)], -1)
    total = jnp.pad(jnp.cumsum(columns, axis=1), ((0, 0), (1, 0), (0, 0)))
    edges = jnp.clip(at[:, :, None] + jnp.array(START_BINS), 0, time)
    sums = jnp.diff(jax.vmap(lambda t, i: t[i])(total, edges), axis=2)  # [rows, k, bins, 4]
    means = sums[..., :3] / jnp.maximum(sums[..., 3:], 1)
    order = (at[:, :, None] + jnp.arange(3)) % 3  # own frame first
    own_first = jnp.take_along_axis(means, order[:, :, None, :], axis=3)
    return own_first.reshape(*at.shape, -1)
