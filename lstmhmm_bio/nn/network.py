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

from ..calibration import Tables
from ..sequence import GeneticCode, codons, shifted
from .lstm import LSTMParams, init_lstm, opposite, strand_lstm
from .reading_frames import Frames, open_frames
from .sites import SITES, Dense, SiteParams, init_dense, init_site

#: per base and strand: 4 bases, then (start codon, stop codon, hexamer log-odds) of the own and of the other strand
CHANNELS = 10


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        stride: bases per LSTM step, a multiple of 3.
        reach: bases that the convolution before the LSTM sees beyond both ends of a step, at most a step's.
        stem: width of that convolution.
        hidden: LSTM units per direction.
        layers: LSTM layers.
        head: hidden units of the class head.
        site_head: hidden units of each site model.
        motifs: motifs that each site model looks for.
        candidates: candidates whose surroundings a site model looks at, per 256 bases of a strand.
        classes: classes that a base may belong to, per strand; the first three are the codon positions.
        sites: names of the site models, of `sites.SITES`.
        borders: labels whose regions' beginnings and ends have models, see `borders`.
    """

    stride: int = 6
    reach: int = 6
    stem: int = 64
    hidden: int = 96
    layers: int = 1
    head: int = 64
    site_head: int = 32
    motifs: int = 24
    candidates: int = 8
    classes: int = 3
    sites: tuple[str, ...] = ("start", "stop")
    borders: int = 0

    @property
    def seen(self) -> int:
        """Bases that a step's convolution sees."""
        return self.stride + 2 * min(self.reach, self.stride)

    @property
    def site_columns(self) -> int:
        """Scores of sites and borders that each base has."""
        return len(self.sites) + 2 * self.borders


class NetworkParams(NamedTuple):
    """All weights of the network."""

    stem: Dense
    lstm: tuple[LSTMParams, ...]
    head: tuple[Dense, Dense]
    sites: dict[str, SiteParams]


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
    frames: Frames

    @property
    def stop_ends_here(self) -> Array:
        """Bool [2 n, time], the last base of a stop codon."""
        ends: Array = shifted(self.stop_begins, -2, fill=False)
        return ends


def init_network(rng: np.random.Generator, config: NetworkConfig) -> NetworkParams:
    """Random initial weights."""
    sizes = [config.stem] + [2 * config.hidden] * (config.layers - 1)
    return NetworkParams(
        stem=init_dense(rng, config.seen * CHANNELS + 3, config.stem),
        lstm=tuple(init_lstm(rng, size, config.hidden) for size in sizes),
        head=(
            init_dense(rng, 2 * config.hidden, config.head),
            init_dense(rng, config.head, config.classes * config.stride),
        ),
        sites={
            name: init_site(
                rng,
                SITES[name],
                config.classes,
                config.hidden,
                config.stride,
                config.site_head,
                config.motifs,
            )
            for name in config.sites
        },
    )


def both_strands(codes: Array) -> Array:
    """[n, time] codes -> [2 n, time] with the reverse complements below."""
    flipped = codes[:, ::-1]
    return jnp.concatenate([codes, jnp.where(flipped < 4, 3 - flipped, flipped)])


def signals(codes: Array, tables: Tables, code: CodeMasks) -> Signals:
    """Codons and hexamer scores of both strands.

    Args:
        codes: [n, time] uint8 codes, 4 for unknown bases and padding; time is a multiple of 3.
        tables: with a leading axis of n.
        code: the genetic code.
    """
    rows = both_strands(codes)
    codon = codons(rows, shifted(rows, 1), shifted(rows, 2))
    starts, stops, unknown = code.is_start[codon], code.is_stop[codon], codon == 4**3
    two = 4**3 * codon.astype(jnp.int32) + shifted(codon, 3)
    hexamer = jnp.where(unknown | shifted(unknown, 3, fill=True), 4**6, two)
    hexamers = jnp.concatenate([tables.hexamers, tables.hexamers])
    scores = jnp.take_along_axis(hexamers, hexamer, axis=1)
    return Signals(rows, starts, stops, scores, open_frames(starts, stops, unknown))


class Dropout(NamedTuple):
    """Noise for training: the random key and the share of each layer's outputs that is left out."""

    key: Array
    rate: float

    def __call__(self, x: Array, layer: int) -> Array:
        kept = jax.random.bernoulli(jax.random.fold_in(self.key, layer), 1 - self.rate, x.shape)
        return jnp.where(kept, x / (1 - self.rate), 0.0)


def encode(
    params: NetworkParams, config: NetworkConfig, s: Signals, summary: Array, dropout: Dropout | None = None
) -> Array:
    """LSTM features of both strands.

    Args:
        params: network weights.
        config: sizes.
        s: from `signals`; time must be a multiple of the stride.
        summary: [n, 3] of `Tables`.
        dropout: of each layer's outputs (Srivastava et al. 2014).

    Returns:
        [time / stride, 2 n, 2 * hidden].
    """
    rows = len(s.codes)

    def by_step(x: Array) -> Array:
        """[2 n, time] to [steps, 2 n, stride]."""
        return x.reshape(rows, -1, config.stride).swapaxes(0, 1)

    codes = by_step(s.codes)
    own = [by_step(x).astype(jnp.float32) for x in (s.starts_here, s.stop_begins, s.hexamers)]
    other = [opposite(x)[..., ::-1] for x in own]
    # a step's bases lie side by side: [steps, 2 n, channels, bases]
    x = jnp.stack([*((codes == base).astype(jnp.float32) for base in range(4)), *own, *other], -2)
    x = x.reshape(*codes.shape[:2], -1)
    of_all = jnp.concatenate([summary, summary]) @ params.stem.w[-3:] + params.stem.b
    h = jnp.tanh(_convolution(params.stem.w[:-3], config, x) + of_all)
    mask = (codes < 4).any(-1).astype(jnp.float32)
    for i, layer in enumerate(params.lstm):
        h = strand_lstm(layer, h, mask)
        if dropout:
            h = dropout(h, i)
    return h


def _convolution(weights: Array, config: NetworkConfig, x: Array) -> Array:
    """Products of each step and the bases beside it with weights [seen * CHANNELS, stem].

    Args:
        weights: base by base.
        config: sizes.
        x: [steps, 2 n, CHANNELS * stride], channel by channel.
    """
    by_base = weights.reshape(config.seen, CHANNELS, -1)
    beside = (config.seen - config.stride) // 2
    before, own, after = jnp.split(by_base, [beside, beside + config.stride])
    blocks = [own]
    if beside:  # what a step adds to the next and to the one before
        rest, none = config.stride - beside, (0, 0)
        blocks += [jnp.pad(before, ((rest, 0), none, none)), jnp.pad(after, ((0, rest), none, none))]
    columns = jnp.concatenate(blocks, -1).swapaxes(0, 1).reshape(config.stride * CHANNELS, -1)
    of_own, *of_beside = jnp.split(x @ columns, len(blocks), -1)
    if of_beside:
        to_next, to_last = of_beside
        of_own = of_own.at[1:].add(to_next[:-1]).at[:-1].add(to_last[1:])
    return of_own


class ReadOut(NamedTuple):
    """First layers of all heads over the LSTM's features, [time / stride, 2 n, outputs] each.

    Attributes:
        head: of the class head.
        sites: of each site model, its screen.
    """

    head: Array
    sites: dict[str, Array]


def read_out(params: NetworkParams, features: Array) -> ReadOut:
    """What the heads read of `features` [time / stride, 2 n, 2 * hidden], as one product: narrow ones are slow."""
    layers = [params.head[0], *(site.screen for site in params.sites.values())]
    weights = jnp.concatenate([layer.w for layer in layers], axis=1)
    product = features @ weights + jnp.concatenate([layer.b for layer in layers])
    head, *rest = jnp.split(product, np.cumsum([len(layer.b) for layer in layers])[:-1], axis=-1)
    return ReadOut(head, dict(zip(params.sites, rest, strict=True)))


def class_logits(params: NetworkParams, config: NetworkConfig, head: Array) -> Array:
    """Logit of "this base belongs to the class", for every class, of both strands: [2 n, time, classes].

    Args:
        params: network weights.
        config: sizes.
        head: of `ReadOut`.
    """
    out = params.head[1]
    y = jax.nn.relu(head) @ out.w + out.b
    return y.swapaxes(0, 1).reshape(y.shape[1], -1, config.classes)
