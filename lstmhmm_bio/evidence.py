"""Evidence from transcripts: introns seen in RNA-seq alignments, as log-odds of splice sites.

How often the true and the other splice site candidates of an annotated genome are seen n times as the end of a spliced
alignment's gap gives, for every n, a log-likelihood ratio log P(n | true site) - log P(n | other candidate) (`fit`).
It is added to the score of the donor or acceptor at that place: evidence shifts the odds and never forces a path. Sites
that were not seen get the (slightly negative) ratio of n = 0, since a gene may not be expressed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .features import Record
from .hmm.grammars import eukaryote_marks
from .hmm.viterbi import UNITS
from .nn.network import CodeMasks
from .scoring import Tracks
from .sequence import EUKARYOTIC_STARTS, Codes, GeneticCode, encode, reverse_complement

#: an intron of a record: 0-based half-open, strand
Intron = tuple[int, int, str]
#: smallest number of reads of each class of support; the first class is "never seen"
SUPPORT = (0, 1, 2, 4, 8, 16, 32)
#: shares of the reads that are kept to fit the weights of shallower sequencing
THINNING = (1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 1024, 1 / 4096)
#: a gap of an alignment is an intron between these lengths
SHORTEST, LONGEST = 20, 500_000
#: bits of SAM flags that rule an alignment out: unmapped, secondary, quality failure, duplicate
_UNFIT = 0x4 | 0x100 | 0x200 | 0x400
_SKIP = 3  # CIGAR operation N
_REFERENCE_OPERATIONS = {0, 2, 3, 7, 8}
_LARGEST_RATIO = 12.0


@dataclass(frozen=True)
class SupportWeights:
    """Log-likelihood ratios (nat) of donors and acceptors by class of support, at several depths of sequencing.

    Attributes:
        depths: spliced reads per million bases of genome, descending.
        donor, acceptor: [depths][len(SUPPORT)].
    """

    depths: tuple[float, ...]
    donor: tuple[tuple[float, ...], ...]
    acceptor: tuple[tuple[float, ...], ...]

    @staticmethod
    def from_card(table: Mapping[str, Any]) -> SupportWeights:
        """From a model card's table `evidence`."""
        donor, acceptor = (tuple(map(tuple, table[kind])) for kind in ("donor", "acceptor"))
        return SupportWeights(tuple(table["depths"]), donor, acceptor)

    def card(self) -> dict[str, Any]:
        """The table `evidence` of a model card."""
        donor, acceptor = ([list(row) for row in rows] for rows in (self.donor, self.acceptor))
        return {"support": list(SUPPORT), "depths": list(self.depths), "donor": donor, "acceptor": acceptor}

    def at(self, depth: float) -> dict[str, NDArray[np.float64]]:
        """Ratios of "donor" and "acceptor" at the nearest depth, [len(SUPPORT)] each."""
        level = int(np.argmin(np.abs(np.log(self.depths) - np.log(max(depth, 1e-9)))))
        return {"donor": np.array(self.donor[level]), "acceptor": np.array(self.acceptor[level])}


def support_class(reads: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index into `SUPPORT` of numbers of reads."""
    return np.searchsorted(SUPPORT, reads, side="right") - 1


@dataclass(frozen=True)
class IntronEvidence:
    """Introns seen in transcripts.

    Attributes:
        by_record: the introns of each record, with the number of reads that support each.
        depth: spliced reads per million bases of the genome.
    """

    by_record: Mapping[str, Counter[Intron]]
    depth: float

    @staticmethod
    def read(
        paths: Sequence[str | Path], *, sequences: Mapping[str, Codes], reference: str | None = None
    ) -> IntronEvidence:
        """Introns of alignments (BAM, CRAM, SAM) and of GFF files with `intron` rows, added up.

        Args:
            paths: the files.
            sequences: codes of the records, to tell the strand by the splice sites where the aligner does not.
            reference: FASTA of a CRAM.

        Raises:
            InputError: a file that is neither, names none of the records, or cannot be read.
        """
        total: defaultdict[str, Counter[Intron]] = defaultdict(Counter)
        for path in paths:
            found = _of_gff(Path(path)) if is_gff(path) else _of_alignments(str(path), sequences, reference)
            if found and not any(seqid in sequences for seqid in found):
                raise InputError(f"{path}: none of its sequence names is in the genome; they must match")
            for seqid, introns in found.items():
                total[seqid].update(introns)
        bases = sum(len(codes) for codes in sequences.values())
        reads = sum(sum(introns.values()) for introns in total.values())
        return IntronEvidence(dict(total), 1e6 * reads / max(bases, 1))

    def within(self, seqid: str, start: int, end: int, *, name: str) -> IntronEvidence:
        """What is inside a stretch of a record, for the record of that stretch alone, which has a name of its own."""
        introns = self.by_record.get(seqid, {}).items()
        inside = {(s - start, e - start, strand): n for (s, e, strand), n in introns if start <= s and e <= end}
        return IntronEvidence({name: Counter(inside)}, self.depth)

    def thinned(self, share: float, rng: np.random.Generator) -> IntronEvidence:
        """What less sequencing would have shown: each read is kept with a probability."""
        kept = {
            seqid: Counter({i: n for i, reads in introns.items() if (n := int(rng.binomial(reads, share)))})
            for seqid, introns in self.by_record.items()
        }
        return IntronEvidence(kept, share * self.depth)

    def sites(self, seqid: str, length: int, *, around: int = 0) -> dict[str, NDArray[np.int64]]:
        """Reads at the first ("donor") and the last ("acceptor") base of introns: [2, length] each, every strand in its
        own 5' to 3' orientation.

        Args:
            seqid: record.
            length: its bases.
            around: how many of these a circular record was read on for, before its first base and behind its last; its
                introns are seen in every turn.
        """
        out = {kind: np.zeros((2, length), np.int64) for kind in ("donor", "acceptor")}
        turn = length - 2 * around
        for (start, end, strand), reads in self.by_record.get(seqid, {}).items():
            if start >= turn or end - start > turn or (end > turn and not around):
                continue
            row = "+-".index(strand)
            for s in range((start + around) % turn, length - (end - start) + 1, turn):
                e = s + end - start
                first, last = (s, e - 1) if row == 0 else (length - e, length - 1 - s)
                out["donor"][row, first] += reads
                out["acceptor"][row, last] += reads
        return out

    def add_to(
        self, record: Record, tracks: Tracks, sites: Sequence[str], weights: SupportWeights, *, around: int = 0
    ) -> None:
        """Adds the evidence to the scores of a record's donors and acceptors (in place).

        Args:
            record: the sequence.
            tracks: its scores.
            sites: names of the columns of `tracks.sites`.
            weights: of the model.
            around: as for `sites`.
        """
        reads = self.sites(record.id, len(record), around=around)
        for kind, ratios in weights.at(self.depth).items():
            column = tracks.sites[..., sites.index(kind)]
            bonus = np.rint(ratios[support_class(reads[kind])] * UNITS)
            limit = np.iinfo(column.dtype).max
            column[:] = np.clip(column + bonus, -limit, limit).astype(column.dtype)

    def support(self, seqid: str, introns: Iterable[tuple[int, int]], strand: str) -> int:
        """How many of some introns were seen."""
        seen = self.by_record.get(seqid, Counter())
        return sum((start, end, strand) in seen for start, end in introns)


_Found = defaultdict[str, Counter[Intron]]


def is_gff(path: str | Path) -> bool:
    """Whether a file of evidence is one with rows of introns, by its name."""
    return any(suffix in (".gff", ".gff3", ".gtf") for suffix in Path(path).suffixes)


def _of_gff(path: Path) -> _Found:
    """`intron` rows; the score column is the number of reads, 1 where it is empty."""
    from .io.compression import open_input

    found: _Found = defaultdict(Counter)
    with open_input(str(path)) as stream:
        for number, line in enumerate(stream, 1):
            columns = line.decode(errors="replace").rstrip("\r\n").split("\t")
            if line.startswith(b"#") or len(columns) < 8 or columns[2] != "intron":
                continue
            try:
                start, end = int(columns[3]) - 1, int(columns[4])
                reads = 1 if columns[5] == "." else round(float(columns[5]))
            except ValueError:
                raise InputError(f"{path} line {number}: coordinates or score are no numbers") from None
            if columns[6] in "+-":
                found[columns[0]][(start, end, columns[6])] += reads
    if not found:
        raise InputError(f"{path}: holds no intron row with a strand")
    return found


def _of_alignments(path: str, sequences: Mapping[str, Codes], reference: str | None) -> _Found:
    """Gaps of spliced primary alignments; their strand by the tag XS or ts, else by the splice sites."""
    from .io.alignments import open_alignments

    found: _Found = defaultdict(Counter)
    with open_alignments(path, reference=reference, failure="not readable as BAM, CRAM or SAM") as alignments:
        for read in alignments.fetch(until_eof=True):
            if read.flag & _UNFIT or not read.cigartuples:
                continue
            position = read.reference_start
            for operation, length in read.cigartuples:
                if operation == _SKIP and SHORTEST <= length <= LONGEST:
                    strand = _strand_of(read, position, position + length, sequences)
                    if strand:
                        found[str(read.reference_name)][(position, position + length, strand)] += 1
                if operation in _REFERENCE_OPERATIONS:
                    position += length
    return found


#: splice sites that tell the strand: first two and last two bases of the intron on the forward strand
_MOTIFS = {
    ("GT", "AG"): "+", ("GC", "AG"): "+", ("AT", "AC"): "+", ("CT", "AC"): "-", ("CT", "GC"): "-", ("GT", "AT"): "-",
}  # fmt: skip
_MOTIF_CODES = {(tuple(encode(a).tolist()), tuple(encode(b).tolist())): s for (a, b), s in _MOTIFS.items()}


def _strand_of(read: Any, start: int, end: int, sequences: Mapping[str, Codes]) -> str:
    """The strand, "" where nothing tells it."""
    if read.has_tag("XS"):
        tag = read.get_tag("XS")
        return tag if tag in ("+", "-") else ""
    if read.has_tag("ts"):  # minimap2: strand of the transcript relative to the read
        tag = read.get_tag("ts")
        if tag in ("+", "-"):
            return tag if not read.is_reverse else {"+": "-", "-": "+"}[tag]
    codes = sequences.get(read.reference_name)
    if codes is None or end > len(codes):
        return ""
    key = (tuple(codes[start : start + 2].tolist()), tuple(codes[end - 2 : end].tolist()))
    return _MOTIF_CODES.get(key, "")


def fit(
    records: Sequence[Record], introns: Mapping[str, Iterable[Intron]], evidence: IntronEvidence, *, seed: int = 1
) -> SupportWeights:
    """Weights from an annotated genome and its own evidence, at its depth and thinned to lower ones.

    Args:
        records: sequences.
        introns: annotated introns between CDS segments, by record; all other candidate sites are "other".
        evidence: what the alignments show.
        seed: of the thinning.
    """
    rng = np.random.default_rng(seed)
    levels = [evidence] + [evidence.thinned(share, rng) for share in THINNING]
    tables = [_ratios(records, introns, level) for level in levels]
    return SupportWeights(
        tuple(round(level.depth, 1) for level in levels),
        tuple(t["donor"] for t in tables),
        tuple(t["acceptor"] for t in tables),
    )


def _ratios(
    records: Iterable[Record], introns: Mapping[str, Iterable[Intron]], evidence: IntronEvidence
) -> dict[str, tuple[float, ...]]:
    true, other = ({kind: np.full(len(SUPPORT), 0.5) for kind in ("donor", "acceptor")} for _ in range(2))
    masks = CodeMasks.of(GeneticCode.from_number(1, EUKARYOTIC_STARTS))
    for record in records:
        known = IntronEvidence({record.id: Counter(introns.get(record.id, ()))}, 0.0)
        annotated, seen = (e.sites(record.id, len(record)) for e in (known, evidence))
        marks = eukaryote_marks.marks(np.stack([record.codes, reverse_complement(record.codes)]), masks)
        for kind, mark in (("donor", eukaryote_marks.DONOR_HERE), ("acceptor", eukaryote_marks.ACCEPTOR_ENDS_HERE)):
            classes, candidate = support_class(seen[kind]), (marks & mark) != 0
            right = annotated[kind] > 0
            true[kind] += np.bincount(classes[candidate & right], minlength=len(SUPPORT))
            other[kind] += np.bincount(classes[candidate & ~right], minlength=len(SUPPORT))
    out = {}
    for kind in true:
        values = np.log(true[kind] / true[kind].sum()) - np.log(other[kind] / other[kind].sum())
        values[1:] = np.maximum.accumulate(values[1:])  # more reads never speak less for an intron
        out[kind] = tuple(round(float(v), 4) for v in np.clip(values, -_LARGEST_RATIO, _LARGEST_RATIO))
    return out
