"""Labelled genomes and the windows that training draws from them.

A genome's labels are bit sets of allowed HMM states, per base and strand: certain where the annotation is, open ("any
state") where it is not (see `labelling`).

The calibration tables of a window must not have seen the window's own genes, or the network learns to trust tables
more than new genomes deserve. They come from a random stretch of the same genome, 10 kb to all of it, that keeps
50 kb away, with some false genes and false starts mixed in; some windows get the prior's tables alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .. import calibration
from ..calibration import COUNTED, Counts, Prior, Tables, pack, unpack
from ..sequence import Codes, GeneticCode, Segments, reverse_complement

BLOCK = 8192  # bases per unit of calibration counts
CLEARANCE = 50_000  # bases kept between a window and the genes its tables were counted on,
MIN_CLEARANCE = 5_000  # less in short records; a gene counts where its middle is, so half of a long one
PRIOR_ONLY = 0.2  # share of neighbourhoods with the prior's tables
MAX_FALSE_INTRONS = 1e-4  # per codon, among the genes that tables are counted on
SHORT = 0.25  # share of windows cut to a random shorter length, as short contigs are


@dataclass(frozen=True)
class LabeledRecord:
    """One sequence with its labels.

    Attributes:
        id: name or accession.
        codes: [length] uint8.
        allowed: [2, length] state bit sets (uint16 or uint32); row 1 in the reverse complement's own coordinates.
        blocks: [blocks + 1, width] running sums of calibration counts over blocks of `BLOCK` bases.
    """

    id: str
    codes: Codes
    allowed: NDArray[np.unsignedinteger]
    blocks: NDArray[np.float32]


@dataclass(frozen=True)
class LabeledGenome:
    """A training genome.

    Attributes:
        name: of the genome.
        clade: genomes of one clade share a weight, and the prior of one leaves out the others.
        records: its sequences.
        genetic_code: NCBI number.
        gc: GC content in [0, 1].
        genes: number of labelled genes.
        introns: their introns' lengths, ascending.
        untranslated: bases of exons before and behind the CDS of transcripts, where the annotation has them.
        unrepresentable: genes the grammar cannot say, by reason.
    """

    name: str
    clade: str
    records: tuple[LabeledRecord, ...]
    genetic_code: int
    gc: float
    genes: int
    introns: tuple[int, ...] = ()
    untranslated: tuple[tuple[int, int], ...] = ()
    unrepresentable: dict[str, int] = field(default_factory=dict)

    @property
    def bases(self) -> int:
        return sum(len(r.codes) for r in self.records)

    @property
    def counts(self) -> Counts:
        """Calibration counts of the whole genome."""
        return unpack(np.sum([r.blocks[-1] for r in self.records], axis=0))


def block_sums(codes: Codes, chains: Mapping[str, Sequence[Segments]], code: GeneticCode) -> NDArray[np.float32]:
    """Running sums of calibration counts over blocks, `LabeledRecord.blocks`.

    Args:
        codes: [length] uint8.
        chains: per strand, "+" or "-", the CDS to count, in its own coordinates; each in the block of its middle.
        code: genetic code.
    """
    length = len(codes)
    blocks = -(-length // BLOCK)
    sums = np.zeros((blocks + 1, COUNTED), np.float32)
    for b in range(blocks):
        background = calibration.background_counts(codes[b * BLOCK : (b + 1) * BLOCK])
        sums[b + 1] = pack(replace(Counts.zeros(), background=background))
    for strand, own_chains in chains.items():
        own = codes if strand == "+" else reverse_complement(codes)
        by_block: dict[int, list[Segments]] = {}
        for chain in own_chains:
            middle = (chain[0][0] + chain[-1][1]) // 2
            by_block.setdefault((middle if strand == "+" else length - 1 - middle) // BLOCK, []).append(chain)
        for b, members in by_block.items():
            genes = [(own, chain) for chain in members]
            sums[b + 1] += pack(calibration.count_spliced(genes, np.ones(len(genes), bool), code))
    return np.cumsum(sums, axis=0)


@dataclass(frozen=True)
class Batch:
    """Training windows, ready for the network.

    Attributes:
        codes: [n, time] uint8.
        allowed: [2 n, time] state bit sets, reverse complements below, each in its own orientation; 0 at padding.
        lengths: [n] int32 real bases.
        tables: with a leading axis of n.
    """

    codes: NDArray[np.uint8]
    allowed: NDArray[np.unsignedinteger]
    lengths: NDArray[np.int32]
    tables: Tables


class WindowSampler:
    """Draws batches of windows; all windows of a batch share one genetic code.

    Genomes are drawn by the square root of their size, shared within a clade, so that neither six strains of one
    genus nor the largest genome dominate.

    Args:
        genomes: to draw from.
        window: bases a window.
        batch: windows a batch, a multiple of per_table.
        per_table: windows drawn from one neighbourhood, which share calibration tables.
        prior_only: share of neighbourhoods with the prior's tables, as contigs of metagenomes have.
        short: share of windows cut to a random shorter length, as short contigs are.
    """

    #: the middles of windows lie within so many window lengths of the middle of their neighbourhood
    reach = 2.0

    def __init__(
        self,
        genomes: Sequence[LabeledGenome],
        *,
        window: int,
        batch: int,
        per_table: int = 4,
        prior_only: float = PRIOR_ONLY,
        short: float = SHORT,
    ) -> None:
        self.genomes, self.window, self.batch, self.per_table = genomes, window, batch, per_table
        self.prior_only, self.short = prior_only, short
        clades = Counter(g.clade for g in genomes)
        weight = np.array([np.sqrt(g.bases) / clades[g.clade] for g in genomes])
        # archaea are half of the training genomes and a smaller part of what people sequence
        weight *= [0.5 if g.clade.startswith("arc_") else 1.0 for g in genomes]
        self.weights = weight / weight.sum()
        self.genetic_codes = sorted({g.genetic_code for g in genomes})
        everything = [g.counts for g in genomes]
        self.prior = Prior.fit(everything, [g.gc for g in genomes], [1 / clades[g.clade] for g in genomes])
        self._priors = [self._prior_without(g, everything) for g in genomes]

    def _prior_without(self, genome: LabeledGenome, counts: list[Counts]) -> Counts:
        others = [i for i, g in enumerate(self.genomes) if g.clade != genome.clade] or [0]
        return Prior.fit([counts[i] for i in others], [self.genomes[i].gc for i in others]).at(genome.gc)

    def draw(self, rng: np.random.Generator) -> tuple[Batch, int]:
        """One batch and its genetic code."""
        first = self.genomes[rng.choice(len(self.genomes), p=self.weights)]
        same = [i for i, g in enumerate(self.genomes) if g.genetic_code == first.genetic_code]
        p = self.weights[same] / self.weights[same].sum()
        rows = []
        for index in rng.choice(same, self.batch // self.per_table, p=p):
            rows += self._draw_near(int(index), rng)
        codes, forward, backward, lengths, tables = zip(*rows, strict=True)
        allowed = np.concatenate([np.stack(forward), np.stack(backward)])
        stacked = Tables.stack(tables)
        return Batch(np.stack(codes), allowed, np.array(lengths, np.int32), stacked), first.genetic_code

    def _draw_near(self, index: int, rng: np.random.Generator) -> list[tuple]:
        """Windows from one neighbourhood of a genome, which share tables."""
        genome = self.genomes[index]
        record, centre = self._place(index, rng)
        length, w = len(record.codes), self.window
        tables = self._tables(index, genome, record, centre, rng)
        out = []
        for _ in range(self.per_table):
            size = min(w, length)
            if length < w:
                # always: where such records hold one gene each, their ends would tell where genes begin
                size = int(rng.integers(length // 2, length + 1))
            elif rng.random() < self.short:
                size = int(rng.integers(120, max(size, 121)))
            near = centre + int(rng.integers(-int(self.reach * w), int(self.reach * w)))
            start = int(
                np.clip(near - size // 2, 0, length - size) if length > w else rng.integers(0, length - size + 1)
            )
            codes = np.full(w, 4, np.uint8)
            codes[:size] = record.codes[start : start + size]
            forward, backward = np.zeros((2, w), record.allowed.dtype)
            forward[:size] = record.allowed[0, start : start + size]
            # the reverse complement of the padded window begins with the padding
            backward[w - size :] = record.allowed[1, length - start - size : length - start]
            out.append((codes, forward, backward, size, tables))
        return out

    def _place(self, index: int, rng: np.random.Generator) -> tuple[LabeledRecord, int]:
        """A record of a genome, drawn by size, and a position on it."""
        genome = self.genomes[index]
        sizes = np.array([len(r.codes) for r in genome.records], float)
        record = genome.records[rng.choice(len(sizes), p=sizes / sizes.sum())]
        return record, int(rng.integers(0, len(record.codes)))

    def _tables(
        self, index: int, genome: LabeledGenome, record: LabeledRecord, centre: int, rng: np.random.Generator
    ) -> Tables:
        prior = self._priors[index]
        counts = Counts.zeros()
        if rng.random() >= self.prior_only:
            # windows lie within two window sizes of the centre, see `_draw_near`, by their middle
            flat = _sample_blocks(record.blocks, centre, len(record.codes), -(-5 * self.window // 2), rng)
            if flat.sum() < 1e3 and len(genome.records) > 1:  # a short record: use others
                flat = _sample_records(genome.records, record, rng)
            counts = _add_noise(unpack(flat), rng)
        return calibration.tables(counts, prior, genome.gc)


def _sample_blocks(
    blocks: NDArray[np.float32], centre: int, length: int, reach: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Counts of a random stretch of blocks that keeps clear of the windows around a centre."""
    n = len(blocks) - 1
    clear = max(min(CLEARANCE, length // 8), MIN_CLEARANCE) + reach
    first, last = max(0, (centre - clear) // BLOCK), min(n, -(-(centre + clear) // BLOCK))
    usable = n - (last - first)
    if usable <= 0:
        return np.zeros(blocks.shape[1], np.float32)
    wanted = int(np.exp(rng.uniform(np.log(1.0), np.log(usable + 1))))
    begin = int(rng.integers(0, usable - wanted + 1)) + last  # blocks after the gap, going round the end
    end = begin + wanted

    def up_to(i: int) -> NDArray[np.float32]:
        return blocks[i] if i <= n else blocks[n] + blocks[i - n]

    return up_to(end) - up_to(begin)


def _sample_records(
    records: Sequence[LabeledRecord], without: LabeledRecord, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Counts of some records, 1 to all, without one."""
    order = rng.permutation(len(records))
    wanted = int(np.exp(rng.uniform(0, np.log(len(records)))))
    chosen = [records[i] for i in order[: wanted + 1] if records[i] is not without]
    return np.sum([r.blocks[-1] for r in chosen[:wanted]], axis=0)


def _add_noise(counts: Counts, rng: np.random.Generator) -> Counts:
    """False genes, starts and introns, as a first pass over a new genome would leave them."""
    wrong, shifted = rng.uniform(0, 0.1), rng.uniform(0, 0.3)
    introns, codons = counts.introns
    background = counts.background / max(counts.background.sum(), 1)
    coding = (1 - wrong) * counts.coding + wrong * counts.coding.sum() * background

    def shift(true: NDArray[np.float32], false: NDArray[np.float32]) -> NDArray[np.float32]:
        return (1 - shifted) * true + shifted * false * (true.sum() / max(false.sum(), 1))

    return Counts(
        coding.astype(np.float32),
        counts.background,
        shift(counts.upstream, counts.false_upstream),
        counts.false_upstream,
        shift(counts.context, counts.false_context),
        counts.false_context,
        np.array([introns * rng.uniform(0.7, 1.5) + codons * rng.uniform(0, MAX_FALSE_INTRONS), codons], np.float32),
    )
