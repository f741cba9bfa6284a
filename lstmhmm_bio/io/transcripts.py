"""What annotation files say, whatever their format: coding transcripts, and features of other kinds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Segment = tuple[int, int]
#: (seqid, start, end, strand, type), 0-based half-open
OtherFeature = tuple[str, int, int, str, str]

#: CDS segments closer than this, or overlapping, are one segment: a programmed frameshift, no intron (as in gffcompare)
MIN_INTRON = 5


@dataclass(frozen=True)
class Transcript:
    """The coding part of one transcript.

    Attributes:
        seqid: sequence it lies on.
        strand: "+" or "-" ("." or "?" only where the file has that, and then `odd`).
        segments: CDS segments, 0-based half-open, ascending and disjoint, stop codon inside wherever the file names it.
        gene: what its isoforms have in common.
        name: the transcript's (or, without one, the CDS') own identifier.
        pseudo: a pseudogene.
        partial: the file says that an end of the CDS is missing.
        unsure: the annotation itself doubts it.
        odd: spans the origin of a circular sequence, or lies on two strands or sequences (trans-splicing).
        genetic_code: NCBI table number, None where the file does not tell.
        exons: 0-based half-open, ascending, as the file (GFF3 or GTF) names them; () where it does not.
    """

    seqid: str
    strand: str
    segments: tuple[Segment, ...]
    gene: str
    name: str
    pseudo: bool = False
    partial: bool = False
    unsure: bool = False
    odd: bool = False
    genetic_code: int | None = None
    exons: tuple[Segment, ...] = ()

    @property
    def length(self) -> int:
        """Coding bases."""
        return sum(end - start for start, end in self.segments)

    @property
    def start(self) -> int:
        return self.segments[0][0]

    @property
    def end(self) -> int:
        return self.segments[-1][1]

    @property
    def five_prime(self) -> int:
        """Boundary before the first coding base in reading direction."""
        return self.start if self.strand == "+" else self.end

    @property
    def three_prime(self) -> int:
        """Boundary after the last coding base in reading direction."""
        return self.end if self.strand == "+" else self.start

    @property
    def introns(self) -> tuple[Segment, ...]:
        """Gaps between the segments."""
        return tuple((left[1], right[0]) for left, right in zip(self.segments, self.segments[1:], strict=False))

    @property
    def untranslated(self) -> tuple[int, int]:
        """Bases of the exons before the CDS and behind it, in reading direction; 0 where the file names none."""
        before = sum(max(min(end, self.start) - start, 0) for start, end in self.exons)
        behind = sum(max(end - max(start, self.end), 0) for start, end in self.exons)
        return (before, behind) if self.strand == "+" else (behind, before)


@dataclass(frozen=True)
class Reference:
    """What an annotation file holds.

    Attributes:
        transcripts: the coding ones, doubtful ones flagged.
        other_features: non-coding RNA features (tRNA, rRNA, ...) as (seqid, start, end, strand, type).
        lengths: of records, as the head of a GFF3 file declares them (``##sequence-region`` before its first row).
    """

    transcripts: list[Transcript]
    other_features: list[OtherFeature]
    lengths: dict[str, int]


def join(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Sorted segments with frameshifts closed; a stop codon beside a CDS (the habit of GTF) becomes part of it."""
    joined: list[Segment] = []
    for start, end in sorted(segments):
        if joined and start - joined[-1][1] < MIN_INTRON:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return tuple(joined)


def is_noncoding(feature_type: str) -> bool:
    """Whether features of a type are non-coding RNAs."""
    return feature_type.endswith("RNA") and feature_type != "mRNA"
