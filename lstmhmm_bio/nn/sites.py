"""Site models: scores of candidate sites, such as start codons and splice sites, from their surroundings.

A per-base class does not learn sites: whether an ATG is *the* start of a gene depends on what lies dozens of bases away
and on its competitors. Each kind of site has a small perceptron of its own. Nearly all candidates are plainly wrong,
so a linear screen of the LSTM's features scores every base, and the perceptron corrects it at the best candidates only.

A perceptron of the bases themselves would learn the sites of a small training set by heart. What holds at fixed places,
a splice site's own bases, is a position weight matrix beside it, and of what may stand a little nearer or farther, such
as a branch point, it sees how well each of some motifs fits best within each of some bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..calibration import PWM_FIRST, PWM_WIDTH, UPSTREAM_FIRST, UPSTREAM_LAST, Tables
from .bases import bases_around, kmers, of_bases
from .lstm import on_host
from .reading_frames import UNROLL, Frames, tents

#: boundaries, relative to the site, of the bins in which a model sees the class scores around it
BINS = (-96, -48, -24, -12, -3, 0, 3, 12, 24, 48, 96)

#: LSTM features, narrowed, that a model sees
NARROW = 32

#: candidates that a model looks at however short a window is
FEWEST = 8

#: bases of a motif
MOTIF = 6

#: codons of an open reading frame at which a model's view of its length bends
LENGTHS = (10, 20, 30, 40, 55, 75, 100, 150, 240)

#: the same of what a frame's first start codon makes of it
FROM_FIRST = (0, 3, 8, 20, 50, 120, 240)

#: a class score of as many nat, and more, is 1 to a model
SURE = 8.0


@dataclass(frozen=True)
class Site:
    """A kind of site.

    Attributes:
        first, last: bases of the position weight matrix, relative to the site.
        motifs_from: where a motif may begin, relative to the site,
        bins: and the widths of the bins from there on, see `best_motifs`.
        calibrated: it sees the genome's own start context (`Tables.upstream`, `Tables.context`).
        per_intron: there is one per intron: `Tables.intron_rate` is its prior odds.
        frame: the open reading frame that it sees: "behind" a start codon, "before" a stop codon.
    """

    first: int
    last: int
    motifs_from: int
    bins: tuple[int, ...]
    calibrated: bool = False
    per_intron: bool = False
    frame: Literal["before", "behind"] | None = None

    @property
    def width(self) -> int:
        return self.last - self.first + 1


#: position of a site: first base of the start codon, last base of the stop codon, first and last base of the intron
SITES = {
    "start": Site(-48, 14, -56, (16, 8, 8, 4, 4, 4, 4, 8, 16), calibrated=True, frame="behind"),
    "stop": Site(-14, 15, -24, (16, 8, 8, 16), frame="before"),
    "donor": Site(-14, 25, -30, (10, 10, 6, 5, 5, 8, 10, 15, 15), per_intron=True),
    "acceptor": Site(-55, 14, -100, (20, 20, 15, 10, 10, 8, 8, 6, 4, 14, 9)),
}


class Dense(NamedTuple):
    """Weights [inputs, outputs] and bias [outputs]."""

    w: Array
    b: Array


class SiteParams(NamedTuple):
    """Weights of a site model.

    Attributes:
        screen: [2 * hidden, stride], a score of each base from the LSTM's features.
        narrow: [2 * hidden, NARROW], what the perceptron sees of the features.
        layers: of the perceptron.
        matrix: [width, 4], the position weight matrix.
        motifs: [4 * MOTIF, motifs], what each base of a motif counts.
        inner: what it counts of a start codon that another one lies before it in the frame; None of other sites.
    """

    screen: Dense
    narrow: Dense
    layers: tuple[Dense, Dense, Dense]
    matrix: Array
    motifs: Dense
    inner: Array | None = None


def init_dense(rng: np.random.Generator, inputs: int, outputs: int, scale: float = 1.0) -> Dense:
    """Random initial weights, zero bias."""
    weights = rng.normal(scale=scale / inputs**0.5, size=(inputs, outputs))
    return Dense(on_host(weights), on_host(np.zeros(outputs)))


def init_site(
    rng: np.random.Generator, site: Site, classes: int, hidden: int, stride: int, width: int, motifs: int
) -> SiteParams:
    """Random initial weights of a site model.

    Args:
        rng: source of random numbers.
        site: what it looks at.
        classes: classes of the network.
        hidden: LSTM units per direction.
        stride: bases per LSTM step.
        width: of its first layer.
        motifs: that it looks for.
    """
    calibrated = PWM_WIDTH + (UPSTREAM_LAST - UPSTREAM_FIRST + 1) if site.calibrated else 0
    in_frame = {None: 0, "behind": len(LENGTHS) + 5, "before": len(LENGTHS) + 5 + len(FROM_FIRST) + 2}[site.frame]
    inputs = motifs * len(site.bins) + calibrated + classes * (len(BINS) - 1) + 3 + NARROW + in_frame
    layers = (init_dense(rng, inputs, width), init_dense(rng, width, 32), init_dense(rng, 32, 1, scale=0.1))
    return SiteParams(
        screen=init_dense(rng, 2 * hidden, stride, scale=0.1),
        narrow=init_dense(rng, 2 * hidden, NARROW),
        layers=layers,
        matrix=on_host(np.zeros((site.width, 4))),
        motifs=init_dense(rng, 4 * MOTIF, motifs),
        inner=on_host(np.zeros(())) if site.frame == "behind" else None,
    )


def read_in(time: int, per_256: int, fewest: int = FEWEST) -> int:
    """Candidates whose surroundings are looked at in `time` bases of a strand; the others keep their screen."""
    return min(time, max(fewest, time * per_256 // 256))


class Surroundings(NamedTuple):
    """What all site models read of windows, both strands.

    Attributes:
        codes: [rows, time] uint8.
        tables: with a leading axis of rows.
        features: [time / stride, rows, 2 * hidden] of the LSTM.
        sums: [rows, time + 1, classes + 1] of `class_sums`.
        frames: of both strands' codons.
    """

    codes: Array
    tables: Tables
    features: Array
    sums: Array
    frames: Frames


def site_scores(
    params: SiteParams, site: Site, candidates: int, around: Surroundings, screen: Array, here: Array
) -> Array:
    """Score of each candidate: the screen, and at the best of them the perceptron's correction.

    Args:
        params: weights of the site's model.
        site: what it looks at.
        candidates: whose surroundings are looked at, per 256 bases.
        around: what it reads.
        screen: [time / stride, rows, stride], the model's screen of the features.
        here: bool [rows, time], the candidates.

    Returns:
        [rows, time] log-odds-like scores, 0 where no candidate is.
    """
    rows, time = here.shape
    rough = screen.swapaxes(0, 1).reshape(rows, time)
    if site.per_intron:
        rough += around.tables.intron_rate[:, None]
    if params.inner is not None:
        rough += params.inner * around.frames.inner
    rough = jnp.where(here, rough, 0.0)
    ranked = jnp.where(here, jax.lax.stop_gradient(rough), -jnp.inf)
    best, at = jax.lax.top_k(ranked, read_in(time, candidates))
    fine = jnp.where(jnp.isfinite(best), corrections(params, site, around, at), 0.0)
    return jax.vmap(lambda row, i, v: row.at[i].add(v))(rough, at, fine)


def corrections(params: SiteParams, site: Site, around: Surroundings, at: Array) -> Array:
    """What the matrix and the perceptron make of the surroundings of positions `at` [rows, k]: [rows, k]."""
    codes, tables, features, sums, frames = around
    stride = codes.shape[1] // len(features)

    motifs_end = site.motifs_from + sum(site.bins)
    first, last = min(site.first, site.motifs_from), max(site.last, motifs_end + MOTIF - 2)
    bases = bases_around(codes, at, first, last)

    def between(begin: int, end: int) -> Array:
        """Of those bases, from one place relative to the site to another."""
        return bases[..., begin - first : end - first]

    of_matrix = of_bases(params.matrix, between(site.first, site.last + 1)).sum(-1)
    begins = kmers(between(site.motifs_from, motifs_end + MOTIF - 1), MOTIF)[..., : sum(site.bins)]
    parts = [best_motifs(params.motifs, site.bins, begins).reshape(*at.shape, -1)]
    if site.calibrated:
        pentamers = kmers(between(UPSTREAM_FIRST, UPSTREAM_LAST + 5), 5)[..., : UPSTREAM_LAST - UPSTREAM_FIRST + 1]
        parts += [
            of_bases(tables.context[:, None], between(PWM_FIRST, PWM_FIRST + PWM_WIDTH)),
            jax.vmap(lambda table, kmer: table[kmer])(tables.upstream, pentamers),
        ]
    parts += [
        _class_bins(sums, at),
        jnp.broadcast_to(tables.summary[:, None], (*at.shape, 3)),
        features[at // stride, jnp.arange(len(at))[:, None]] @ params.narrow.w + params.narrow.b,
    ]
    if site.frame:
        parts.append(_frame(site.frame, frames, sums, at))
    one, two, three = params.layers
    y = jax.nn.relu(jnp.concatenate(parts, -1) @ one.w + one.b)
    y = jax.nn.relu(y @ two.w + two.b)
    return of_matrix + (y @ three.w + three.b)[..., 0]


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def best_motifs(motifs: Dense, bins: tuple[int, ...], begins: Array) -> Array:
    """The best fit, at least 0, of each motif in each bin: [rows, k, bins, motifs].

    Args:
        motifs: what each base of a motif counts.
        bins: widths.
        begins: [rows, k, sum(bins)], the k-mer of MOTIF bases at each place where a motif may begin.
    """
    return _best_motifs_fwd(motifs, bins, begins)[0]


def _best_motifs_fwd(motifs: Dense, bins: tuple[int, ...], begins: Array) -> tuple[Array, tuple[Array, Array]]:
    """The best fits, and beside them the k-mers that fit best."""
    # the fit of every k-mer, looked up: few places of a sequence are asked for, so a convolution would cost more
    words = jnp.stack(jnp.unravel_index(jnp.arange(4**MOTIF), (4,) * MOTIF), -1)
    fits = jax.nn.relu(jax.nn.one_hot(words, 4).reshape(4**MOTIF, -1) @ motifs.w + motifs.b)
    fits = jnp.pad(fits, ((0, 1), (0, 0)))  # a k-mer with unknown bases fits nothing

    def better(found: tuple[Array, Array], word: Array) -> tuple[tuple[Array, Array], None]:
        fit, kmer = found
        more = fits[word[..., 0]]
        return (jnp.maximum(fit, more), jnp.where(more > fit, word, kmer)), None

    best, kmer = [], []
    for places in jnp.split(jnp.moveaxis(begins, 2, 0)[..., None], np.cumsum(bins)[:-1]):
        # place by place: the fits of all places at once, [rows, k, width, motifs], leave the cache
        shape = (*places.shape[1:3], len(motifs.b))
        nothing = jnp.zeros(shape, fits.dtype), jnp.zeros(shape, places.dtype)
        (fit, word), _ = jax.lax.scan(better, nothing, places, unroll=4)
        best.append(fit)
        kmer.append(word)
    fit = jnp.stack(best, axis=2)
    return fit, (fit, jnp.stack(kmer, axis=2))


def _best_motifs_bwd(bins: tuple[int, ...], kept: tuple[Array, Array], gradient: Array) -> tuple[Dense, None]:
    """Sums over the bases of the best k-mers, instead of a slow scatter into the fits of all k-mers."""

    def add(total: Array, row: tuple[Array, Array, Array]) -> tuple[Array, None]:
        fit, kmer, gradient = row
        gradient = jnp.where(fit > 0, gradient, 0.0)
        bases = [(kmer // 4 ** (MOTIF - 1 - j)) % 4 for j in range(MOTIF)]
        of_bases = [jnp.where(base == b, gradient, 0.0).sum((0, 1)) for base in bases for b in range(4)]
        return total + jnp.stack(of_bases), None

    # row by row: it is read once for every base of a motif, all rows would leave the cache each time
    of_bases, _ = jax.lax.scan(add, jnp.zeros((4 * MOTIF, gradient.shape[-1]), gradient.dtype), (*kept, gradient))
    # a motif's first base is one of four
    return Dense(of_bases, of_bases[:4].sum(0)), None


best_motifs.defvjp(_best_motifs_fwd, _best_motifs_bwd)


def class_sums(classes: Array, known: Array) -> Array:
    """Sums of class scores up to each base, from which those of any bin follow.

    Args:
        classes: [rows, time, classes] class scores, the first three of the codon positions.
        known: bool [rows, time], what is not padding or unknown.

    Returns:
        [rows, time + 1, classes + 1], before each base: those of the codon positions of frames 0, 1 and 2, those of the
        other classes, and how many bases are known.
    """
    time = classes.shape[1]
    # frame f: a base t is its codon position (t - f) mod 3
    phase = jnp.arange(time) % 3
    one, two, three = (classes[..., k] for k in range(3))
    frames = [jnp.where(phase == f, one, jnp.where(phase == (f + 1) % 3, two, three)) for f in range(3)]
    columns = jnp.concatenate([jnp.stack(frames, -1), classes[..., 3:], known[..., None].astype(jnp.float32)], -1)

    def add(total: Array, column: Array) -> tuple[Array, Array]:
        return total + column, total + column

    # base by base: a fifth of the time of jnp.cumsum on a CPU
    by_base = jnp.moveaxis(columns, 1, 0)
    _, totals = jax.lax.scan(add, jnp.zeros_like(by_base[0]), by_base, unroll=UNROLL)
    return jnp.pad(jnp.moveaxis(totals, 0, 1), ((0, 0), (1, 0), (0, 0)))


def _class_bins(sums: Array, at: Array) -> Array:
    """Mean class scores of bins around candidates: [rows, k, classes * bins]."""
    return _class_means(sums, at, at[:, :, None] + jnp.array(BINS)).reshape(*at.shape, -1)


def _frame(side: Literal["before", "behind"], frames: Frames, sums: Array, at: Array) -> Array:
    """What a site sees of its open reading frame: its length, whether it is cut off, and the mean class scores of the
    codon positions in it, those of its own frame also times the log of its length. Before a stop codon, also the length
    from the first start codon on, whether there is one, and the mean class score of its own frame from there on.

    Returns:
        [rows, k, LENGTHS + 5], before a stop codon FROM_FIRST + 2 more.
    """
    codon = at if side == "behind" else jnp.maximum(at - 2, 0)
    of = Frames(*(jnp.take_along_axis(x, codon, axis=1) for x in frames))
    length, cut = (of.behind, of.closed) if side == "behind" else (of.before, of.opened)
    first = codon if side == "behind" else codon - 3 * length
    means = _class_means(sums, codon, jnp.stack([first, first + 3 * length], -1))[..., 0, :3]
    logs = jnp.log1p(length.astype(jnp.float32)) / 4  # about 1
    parts = [tents(length, LENGTHS), cut[..., None], means, means[..., :1] * logs[..., None]]
    if side == "before":
        longest = _class_means(sums, codon, jnp.stack([codon - 3 * of.first, codon], -1))[..., 0, :1]
        parts += [tents(of.first, FROM_FIRST), of.inner[..., None], longest]
    return jnp.concatenate(parts, -1)


def _class_means(sums: Array, at: Array, edges: Array) -> Array:
    """Mean class scores of the known bases between others: that of the codon positions in a candidate's frame and in
    the two others, then those of the other classes.

    Args:
        sums: of `class_sums`.
        at: [rows, k], first bases of codons in the candidates' frames.
        edges: [rows, k, spans + 1], ascending: each span lies between two of them.

    Returns:
        [rows, k, spans, classes], 0 where no base is known.
    """
    places = jnp.clip(edges, 0, sums.shape[1] - 1)
    total = jnp.diff(jax.vmap(lambda row, i: row.at[i].get(mode="promise_in_bounds"))(sums, places), axis=2)
    means = total[..., :-1] / jnp.maximum(total[..., -1:], 1)
    order = (at[:, :, None] + jnp.arange(3)) % 3  # own frame first
    own_first = jnp.take_along_axis(means[..., :3], order[:, :, None, :], axis=3)
    return jnp.concatenate([own_first, means[..., 3:]], -1)
