"""Site models: scores of candidate sites, such as start codons and splice sites, from their surroundings.

A per-base class does not learn sites: whether an ATG is *the* start of a gene depends on what lies dozens of bases away
and on its competitors. Each kind of site has a small perceptron of its own. Nearly all candidates are plainly wrong,
so a linear screen of the LSTM's features scores every base, and the perceptron corrects it at the best candidates only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..calibration import PWM_FIRST, PWM_WIDTH, UPSTREAM_FIRST, UPSTREAM_LAST, Tables

#: boundaries, relative to the site, of the bins in which a model sees the class scores around it
BINS = (-96, -48, -24, -12, -3, 0, 3, 12, 24, 48, 96)

#: LSTM features, narrowed, that a model sees
NARROW = 32


@dataclass(frozen=True)
class Site:
    """A kind of site.

    Attributes:
        first, last: bases that its model sees, relative to the site.
        calibrated: it sees the genome's own start context (`Tables.upstream`, `Tables.context`).
        per_intron: there is one per intron: `Tables.intron_rate` is its prior odds.
    """

    first: int
    last: int
    calibrated: bool = False
    per_intron: bool = False

    @property
    def width(self) -> int:
        return self.last - self.first + 1


#: position of a site: first base of the start codon, last base of the stop codon, first and last base of the intron
SITES = {
    "start": Site(-48, 14, calibrated=True),
    "stop": Site(-14, 15),
    "donor": Site(-14, 25, per_intron=True),
    "acceptor": Site(-55, 14),
}


class Dense(NamedTuple):
    """Weights [inputs, outputs] and bias [outputs]."""

    w: Array
    b: Array


class SiteParams(NamedTuple):
    """Weights of a site model.

    Attributes:
        screen: [2 * hidden, stride], a score of each base from the LSTM's features.
        narrow: [2 * hidden, NARROW], what the perceptron sees of the features; fewer are cheaper to look up.
        layers: of the perceptron.
    """

    screen: Dense
    narrow: Dense
    layers: tuple[Dense, Dense, Dense]


def init_dense(key: Array, inputs: int, outputs: int, scale: float = 1.0) -> Dense:
    """Random initial weights, zero bias."""
    return Dense(scale * jax.random.normal(key, (inputs, outputs)) / inputs**0.5, jnp.zeros(outputs))


def init_site(key: Array, site: Site, classes: int, hidden: int, stride: int, width: int) -> SiteParams:
    """Random initial weights of a site model.

    Args:
        key: random key.
        site: what it looks at.
        classes: classes of the network.
        hidden: LSTM units per direction.
        stride: bases per LSTM step.
        width: of its first layer.
    """
    calibrated = PWM_WIDTH + (UPSTREAM_LAST - UPSTREAM_FIRST + 1) if site.calibrated else 0
    inputs = 4 * site.width + calibrated + classes * (len(BINS) - 1) + 3 + NARROW
    keys = jax.random.split(key, 5)
    layers = (
        init_dense(keys[0], inputs, width),
        init_dense(keys[1], width, 32),
        init_dense(keys[2], 32, 1, scale=0.1),
    )
    screen = init_dense(keys[3], 2 * hidden, stride, scale=0.1)
    return SiteParams(screen, init_dense(keys[4], 2 * hidden, NARROW), layers)


def kmers(codes: Array, k: int) -> Array:
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


def read_in(time: int, per_256: int) -> int:
    """Candidates whose surroundings are looked at in `time` bases of a strand; the others keep their screen."""
    return min(time, max(32, time * per_256 // 256))


def site_scores(
    params: SiteParams,
    site: Site,
    candidates: int,
    codes: Array,
    tables: Tables,
    read: tuple[Array, Array],
    classes: Array,
    here: Array,
) -> Array:
    """Score of each candidate: the screen, and at the best of them the perceptron's correction.

    Args:
        params: weights of the site's model.
        site: what it looks at.
        candidates: whose surroundings are looked at, per 256 bases.
        codes: [rows, time] uint8, both strands.
        tables: with a leading axis of rows.
        read: the screen [time / stride, rows, stride] and the narrowed features [time / stride, rows, NARROW].
        classes: [rows, time, classes] scaled class scores.
        here: bool [rows, time], the candidates.

    Returns:
        [rows, time] log-odds-like scores, 0 where no candidate is.
    """
    rows, time = codes.shape
    screen, narrow = read
    rough = screen.swapaxes(0, 1).reshape(rows, time)
    if site.per_intron:
        rough += tables.intron_rate[:, None]
    rough = jnp.where(here, rough, 0.0)
    ranked = jnp.where(here, jax.lax.stop_gradient(rough), -jnp.inf)
    best, at = jax.lax.top_k(ranked, read_in(time, candidates))
    fine = jnp.where(jnp.isfinite(best), corrections(params, site, codes, tables, narrow, classes, at), 0.0)
    return jax.vmap(lambda row, i, v: row.at[i].add(v))(rough, at, fine)


def corrections(
    params: SiteParams, site: Site, codes: Array, tables: Tables, narrow: Array, classes: Array, at: Array
) -> Array:
    """What the perceptron makes of the surroundings of positions `at` [rows, k]: [rows, k]; see `site_scores`."""
    stride = codes.shape[1] // len(narrow)

    def window(values: Array, first: int, last: int, fill: float) -> Array:
        """What lies around the candidates, of values [rows, time]: [rows, k, last - first + 1]."""
        padded = jnp.pad(values, ((0, 0), (-first, max(last, 0))), constant_values=fill)
        index = at[:, :, None] + jnp.arange(last - first + 1)
        return jax.vmap(lambda v, i: v[i])(padded, index)

    bases = window(codes, site.first, site.last, 4)
    parts = [jax.nn.one_hot(bases, 4).reshape(*at.shape, -1)]
    if site.calibrated:
        offset = PWM_FIRST - site.first
        near = bases[:, :, offset : offset + PWM_WIDTH].astype(jnp.int32)
        pentamers = jnp.take_along_axis(tables.upstream, kmers(codes, 5), axis=1)
        parts += [
            jax.vmap(lambda table, b: table[jnp.arange(PWM_WIDTH), b])(tables.context, near),
            window(pentamers, UPSTREAM_FIRST, UPSTREAM_LAST, 0.0),
        ]
    parts += [
        _class_bins(classes, codes < 4, at),
        jnp.broadcast_to(tables.summary[:, None], (*at.shape, 3)),
        jax.vmap(lambda f, i: f[i])(narrow.swapaxes(0, 1), at // stride),
    ]
    first, second, last = params.layers
    y = jax.nn.relu(jnp.concatenate(parts, -1) @ first.w + first.b)
    y = jax.nn.relu(y @ second.w + second.b)
    return (y @ last.w + last.b)[..., 0]


def _class_bins(classes: Array, known: Array, at: Array) -> Array:
    """Mean class score of the known bases in bins around candidates: that of the codon positions in the candidate's
    frame and in the two others, then those of the other classes; [rows, k, classes * bins].
    """
    time = classes.shape[1]
    # frame f: a base t is its codon position (t - f) mod 3
    phase = jnp.arange(time) % 3
    one, two, three = (classes[..., k] for k in range(3))
    frames = [jnp.where(phase == f, one, jnp.where(phase == (f + 1) % 3, two, three)) for f in range(3)]
    columns = jnp.concatenate([jnp.stack(frames, -1), classes[..., 3:], known[..., None].astype(jnp.float32)], -1)
    total = jnp.pad(jnp.cumsum(columns, axis=1), ((0, 0), (1, 0), (0, 0)))
    edges = jnp.clip(at[:, :, None] + jnp.array(BINS), 0, time)
    sums = jnp.diff(jax.vmap(lambda t, i: t[i])(total, edges), axis=2)  # [rows, k, bins, classes + 1]
    means = sums[..., :-1] / jnp.maximum(sums[..., -1:], 1)
    order = (at[:, :, None] + jnp.arange(3)) % 3  # own frame first
    own_first = jnp.take_along_axis(means[..., :3], order[:, :, None, :], axis=3)
    return jnp.concatenate([own_first, means[..., 3:]], -1).reshape(*at.shape, -1)
