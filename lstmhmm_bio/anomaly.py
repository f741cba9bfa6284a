"""Anomaly scores: how much better a stretch of a genome is explained by something else than by the genome itself.

    detector = Detector(load_model().prior, window=5000)
    genome = detector.learn(read_records("genome.fa"))
    for scores in detector.score(read_records("genome.fa"), genome):
        ...

The score of a window is, in bits per base, its log-likelihood under a mixture of alternatives less that under the
genome's own model; higher is more anomalous.

- *Own model*: an interpolated, strand-symmetric Markov model of order 5, counted on a sample of the genome. Blocks with
  outlying scores leave the sample, and what lies within 20 kb of a block never takes part
  in judging it: the anomalous part does not teach the model.
- *Alternatives*: the compositions that genomes of each GC content have (the prior of a gene-finding model), and models
  of order 3 that learn the block itself while they read it, with 0, 2.5 and 10 kb on each side known before.
- Where genes are given, their codon pairs are judged in the same way: own codon usage against the usual ones.
- Where a read depth is given, its likelihood at the depth found against that at the genome's median depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from . import composition
from .calibration import HEXAMER_PRIOR_COUNT, HEXAMERS, Prior, gc_of
from .depth import Depth
from .features import Record
from .hash_sample import Piece, sample_by_hash
from .programs import kept
from .sequence import UNKNOWN, Codes, base_counts

#: longest block that is judged as one; windows are sums over blocks
BLOCK = 2500
#: what lies this near never teaches the own model, bases
APART = 20_000
#: reach of the adaptive alternatives to each side, bases
SPANS = (0, 2500, 10_000)
#: blocks that the own model is learned from
SAMPLE = 4096
#: rounds in which outlying blocks leave the sample, and how many spreads above the median these lie
ROUNDS = 1
OUTLYING = 8.0
#: hexamers that the frequencies of a GC content stand for
BANK_COUNT = 3e5
#: a window of few known bases is drawn towards the genome's typical score as if it had this many more
SHRINKAGE = 100.0
#: blocks in one call; a call is always padded to this many
CALL = 512

Floats = NDArray[np.float32]
_T = TypeVar("_T")
#: gives the in-frame hexamers of a record's genes: [length] index, -1 for none (see `lstmhmm_bio.frames`)
Frames = Callable[[Record], NDArray[np.int16]]


@dataclass(frozen=True)
class GenomeModel:
    """What a genome's own sequence looks like.

    Attributes:
        words: [4096] hexamers of both strands of the blocks that it was learned from.
        codons: [4096] in-frame hexamers of their genes; zeros without genes.
        gc: GC content in [0, 1].
        typical: median score of a block, bits per base.
        taught: by record id, [blocks] whether a block is among those; records without any are missing.
    """

    words: Floats
    codons: Floats
    gc: float
    typical: float
    taught: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(frozen=True)
class WindowScores:
    """Scores along one record. A cell is a stretch of `step` bases; it has the score of the window around it.

    Attributes:
        seqid: the record's id.
        edges: [cells + 1] borders of the cells, from 0 to the record's length.
        bits: [cells] bits per base, finite.
        known: [cells] known bases of the window.
        entropy: [cells] bits per base of the window given the two bases before; low in simple repeats.
        depth: [cells] log2 of the window's read depth over the genome's median; 0 without depth.
        depth_bits: [cells] the part of `bits` that comes from the depth.
    """

    seqid: str
    edges: NDArray[np.int64]
    bits: Floats
    known: Floats
    entropy: Floats
    depth: Floats
    depth_bits: Floats


class _Blocks(NamedTuple):
    """Blocks of one or several records.

    Attributes:
        words: [blocks, 4096] hexamers of both strands.
        codons: the same of genes, on their strand and in frame; None if genes take no part.
        taught: [blocks] whether they taught the own model.
    """

    words: Floats
    codons: Floats | None
    taught: NDArray[np.bool_]


class _Totals(NamedTuple):
    """The own model's counts [4096] and the alternatives' log2 probabilities [alternatives, 4096]."""

    words: Array
    codons: Array
    word_bank: Array
    codon_bank: Array


@kept()
def _banks(words: Array, codons: Array) -> tuple[Array, Array]:
    """Models of frequencies [genomes, 4096] of hexamers and of in-frame ones."""
    return composition.markov(words * BANK_COUNT), composition.codons(codons * BANK_COUNT)


@kept(6)
def _judge(
    totals: _Totals, blocks: _Blocks, first: Array, last: Array, spans: Array, apart: Array, keep_all: bool
) -> tuple[Array, Array]:
    """Judges blocks.

    Args:
        totals: own model and alternatives.
        blocks: [rows] of them.
        first: [rows] first row of the same record.
        last: [rows] one past the last.
        spans: [adaptive models] their reach, in blocks.
        apart: [] reach of what is left out of the own model, in blocks.
        keep_all: leave nothing out (reads, each of which is next to nothing).

    Returns:
        Log2 ratio of alternatives to own model, and entropy in bits per base: [rows] each.
    """
    at = jnp.arange(len(first))

    def near(reach: Array) -> Array:
        """[rows, rows] whether another row is at most so far from one, in the same record."""
        low, high = jnp.maximum(first, at - reach), jnp.minimum(last, at + reach + 1)
        return (low[:, None] <= at) & (at < high[:, None])

    words = jnp.asarray(blocks.words)

    def learned(total: Array, counts: Array) -> Array:
        """Counts of the own model, [rows or 1, 4096]."""
        if keep_all:
            return total[None]
        return total - composition.sums_over(counts, near(apart) & blocks.taught)

    own = composition.markov(learned(totals.words, words))
    usual = composition.log2_mean(words @ totals.word_bank.T / 2)  # both strands were counted
    short = composition.shorter(words, composition.ADAPTIVE_WORD)
    local = [
        composition.adaptive(words, composition.sums_over(short, near(span)) - short, totals.words) for span in spans
    ]
    bits = composition.log2_mean(jnp.stack([usual, *local], -1)) - (words * own).sum(-1) / 2
    if blocks.codons is not None:
        codons = jnp.asarray(blocks.codons)
        own = composition.codons(learned(totals.codons, codons))
        bits += composition.log2_mean(codons @ totals.codon_bank.T) - (codons * own).sum(-1)
    return bits, composition.entropy(words)


class _Sampled(NamedTuple):
    """A block of the sample: (record id, number, blocks of the record), its bases and in-frame hexamers."""

    place: tuple[str, int, int]
    codes: Codes
    frames: NDArray[np.int16] | None


class _Pending(NamedTuple):
    """A record whose blocks are being judged, with what is known of them: [blocks] each."""

    record: Record
    edges: NDArray[np.int64]
    known: Floats
    bits: NDArray[np.float64]
    entropy: Floats


class _Piece(NamedTuple):
    """Consecutive blocks of a record; those of `core` (of the piece) are answers for `into` (of the record)."""

    blocks: _Blocks
    core: slice
    into: slice
    record: _Pending


class Detector:
    """Scores windows of genomes, or reads.

    Args:
        prior: of a gene-finding model: which composition and codon usage genomes of some GC content have.
        window: bases of a window.
        step: distance between windows; `window` makes them adjoin.
        frames: in-frame hexamers of a record's genes; without it codon usage takes no part.
        depth: read depth; without it coverage takes no part.
        whole: one score for each record (reads).
    """

    def __init__(
        self,
        prior: Prior,
        *,
        window: int = 5000,
        step: int | None = None,
        frames: Frames | None = None,
        depth: Depth | None = None,
        whole: bool = False,
    ) -> None:
        self.prior, self.window, self.step, self.whole = prior, window, step or window, whole
        self.block = -(-window // -(-window // BLOCK))  # equal parts of a window
        self._frames, self._depth = frames, depth
        self._word_bank, self._codon_bank = _banks(prior.frequencies.background, prior.frequencies.coding)
        self._apart = -(-APART // self.block)
        self._spans = (0,) if whole else tuple(round(span / self.block) for span in SPANS)
        self._halo = 0 if whole else max(self._apart, *self._spans)

    def learn(self, records: Iterable[Record]) -> GenomeModel:
        """The genome's own model, a pure function of all its records; memory is bounded by the sample."""
        sample, places, gc = self._sample(records)
        model = GenomeModel(sample.words[:0].sum(0), np.zeros(HEXAMERS, np.float32), gc, 0.0)
        lengths = sample.words.sum(-1) / 2
        if not lengths.any():
            return model
        for _ in range(ROUNDS + 1):
            taught = sample.taught
            codons = np.zeros(HEXAMERS, np.float32) if sample.codons is None else sample.codons[taught].sum(0)
            model = GenomeModel(sample.words[taught].sum(0), codons, gc, 0.0)
            per_base = self._judge_alone(model, sample) / np.maximum(lengths, 1)
            typical, spread = middle(per_base[lengths > 0])
            sample = sample._replace(taught=per_base <= typical + OUTLYING * spread)
        by_record: dict[str, NDArray[np.bool_]] = {}
        for (seqid, number, of), used in zip(places, taught, strict=True):
            if used:
                by_record.setdefault(seqid, np.zeros(of, bool))[number] = True
        return GenomeModel(model.words, model.codons, gc, typical, by_record)

    def score(self, records: Iterable[Record], genome: GenomeModel) -> Iterator[WindowScores]:
        """Scores of each record, in input order; some records, or a part of a long one, in memory at a time."""
        totals = self._totals(genome)
        waiting: list[_Pending] = []
        call: list[_Piece] = []
        rows = 0
        for record in records:
            edges = self._edges(len(record))
            blocks = len(edges) - 1
            zeros = np.zeros(blocks, np.float32)
            pending = _Pending(record, edges, zeros, zeros.astype(np.float64), zeros.copy())
            taught = genome.taught.get(record.id, np.zeros(blocks, bool))
            frames = self._frames(record) if self._frames else None
            core = CALL if blocks <= CALL else CALL - 2 * self._halo
            for a in range(0, blocks, core):
                b = min(a + core, blocks)
                first, last = max(a - self._halo, 0), min(b + self._halo, blocks)
                if rows + last - first > CALL:
                    self._run(totals, call)
                    yield from (self._windows(done, genome) for done in waiting)
                    waiting, call, rows = [], [], 0
                counted = self._count(record, edges[first : last + 1], taught[first:last], frames)
                call.append(_Piece(counted, slice(a - first, b - first), slice(a, b), pending))
                rows += last - first
            waiting.append(pending)
        self._run(totals, call)
        yield from (self._windows(done, genome) for done in waiting)

    def _edges(self, length: int) -> NDArray[np.int64]:
        """Borders of a record's blocks."""
        if self.whole:
            return np.array([0, length] if length else [0])
        return np.append(np.arange(0, length, self.block), length) if length else np.zeros(1, np.int64)

    def _count(
        self, record: Record, edges: NDArray[np.int64], taught: NDArray[np.bool_], frames: NDArray[np.int16] | None
    ) -> _Blocks:
        start, local = edges[0], edges - edges[0]
        codes = record.codes[start : edges[-1] + composition.WORD - 1]  # words begin inside and may end behind
        words = composition.both_strands(composition.block_counts(composition.hexamers(codes), local))
        return _Blocks(
            words, None if frames is None else composition.block_counts(frames[start : edges[-1]], local), taught
        )

    def _totals(self, genome: GenomeModel) -> _Totals:
        """With the expectation at the genome's GC content as a prior, for genomes too small to say much."""
        expected = self.prior.at(genome.gc)
        return _Totals(
            jnp.asarray(genome.words + HEXAMER_PRIOR_COUNT * expected.background),
            jnp.asarray(genome.codons + HEXAMER_PRIOR_COUNT * expected.coding),
            self._word_bank,
            self._codon_bank,
        )

    def _run(self, totals: _Totals, call: list[_Piece]) -> None:
        """Judges the blocks of some pieces and notes the results in their records."""
        if not call:
            return
        borders = np.cumsum([0, *(len(piece.blocks.words) for piece in call)])
        rows = np.arange(CALL, dtype=np.int32)
        first, last = rows.copy(), rows + 1  # rows of padding stand alone
        for a, b in pairwise(borders.tolist()):
            first[a:b], last[a:b] = a, b
        bits, entropy = self._call(totals, [piece.blocks for piece in call], first, last, self._spans, self._apart)
        for a, piece in zip(borders, call, strict=False):
            piece.record.known[piece.into] = piece.blocks.words[piece.core].sum(-1) / 2
            piece.record.bits[piece.into] = bits[a + piece.core.start : a + piece.core.stop]
            piece.record.entropy[piece.into] = entropy[a + piece.core.start : a + piece.core.stop]

    def _judge_alone(self, genome: GenomeModel, sample: _Blocks) -> NDArray[np.float32]:
        """Log2 ratio of alternatives to own model for blocks without neighbours, each left out of the own model."""
        totals = self._totals(genome)
        rows = np.arange(CALL, dtype=np.int32)
        parts = []
        for a in range(0, len(sample.words), CALL):
            codons = None if sample.codons is None else sample.codons[a : a + CALL]
            part = _Blocks(sample.words[a : a + CALL], codons, sample.taught[a : a + CALL])
            bits, _ = self._call(totals, [part], rows, rows + 1, (0,) * len(self._spans), 0)
            parts.append(bits[: len(part.words)])
        return np.concatenate(parts)

    def _call(
        self,
        totals: _Totals,
        parts: list[_Blocks],
        first: NDArray[np.int32],
        last: NDArray[np.int32],
        spans: tuple[int, ...],
        apart: int,
    ) -> tuple[Floats, Floats]:
        def padded(arrays: list) -> np.ndarray:
            missing = CALL - sum(map(len, arrays))
            return np.concatenate([*arrays, np.zeros((missing, *arrays[0].shape[1:]), arrays[0].dtype)])

        without_genes = parts[0].codons is None
        blocks = _Blocks(
            padded([p.words for p in parts]),
            None if without_genes else padded([p.codons for p in parts]),
            padded([p.taught for p in parts]),
        )
        bits, entropy = _judge(totals, blocks, first, last, np.array(spans), np.int32(apart), self.whole)
        return np.asarray(bits), np.asarray(entropy)

    def _windows(self, done: _Pending, genome: GenomeModel) -> WindowScores:
        """From blocks to windows: sums over them, where a window cuts a block in proportion."""
        length = len(done.record)
        if self.whole:
            edges = done.edges
            low, high = edges[:-1].astype(np.float64), edges[1:].astype(np.float64)
        else:
            edges = np.append(np.arange(0, length, self.step), length) if length else np.zeros(1, np.int64)
            middle = (edges[:-1] + np.minimum(edges[:-1] + self.step, edges[-1])) / 2
            # at the ends of a record a window is moved inside, so that all windows are of one size
            low = np.clip(middle - self.window / 2, 0, max(length - self.window, 0))
            high = np.minimum(low + self.window, length)

        def total(values: np.ndarray) -> NDArray[np.float64]:
            before = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
            return np.interp(high, done.edges, before) - np.interp(low, done.edges, before)

        known = total(done.known)
        bits = total(done.bits)
        entropy = np.divide(total(done.entropy * done.known), known, out=np.zeros_like(known), where=known > 0)
        depth, depth_bits = np.zeros_like(bits), np.zeros_like(bits)
        if self._depth and len(known):
            depth, depth_bits = self._depth.judge(done.record.id, low, high, known)
        score = (bits + SHRINKAGE * genome.typical) / (known + SHRINKAGE) + depth_bits
        values = (x.astype(np.float32) for x in (score, known, entropy, depth, depth_bits))
        return WindowScores(done.record.id, edges, *values)

    def _sample(self, records: Iterable[Record]) -> tuple[_Blocks, list[tuple[str, int, int]], float]:
        """Blocks by a hash of their place, (record id, number, blocks of the record) of each, and the GC content of
        everything.
        """
        histogram = np.zeros(5, np.int64)

        def blocks() -> Iterator[Piece[_Sampled]]:
            for record in records:
                histogram[:] += base_counts(record.codes)
                edges = self._edges(len(record)).tolist()
                frames = self._frames(record) if self._frames else None
                for n, (start, end) in enumerate(pairwise(edges)):
                    yield Piece(record.id, n, partial(_cut, record, n, start, end, len(edges) - 1, frames))

        kept = sorted(sample_by_hash(blocks(), SAMPLE), key=lambda block: block.place)
        parts = [_blocks([k.codes for k in part], [k.frames for k in part]) for part in _chunks(kept, CALL)]
        words = np.concatenate([p.words for p in parts]) if parts else np.zeros((0, HEXAMERS), np.float32)
        codons = np.concatenate([p.codons for p in parts]) if parts and self._frames else None
        return _Blocks(words, codons, np.ones(len(kept), bool)), [k.place for k in kept], gc_of(histogram)


def _cut(record: Record, number: int, start: int, end: int, of: int, frames: NDArray[np.int16] | None) -> _Sampled:
    """Block `number` of a record; copies, so that the record need not stay."""
    codes = record.codes[start : end + composition.WORD - 1].copy()  # words begin inside and may end behind
    return _Sampled((record.id, number, of), codes, None if frames is None else frames[start:end].copy())


def middle(values: np.ndarray) -> tuple[float, float]:
    """Median and spread (one standard deviation of a normal distribution) of values [n], the latter from the lower
    half alone: what is anomalous lies above.
    """
    if not len(values):
        return 0.0, 0.0
    low, median = np.quantile(values, [0.1587, 0.5])
    return float(median), float(median - low)


def _blocks(codes: list[Codes], frames: list[NDArray[np.int16] | None]) -> _Blocks:
    """Counts of blocks that are no neighbours."""
    gap = np.array([UNKNOWN], np.uint8)
    edges = np.cumsum([0, *(len(c) + 1 for c in codes)])
    apart = np.concatenate([x for c in codes for x in (c, gap)])
    words = composition.both_strands(composition.block_counts(composition.hexamers(apart), edges))
    inside = [f for f in frames if f is not None]
    if not inside:
        return _Blocks(words, None, np.ones(len(codes), bool))
    edges = np.cumsum([0, *map(len, inside)])
    return _Blocks(words, composition.block_counts(np.concatenate(inside), edges), np.ones(len(codes), bool))


def _chunks(items: list[_T], size: int) -> Iterator[list[_T]]:
    for a in range(0, len(items), size):
        yield items[a : a + size]
