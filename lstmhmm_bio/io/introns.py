"""Introns seen in transcripts: gaps of spliced alignments (BAM, CRAM, SAM), `intron` rows of GFF files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..sequence import Codes, encode
from .alignments import ALIGNED, SKIPPED, UNFIT, open_alignments, spans
from .compression import open_input
from .coverage import Coverage

#: an intron of a record: 0-based half-open, strand
Intron = tuple[int, int, str]
#: reads by intron and record
Introns = defaultdict[str, Counter[Intron]]
#: reads that are not spliced where an intron of others ends, by record and that place (between it and the base before)
UnsplicedReads = dict[str, Counter[int]]

#: a gap of an alignment is an intron between these lengths
SHORTEST, LONGEST = 20, 500_000


def read_introns(
    paths: Sequence[str | Path], *, sequences: Mapping[str, Codes], reference: str | None = None
) -> tuple[Introns, UnsplicedReads]:
    """Introns of some files, added up, and the unspliced reads over their ends.

    Args:
        paths: alignments, and GFF files with `intron` rows; the latter know nothing of unspliced reads.
        sequences: codes of the records, to tell the strand by the splice sites where the aligner does not.
        reference: FASTA of a CRAM.

    Raises:
        InputError: a file that is neither, names none of the records, or cannot be read.
    """
    introns: Introns = defaultdict(Counter)
    unspliced = None if all(map(is_gff, paths)) else _Unspliced(sequences)
    for path in paths:
        if is_gff(path):
            found = _of_gff(Path(path))
        else:
            assert unspliced is not None
            found = _of_alignments(str(path), sequences, reference, unspliced)
        if found and not any(seqid in sequences for seqid in found):
            raise InputError(f"{path}: none of its sequence names is in the genome; they must match")
        for seqid, reads in found.items():
            introns[seqid].update(reads)
    return introns, unspliced.at_ends(introns) if unspliced else {}


class _Unspliced:
    """Reads that go on from one base to the next, anywhere in a genome."""

    def __init__(self, sequences: Mapping[str, Codes]) -> None:
        lengths = [len(codes) for codes in sequences.values()]
        first = accumulate(lengths, initial=0)
        self._spans = {seqid: span for seqid, *span in zip(sequences, first, lengths, strict=False)}
        self._reads = Coverage(sum(lengths), 1)

    def add(self, seqid: str, start: int, end: int) -> None:
        """Counts a block of aligned bases, between which there is one place less."""
        first, length = self._spans.get(seqid, (0, 0))
        if start + 1 < end <= length:
            self._reads.add(first + start + 1, first + end)

    def at_ends(self, introns: Introns) -> UnsplicedReads:
        """Those at the ends of introns; to be called once."""
        reads, found = self._reads.per_bin(), {}
        for seqid, seen in introns.items():
            first, length = self._spans.get(seqid, (0, 0))
            ends = {end for intron in seen for end in intron[:2] if 0 < end < length}
            found[seqid] = Counter({end: int(reads[first + end]) for end in ends})
        return found


def is_gff(path: str | Path) -> bool:
    """Whether a file of evidence is one with rows of introns, by its name."""
    return any(suffix in (".gff", ".gff3", ".gtf") for suffix in Path(path).suffixes)


def _of_gff(path: Path) -> Introns:
    """`intron` rows; the score column is the number of reads, 1 where it is empty."""
    found: Introns = defaultdict(Counter)
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


def _of_alignments(path: str, sequences: Mapping[str, Codes], reference: str | None, unspliced: _Unspliced) -> Introns:
    """Gaps of spliced primary alignments; their strand by the tag XS or ts, else by the splice sites."""
    found: Introns = defaultdict(Counter)
    with open_alignments(path, reference=reference, failure="not readable as BAM, CRAM or SAM") as alignments:
        lengths = alignments.lengths
        for read in alignments.fetch(until_eof=True):
            if read.flag & UNFIT:
                continue
            name = str(read.reference_name)
            for operation, start, end in spans(read, lengths):
                if operation in ALIGNED:
                    unspliced.add(name, start, end)
                elif operation == SKIPPED and SHORTEST <= end - start <= LONGEST:
                    strand = _strand_of(read, start, end, sequences)
                    if strand:
                        found[name][(start, end, strand)] += 1
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
