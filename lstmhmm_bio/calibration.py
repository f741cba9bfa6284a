"""Tables that describe one genome: codon usage and start context, estimated from its own genes.

Genomes differ most in which codon pairs their genes use, in what precedes their start codons and in how many introns
they have. All are counted on genes taken as true (`count`), turned into log-odds tables shrunk towards a prior for
the genome's GC content (`tables`), and fed to the network as input channels:

- hexamers: log P(in-frame hexamer | coding) - log P(hexamer | anywhere, both strands), 4096 values;
- upstream pentamers: log P(5-mer in the 4..22 bases before a start) - log P(the same before an in-frame start codon
  that is not the start), 1024 values: finds the genome's ribosome binding site whatever it is;
- position weight matrix around the start codon, likewise against false starts;
- introns per codon: the prior odds of every donor. Budding yeasts have one in 10,000 codons, flies and plants a hundred
  times as many.

The idea of self-calibration is Prodigal's (Hyatt et al. 2010); the tables here are inputs to a network instead of
scores of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sequence import UNKNOWN, Codes, GeneticCode, Segments, base_counts, kmer_counts, kmer_indices

Floats = NDArray[np.float32]

HEXAMERS = 4**6
PENTAMERS = 4**5
#: first and last base, relative to the start codon, of the position weight matrix
PWM_FIRST, PWM_LAST = -32, 5
PWM_WIDTH = PWM_LAST - PWM_FIRST + 1
#: where upstream pentamers begin
UPSTREAM_FIRST, UPSTREAM_LAST = -22, -7
#: weight of the prior, in counts
HEXAMER_PRIOR_COUNT = 2000.0
START_PRIOR_COUNT = 40.0
CODON_PRIOR_COUNT = 1000.0
#: introns per codon at which `Tables.intron_rate` is 0
USUAL_INTRON_RATE = 1e-3
#: GC contents, in percent, at which a model keeps prior frequencies
GC_GRID = np.arange(14, 78, 4)
_GC_BANDWIDTH = 4.0
_LOG_ODDS_LIMIT = 4.0


@dataclass(frozen=True)
class Counts:
    """What was counted on some genes (or the frequencies of a prior; the fields are the same).

    Attributes:
        coding, background: [4096] in-frame hexamers of genes; all hexamers of both strands.
        upstream, false_upstream: [1024] pentamers before true starts; before false ones.
        context, false_context: [PWM_WIDTH, 4] bases around true starts; around false ones.
        introns: [2] introns of genes; their codons.
    """

    coding: Floats
    background: Floats
    upstream: Floats
    false_upstream: Floats
    context: Floats
    false_context: Floats
    introns: Floats

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @staticmethod
    def zeros() -> Counts:
        return Counts(*(np.zeros(shape, np.float32) for shape in SHAPES))

    @property
    def starts(self) -> float:
        """Number of start codons counted."""
        return float(self.context[-PWM_FIRST].sum())


#: shapes of the fields of `Counts`
SHAPES = ((HEXAMERS,), (HEXAMERS,), (PENTAMERS,), (PENTAMERS,), (PWM_WIDTH, 4), (PWM_WIDTH, 4), (2,))
_ENDS = np.cumsum([np.prod(shape, dtype=int) for shape in SHAPES])
#: numbers of one `Counts`
COUNTED = int(_ENDS[-1])


def pack(counts: Counts) -> Floats:
    """Counts as one flat vector, [COUNTED]."""
    return np.concatenate([getattr(counts, f.name).ravel() for f in fields(Counts)])


def unpack(flat: Floats) -> Counts:
    """The reverse of `pack`."""
    parts = np.split(flat, _ENDS[:-1])
    return Counts(*(part.reshape(shape) for part, shape in zip(parts, SHAPES, strict=True)))


class Tables(NamedTuple):
    """Tables as the network reads them (a PyTree; training adds a leading batch axis).

    The last entry of `hexamers` and `upstream` is 0 and stands for k-mers that hold an unknown base.

    Attributes:
        hexamers: [4097].
        upstream: [1025].
        context: [PWM_WIDTH, 5], last column 0 for unknown bases.
        summary: [3] GC content and how much was counted (log10 of coding hexamers and of starts, scaled to about 1).
        intron_rate: scalar, log of introns per codon over `USUAL_INTRON_RATE`.
    """

    hexamers: Floats
    upstream: Floats
    context: Floats
    summary: Floats
    intron_rate: Floats

    @staticmethod
    def stack(tables: Sequence[Tables]) -> Tables:
        """Tables of several records or windows, with a leading axis over them."""
        return Tables(*(np.stack(arrays) for arrays in zip(*tables, strict=True)))


def count(
    codes: Codes, starts: NDArray[np.int64], ends: NDArray[np.int64], has_start: NDArray[np.bool_], code: GeneticCode
) -> Counts:
    """Counts over genes of one strand, given in that strand's 5' to 3' coordinates.

    `background` is left at zero; see `background_counts`.

    Args:
        codes: [length] the strand.
        starts: [genes] first bases.
        ends: [genes] one past the last base, which is the stop codon's.
        has_start: [genes] whether the start codon is known.
        code: genetic code, for the false starts inside genes.
    """
    coding = _count_frames(kmer_indices(codes, 6), starts, ends)
    true_starts = starts[has_start]
    false_starts = _inner_starts(codes, starts, ends, code)
    pentamers = kmer_indices(codes, 5)
    return Counts(
        coding,
        np.zeros(HEXAMERS, np.float32),
        _count_upstream(pentamers, true_starts),
        _count_upstream(pentamers, false_starts),
        _count_context(codes, true_starts),
        _count_context(codes, false_starts),
        np.array([0, coding.sum()], np.float32),
    )


def count_spliced(genes: Sequence[tuple[Codes, Segments]], has_start: NDArray[np.bool_], code: GeneticCode) -> Counts:
    """`count` for genes that may have introns: on what precedes each gene and its spliced sequence, one by one.

    Args:
        genes: of each, its strand and its CDS segments, ascending, in that strand's 5' to 3' coordinates.
        has_start: [genes] whether the start codon is known.
        code: genetic code.
    """
    pieces, starts, ends, at = [np.zeros(0, np.uint8)], [], [], 0
    for codes, chain in genes:
        upstream = codes[max(chain[0][0] + PWM_FIRST, 0) : chain[0][0]]
        spliced = [codes[s:e] for s, e in chain]
        pieces += [np.full(-PWM_FIRST - len(upstream), UNKNOWN, np.uint8), upstream, *spliced]
        starts.append(at - PWM_FIRST)
        ends.append(starts[-1] + sum(map(len, spliced)))
        at = ends[-1]
    counts = count(np.concatenate(pieces), np.array(starts, np.int64), np.array(ends, np.int64), has_start, code)
    counts.introns[0] = sum(len(chain) - 1 for _, chain in genes)
    return counts


def background_counts(codes: Codes) -> Floats:
    """[4096] hexamers of a sequence and of its reverse complement."""
    return kmer_counts(codes, 6).astype(np.float32)


def tables(counts: Counts, prior: Counts, gc: float) -> Tables:
    """Log-odds tables from counts shrunk towards a prior.

    Args:
        counts: of this genome; all zero gives the prior's own tables.
        prior: frequencies (each field sums to 1, `context` in each row), see `Prior.at`.
        gc: GC content of the genome in [0, 1].
    """
    hexamers = _log_odds(counts.coding, prior.coding, counts.background, prior.background, HEXAMER_PRIOR_COUNT)
    upstream = _log_odds(
        counts.upstream, prior.upstream, counts.false_upstream, prior.false_upstream, 16 * START_PRIOR_COUNT
    )
    context = _log_odds(counts.context, prior.context, counts.false_context, prior.false_context, START_PRIOR_COUNT)
    summary = np.array(
        [4 * (gc - 0.5), np.log10(1 + counts.coding.sum()) / 5, np.log10(1 + counts.starts) / 3], np.float32
    )
    introns = counts.introns + CODON_PRIOR_COUNT * prior.introns
    pad = np.zeros(1, np.float32)
    return Tables(
        np.concatenate([hexamers, pad]),
        np.concatenate([upstream, pad]),
        np.concatenate([context, np.zeros((PWM_WIDTH, 1), np.float32)], axis=1),
        summary,
        np.log(introns[:1] / (introns.sum() * USUAL_INTRON_RATE)).reshape(()).astype(np.float32),
    )


@dataclass(frozen=True)
class Prior:
    """Expected frequencies as a function of GC content, from the training genomes.

    Attributes:
        frequencies: fields of `Counts` with a leading axis over `GC_GRID`.
    """

    frequencies: Counts

    @staticmethod
    def fit(counts: Sequence[Counts], gc: Sequence[float], weights: Sequence[float] | None = None) -> Prior:
        """Kernel-weighted mean of the genomes' frequencies at each GC content of the grid.

        Args:
            counts: one per genome.
            gc: their GC contents in [0, 1].
            weights: how much each genome says (default: all the same).
        """
        distance = GC_GRID[:, None] - 100 * np.asarray(gc)[None]
        # a broad second kernel keeps extreme GC contents from resting on one genome
        kernel = np.exp(-0.5 * (distance / _GC_BANDWIDTH) ** 2) + 1e-3 * np.exp(-0.5 * (distance / 20) ** 2)
        kernel *= 1.0 if weights is None else np.asarray(weights)[None]
        kernel /= kernel.sum(1, keepdims=True)
        columns = []
        for f, shape in zip(fields(Counts), SHAPES, strict=True):
            values = np.stack([_frequencies(getattr(c, f.name)) for c in counts])
            columns.append(np.einsum("gn,n...->g...", kernel, values).reshape(-1, *shape).astype(np.float32))
        return Prior(Counts(*columns))

    def at(self, gc: float) -> Counts:
        """Frequencies at a GC content in [0, 1], linear between grid points."""
        x = np.clip((100 * gc - GC_GRID[0]) / (GC_GRID[1] - GC_GRID[0]), 0, len(GC_GRID) - 1)
        low = min(int(x), len(GC_GRID) - 2)
        part = np.float32(x - low)
        blend = (
            (1 - part) * values[low] + part * values[low + 1]
            for values in (getattr(self.frequencies, f.name) for f in fields(Counts))
        )
        return Counts(*blend)


@dataclass(frozen=True)
class Calibration:
    """What a genome's own genes say.

    Attributes:
        counts: on its confident genes; zeros where there are none.
        gc: GC content in [0, 1].
        genetic_code: NCBI table number under which its genes were found.
    """

    counts: Counts
    gc: float
    genetic_code: int

    @staticmethod
    def expected(gc: float, genetic_code: int) -> Calibration:
        """That of a genome of which nothing is known but its GC content."""
        return Calibration(Counts.zeros(), gc, genetic_code)

    def tables(self, prior: Prior) -> Tables:
        """Log-odds tables, shrunk towards a model's prior."""
        return tables(self.counts, prior.at(self.gc), self.gc)


def gc_content(codes: Codes) -> float:
    """Share of G and C among the known bases, 0.5 if there are none."""
    return gc_of(base_counts(codes))


def gc_of(histogram: NDArray[np.int64]) -> float:
    """`gc_content` from how often each code occurs, [5]."""
    known = histogram[:4].sum()
    return float((histogram[1] + histogram[2]) / known) if known else 0.5


def _frequencies(counts: Floats) -> Floats:
    """Counts with a small pseudo-count as frequencies over the last axis."""
    smoothed = counts + 0.5
    return smoothed / smoothed.sum(-1, keepdims=True)


def _log_odds(a: Floats, a_prior: Floats, b: Floats, b_prior: Floats, prior_count: float) -> Floats:
    p = (a + prior_count * a_prior) / (a.sum(-1, keepdims=True) + prior_count)
    q = (b + prior_count * b_prior) / (b.sum(-1, keepdims=True) + prior_count)
    return np.clip(np.log(p / q), -_LOG_ODDS_LIMIT, _LOG_ODDS_LIMIT).astype(np.float32)


def _count_frames(hexamers: NDArray[np.int32], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Floats:
    """In-frame hexamers from the first codon to the one before the stop codon."""
    mask = np.zeros((3, len(hexamers) + 1), np.int32)  # +1/-1 at ends, one row per frame
    stop = np.maximum(ends - 8, starts)  # hexamers that begin here would hold the stop codon
    np.add.at(mask, (starts % 3, starts), 1)
    np.add.at(mask, (starts % 3, stop), -1)
    inside = np.cumsum(mask, axis=1)[:, :-1] > 0
    total = np.zeros(HEXAMERS, np.float32)
    for frame in range(3):
        index = hexamers[frame::3][inside[frame, frame::3]]
        total += np.bincount(index[index >= 0], minlength=HEXAMERS)
    return total


def _inner_starts(
    codes: Codes, starts: NDArray[np.int64], ends: NDArray[np.int64], code: GeneticCode
) -> NDArray[np.int64]:
    """In-frame start codons in the first half of genes after the true one: where a start finder could err."""
    codons = kmer_indices(codes, 3)
    is_start = np.concatenate([code.is_start, [False]])[codons]
    found = [
        position[is_start[position]]
        for s, e in zip(starts, ends, strict=True)
        if len(position := np.arange(s + 3, s + min((e - s) // 2, 150), 3))
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _count_upstream(pentamers: NDArray[np.int32], starts: NDArray[np.int64]) -> Floats:
    positions = (starts[:, None] + np.arange(UPSTREAM_FIRST, UPSTREAM_LAST + 1)).ravel()
    index = pentamers[positions[positions >= 0]]
    return np.bincount(index[index >= 0], minlength=PENTAMERS).astype(np.float32)


def _count_context(codes: Codes, starts: NDArray[np.int64]) -> Floats:
    positions = starts[:, None] + np.arange(PWM_FIRST, PWM_LAST + 1)
    inside = (positions >= 0) & (positions < len(codes))
    bases = np.where(inside, codes[np.clip(positions, 0, len(codes) - 1)], 4)
    return np.stack([(bases == b).sum(0) for b in range(4)], axis=1).astype(np.float32)
