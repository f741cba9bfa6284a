"""Gene annotation: the pipeline from records to genes, as a library.

    model = load_model()
    annotator = Annotator(model)
    calibration = annotator.calibrate(read_records("genome.fa"))
    for annotation in annotator.annotate(read_records("genome.fa"), calibration):
        ...

Two passes (self-calibration): the first decodes a sample of the genome with tables expected from its GC content, and
counts codon usage and start context on the confident genes it finds; the second decodes everything with these tables.
In metagenomes, where every record may come from another organism, records that are alike share a calibration
(`calibrate_groups`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import calibration as cal
from . import genetic_code as code_of_genes
from .calibration import Calibration, Counts
from .confidence import Confidence
from .decoding import Decoded, Weights, decode_records, log_partitions
from .errors import UsageError
from .evidence import IntronEvidence, SupportWeights
from .features import Annotation, Gene, Record
from .genes import genes_of, groups_read, with_alternative_starts
from .genetic_code import CodeEvidence
from .hash_sample import Piece, sample_by_hash
from .metagenome import AnyCalibration, GroupedCalibration, compositions, tables_by_record, word_counts
from .model import Model, with_at_ac_introns
from .parts import Part, by_record, joined_genes, parts_of, whole
from .scoring import Scorer, Tracks
from .sequence import Codes, GeneticCode, Segments, base_counts, own_segments, reverse_complement
from .windows import CORE, windows_of

#: shortest gene reported, in bases, stop codon included (Prodigal's limits): whole, and running off a record
MIN_LENGTH = 90
MIN_LENGTH_PARTIAL = 60
#: the first pass reads a sample in pieces of this many bases, exactly one window of the network
PIECE = CORE
#: bases that are decoded and counted in each of its rounds, each with the tables of the round before, by kind of model
ROUNDS = {"bacteria": (16 * PIECE, 48 * PIECE), "eukaryote": (24 * PIECE,)}
SAMPLE = max(map(max, ROUNDS.values()))
#: of a metagenome: so many pieces, most of them whole records, of at most so many bases
META_SAMPLE = 4096
META_BASES = 4_000_000
META_ROUNDS = 2
#: bases that the choice of a model looks at
BASES_TO_CHOOSE = 8 * PIECE
#: a gene of the first pass teaches the tables if it is at least this sure and this long
CONFIDENT = 0.9
CONFIDENT_LENGTH = 180
CONFIDENT_START = 0.6
#: shorter genomes hold too few genes to learn from: a first pass would only confirm its own mistakes
ENOUGH_TO_CALIBRATE = 100_000
#: a circular record is read on for this many bases beyond both of its ends
AROUND = 12_000
#: records, or their parts, are handled in groups of about this many bases
GROUP = 4_000_000


class Sample(NamedTuple):
    """What the first pass and the choice of a model read of an input, a pure function of all its records.

    Attributes:
        pieces: some of its pieces of `PIECE` bases, long ones first, else by a hash of their place.
        histogram: [5] how often each code occurs in everything.
    """

    pieces: list[Record]
    histogram: NDArray[np.int64]


class Annotator:
    """Finds genes with one model under one genetic code.

    Args:
        model: from `load_model`.
        genetic_code: NCBI table number (default: the model's usual one).
        min_length: shortest gene reported, bases; partial genes may be a third shorter.
        min_score: lowest score of a gene reported.
        alternative_starts: report the other likely start codons of each bacterial gene.
        coding: give the probability that each base is coding.
        at_ac_introns: whether to look for introns from AT to AC, too (default: as the model's card says).

    Raises:
        UsageError: `at_ac_introns`, and a model without introns.
    """

    def __init__(
        self,
        model: Model,
        *,
        genetic_code: int | None = None,
        min_length: int = MIN_LENGTH,
        min_score: float = 0.0,
        alternative_starts: bool = False,
        coding: bool = False,
        at_ac_introns: bool | None = None,
    ) -> None:
        self.model = model = model if at_ac_introns is None else with_at_ac_introns(model, wanted=at_ac_introns)
        self.min_length, self.min_score = min_length, min_score
        self.alternative_starts, self.coding = alternative_starts, coding
        self.code = GeneticCode.from_number(genetic_code or model.genetic_code, model.grammar.start_codons)
        self._scorer = Scorer(model, self.code)
        self._weights = Weights.of(model.grammar, model.params.transitions)

    def with_code(self, genetic_code: int) -> Annotator:
        """The same under another genetic code."""
        return Annotator(
            self.model,
            genetic_code=genetic_code,
            min_length=self.min_length,
            min_score=self.min_score,
            alternative_starts=self.alternative_starts,
            coding=self.coding,
        )

    def calibrate(self, records: Iterable[Record]) -> Calibration:
        """First pass: the genome's own tables, a pure function of all its records."""
        return self._learn(records)[0]

    def calibrate_and_check(self, records: Iterable[Record]) -> tuple[Calibration, CodeEvidence]:
        """`calibrate`, and what the sample's genes say of the genetic code (nothing where they are too few)."""
        calibration, genes, before = self._learn(records)
        return calibration, code_of_genes.evidence(genes, before.tables(self.model.prior).hexamers)

    def calibrate_groups(self, records: Iterable[Record]) -> GroupedCalibration:
        """First pass over a metagenome: tables for groups of records that are alike, a pure function of all records."""
        sample, histogram = sample_of(records, META_SAMPLE)
        if histogram[:4].sum() < ENOUGH_TO_CALIBRATE:
            return GroupedCalibration.empty(self.code.number)
        sample = _first(sample, META_BASES)
        words = np.stack([word_counts(piece.codes) for piece in sample])
        composition = compositions(words)
        groups = composition.groups_of(words)
        histograms = np.zeros((len(composition.shares), 5), np.int64)
        for group, piece in zip(groups.tolist(), sample, strict=True):
            histograms[group] += base_counts(piece.codes)
        calibration = GroupedCalibration.empty(self.code.number)
        for _ in range(META_ROUNDS):
            found: list[list[tuple[Record, list[Gene]]]] = [[] for _ in composition.shares]
            for group, of_piece in zip(groups.tolist(), self._first_pass(sample, calibration), strict=True):
                found[group].append(of_piece)
            calibrations = (
                Calibration(self._count(of_group), cal.gc_of(h), self.code.number)
                for of_group, h in zip(found, histograms, strict=True)
            )
            calibration = GroupedCalibration(composition, tuple(calibrations), self.code.number)
        return calibration

    def _learn(self, records: Iterable[Record]) -> tuple[Calibration, list[tuple[Record, list[Gene]]], Calibration]:
        """A calibration, the genes of the last round and the calibration that these were found with."""
        sample, histogram = sample_of(records)
        calibration = before = Calibration.expected(cal.gc_of(histogram), self.code.number)
        genes: list[tuple[Record, list[Gene]]] = []
        for bases in ROUNDS[self.model.grammar.kind] if histogram[:4].sum() >= ENOUGH_TO_CALIBRATE else ():
            before = calibration
            genes = list(self._first_pass(_first(sample, bases), before))
            calibration = replace(before, counts=self._count(genes))
        return calibration, genes, before

    def fit_of_sample(self, sample: Sample) -> tuple[float, float]:
        """How well the model explains a sample, in nat per 1000 bases (see `model_choice`).

        Returns:
            Mean log probability of the sample's hexamers by the model's prior; log odds of genes against none.
        """
        pieces, gc = _first(sample.pieces, BASES_TO_CHOOSE), cal.gc_of(sample.histogram)
        calibration = Calibration.expected(gc, self.code.number)
        hexamers = sum((cal.background_counts(piece.codes) for piece in pieces), np.zeros(cal.HEXAMERS, np.float32))
        composition = float(hexamers @ np.log(self.model.prior.at(gc).background)) / max(float(hexamers.sum()), 1)
        total = sum(
            float(log_partitions(group, tracks, self.code, self.model.grammar, self._weights).sum())
            for _, group, tracks in self._scored(map(whole, pieces), calibration)
        )
        return 1000 * composition, 1000 * total / max(sum(map(len, pieces)), 1)

    def _count(self, found: Iterable[tuple[Record, list[Gene]]]) -> Counts:
        """Counts over some pieces and their genes."""
        background = np.zeros(cal.HEXAMERS, np.float32)
        sure: list[tuple[Codes, Segments]] = []
        has_start, introns, coding = [], 0.0, 0
        for record, genes in found:
            background += cal.background_counts(record.codes)
            strands = {"+": record.codes, "-": reverse_complement(record.codes)}
            for g in genes:
                # sure genes are mostly those without introns: expected introns of all genes instead
                introns += sum(min(pair) for pair in pairwise(g.exon_scores))
                coding += g.length
                if g.score >= CONFIDENT and g.has_stop and g.length >= CONFIDENT_LENGTH:
                    sure.append((strands[g.strand], own_segments(g.segments, g.strand, len(record))))
                    has_start.append(g.has_start and g.start_score >= CONFIDENT_START)
        counts = cal.count_spliced(sure, np.array(has_start, bool), self.code)
        return replace(counts, background=background, introns=np.array([introns, coding / 3], np.float32))

    def decode(
        self, records: Iterable[Record], calibration: AnyCalibration, evidence: IntronEvidence | None = None
    ) -> Iterator[tuple[Part, Decoded]]:
        """Second pass: best path and posteriors of each record, in input order; of long ones of each part.

        Args:
            records: sequences.
            calibration: of the genome or metagenome they belong to; None: each record by its own GC content.
            evidence: introns seen in transcripts.

        Raises:
            UsageError: evidence, and a model without introns.
        """
        return self._decode(records, calibration, evidence, unrolled=False, groups=())

    def _decode(
        self,
        records: Iterable[Record],
        calibration: AnyCalibration,
        evidence: IntronEvidence | None,
        *,
        unrolled: bool,
        groups: Sequence[str],
    ) -> Iterator[tuple[Part, Decoded]]:
        """`decode`; with `unrolled` the circular ones of the records are; `groups` as for `decode_records`."""
        weights = self._support_weights() if evidence else None
        parts = (part for record in records for part in parts_of(record))
        for group, pieces, tracks in self._scored(parts, calibration):
            if evidence and weights:
                for part, piece, scores in zip(group, pieces, tracks, strict=True):
                    around = AROUND if unrolled and piece.circular and len(piece) else 0
                    seen = evidence
                    if piece is not part.record:
                        seen = evidence.within(piece.id, part.start, part.start + len(piece), name=piece.id)
                    seen.add_to(piece, scores, self.model.config.sites, weights, around=around)
            decoded = decode_records(pieces, tracks, self.code, self.model.grammar, self._weights, groups)
            yield from zip(group, decoded, strict=True)
            del tracks, decoded  # before the next are scored

    def _first_pass(self, sample: Iterable[Record], calibration: AnyCalibration) -> Iterator[tuple[Record, list[Gene]]]:
        """Genes of a sample, by the grammar that posteriors are computed with: it is the faster one."""
        grammar = self.model.grammar.smaller
        weights = Weights.of(grammar, self.model.params.transitions)
        for _, pieces, tracks in self._scored(map(whole, sample), calibration):
            for decoded in decode_records(pieces, tracks, self.code, grammar, weights, groups_read(grammar.kind)):
                yield decoded.record, genes_of(decoded, self.code)
            del tracks

    def _scored(
        self, parts: Iterable[Part], calibration: AnyCalibration
    ) -> Iterator[tuple[list[Part], list[Record], list[Tracks]]]:
        """Groups of parts, their pieces and the scores of these."""
        tables_of = tables_by_record(calibration, self.model.prior, self.code.number)
        for group in _groups(parts):
            pieces = [part.piece for part in group]
            yield group, pieces, self._scorer(pieces, tables_of)

    def _support_weights(self) -> SupportWeights:
        if "evidence" not in self.model.card:
            raise UsageError(f"the model {self.model.name} has no weights for evidence from transcripts")
        return SupportWeights.from_card(self.model.card["evidence"])

    def annotate(
        self, records: Iterable[Record], calibration: AnyCalibration, evidence: IntronEvidence | None = None
    ) -> Iterator[Annotation]:
        """Second pass: the genes of each record, in input order; arguments as for `decode`.

        A circular record has no ends: a gene over its origin is one gene, with an end beyond the record's length.
        """
        originals: deque[Record] = deque()
        confidence = Confidence.from_card(self.model.card)

        def unrolled() -> Iterator[Record]:
            for record in records:
                originals.append(record)
                yield _unrolled(record) if record.circular else record

        def found() -> Iterator[tuple[Part, tuple[list[Gene], NDArray[np.float32] | None]]]:
            groups = () if self.coding else groups_read(self.model.grammar.kind)
            for part, decoded in self._decode(unrolled(), calibration, evidence, unrolled=True, groups=groups):
                genes = genes_of(decoded, self.code)
                if self.alternative_starts:
                    genes = with_alternative_starts(genes, decoded, self.code)
                coding = decoded.coding[part.inner] if self.coding else None
                del decoded  # before the next is decoded
                yield part, (genes, coding)

        for _, in_parts in by_record(found()):
            record = originals.popleft()
            genes = joined_genes([(part, of_part) for part, (of_part, _) in in_parts])
            if record.circular:
                genes = _rolled_up(genes, len(record))
            if confidence:
                genes = [confidence.of(gene) for gene in genes]
            kept = (g for g in genes if self._long_enough(g) and g.score >= self.min_score)
            if evidence:
                kept = (_with_support(g, evidence, len(record)) for g in kept)
            tracks = [track for _, (_, track) in in_parts if track is not None]
            coding = np.concatenate(tracks) if tracks else None
            if coding is not None and record.circular:
                coding = coding[AROUND : AROUND + len(record)]
            yield Annotation(record, tuple(kept), coding)

    def _long_enough(self, gene: Gene) -> bool:
        whole = gene.has_start and gene.has_stop
        return gene.length >= (self.min_length if whole else self.min_length * MIN_LENGTH_PARTIAL // MIN_LENGTH)


def _unrolled(record: Record) -> Record:
    """A circular record with its own bases before and after it."""
    index = np.arange(-AROUND, len(record) + AROUND) % max(len(record), 1)
    return replace(record, codes=record.codes[index] if len(record) else record.codes)


def _rolled_up(genes: list[Gene], length: int) -> list[Gene]:
    """Genes of an unrolled record in the coordinates of the record of some length: those that begin in it."""
    back = (g.moved(-AROUND) for g in genes)
    back = (
        replace(g, alternative_starts=tuple((at % length, share) for at, share in g.alternative_starts)) for g in back
    )
    return [g for g in back if 0 <= g.start < length and g.end - g.start <= length]


def _with_support(gene: Gene, evidence: IntronEvidence, length: int) -> Gene:
    """The gene with the number of its introns that were seen; behind a circle's origin they lie in its next turn."""
    introns = [(s % length, s % length + e - s) for s, e in gene.introns]
    return replace(gene, supported_introns=evidence.support(gene.seqid, introns, gene.strand))


def _groups(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Consecutive parts of records, together at least `GROUP` bases."""
    group: list[Part] = []
    bases = 0
    for part in parts:
        group.append(part)
        bases += len(part.piece)
        if bases >= GROUP:
            yield group
            group, bases = [], 0
    if group:
        yield group


def sample_of(records: Iterable[Record], pieces: int | None = None) -> Sample:
    """The sample of some records; it reads them once.

    Args:
        records: all of an input.
        pieces: how many it holds at most, whatever their length; by default it is `SAMPLE` bases of the longest, which
            hold most and need few programs.
    """
    histogram = np.zeros(5, np.int64)

    def cut() -> Iterator[Piece[Record]]:
        for record in records:
            histogram[:] += base_counts(record.codes)
            length = min(len(record), PIECE)
            rank, weight = 0, 1
            if length and pieces is None:
                # of a longer window first; what holds no gene counts as if it did, so that there are never too many
                rank, weight = windows_of(0, length)[0].size, max(length, MIN_LENGTH)
            for n in range(-(-len(record) // PIECE)):
                yield Piece(record.id, n, partial(_cut, record, n), rank, weight)

    return Sample(sample_by_hash(cut(), SAMPLE if pieces is None else pieces), histogram)


def _first(sample: list[Record], bases: int) -> list[Record]:
    """As many pieces of a sample as it takes to reach so many bases."""
    ends = np.cumsum([len(piece) for piece in sample])
    return sample[: int(np.searchsorted(ends, bases)) + 1]


def _cut(record: Record, number: int) -> Record:
    """A piece of a record; a copy, so that the record need not stay. The last one laps over the one before: a shorter
    one would need programs of its own, which take longer to load than all of the sample takes to read.
    """
    start = min(number * PIECE, max(len(record) - PIECE, 0))
    return Record(f"{record.id}:{number}", record.codes[start : start + PIECE].copy())
