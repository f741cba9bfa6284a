"""Records that travel between decoding and files: sequences in, genes out.

Coordinates are 0-based and half-open on the forward strand, whatever the strand of the feature.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sequence import Codes, Segments


@dataclass(frozen=True)
class Record:
    """One input sequence.

    Attributes:
        id: first word of the header (or the read's name, the LOCUS' accession).
        codes: [length] uint8, see `lstmhmm_bio.sequence`.
        description: the header after the id.
        circular: declared circular (GenBank LOCUS line).
    """

    id: str
    codes: Codes
    description: str = ""
    circular: bool = False

    def __len__(self) -> int:
        return len(self.codes)


class ProteinDomain(NamedTuple):
    """A stretch of a gene's protein that matches a profile.

    Attributes:
        name, accession, description: of the profile; the last two may be "".
        start, end: of the alignment in the protein, in residues.
        parts: what it covers of the gene's segments, ascending: (start, end, first, last), the bases in the gene's
            coordinates and the stretch of the profile that they are aligned with, all 0-based half-open. A codon that
            an intron cuts counts in two parts.
        score: bits.
        evalue: expected number of such matches by the profiles in one random protein.
    """

    name: str
    accession: str
    description: str
    start: int
    end: int
    parts: tuple[tuple[int, int, int, int], ...]
    score: float
    evalue: float


@dataclass(frozen=True)
class Gene:
    """A predicted protein-coding gene: one CDS, its stop codon inside, with or without introns.

    Attributes:
        seqid: record it lies on.
        start, end: 0-based half-open, from the first to the last whole codon inside the record. On a circular record
            a gene over the origin has `start` in the record and `end` beyond its length.
        strand: "+" or "-".
        score: probability in [0, 1] that the gene is real (that its stop, or for a gene without one its
            reading frame at the record's end, is right).
        partial_left, partial_right: it runs off the record's left (position 0) or right end.
        start_score: probability in [0, 1] that its start is right, given the gene; nan without a start.
        start_codon: e.g. "ATG"; "" if the 5' end is off the record.
        genetic_code: NCBI table number.
        introns: (start, end) 0-based half-open, ascending.
        exon_scores: posterior probability of each segment of the CDS, in the order of `segments`; () where not known.
        intronic: the model knows introns, whether this gene has one or not.
        alternative_starts: other start codons of the same reading frame: (forward coordinate of the codon's first base,
            0-based; posterior probability given the gene), the likeliest first; () unless asked for.
        supported_introns: how many of its introns, those outside the CDS included, were seen in transcripts; None
            without such evidence.
        domains: of its protein, from the first residue on; () unless looked for.
        untranslated: what of its transcript's exons lies outside the CDS, 0-based half-open, ascending; () where not
            known. A part that touches the CDS is of one exon with it.
    """

    seqid: str
    start: int
    end: int
    strand: str
    score: float
    partial_left: bool = False
    partial_right: bool = False
    start_score: float = float("nan")
    start_codon: str = ""
    genetic_code: int = 11
    introns: tuple[tuple[int, int], ...] = ()
    exon_scores: tuple[float, ...] = ()
    intronic: bool = False
    supported_introns: int | None = None
    alternative_starts: tuple[tuple[int, float], ...] = ()
    domains: tuple[ProteinDomain, ...] = ()
    untranslated: tuple[tuple[int, int], ...] = ()

    @property
    def segments(self) -> Segments:
        """Coding stretches, 0-based half-open, ascending whatever the strand."""
        edges = [self.start, *(x for intron in self.introns for x in intron), self.end]
        return tuple(zip(edges[::2], edges[1::2], strict=True))

    @property
    def exons(self) -> tuple[tuple[int, int], ...]:
        """Exons as far as they are known, 0-based half-open, ascending: the CDS and what is untranslated."""
        joined: list[tuple[int, int]] = []
        for start, end in sorted(self.segments + self.untranslated):
            if joined and joined[-1][1] == start:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((start, end))
        return tuple(joined)

    @property
    def extent(self) -> tuple[int, int]:
        """From the first to the last base of its exons, 0-based half-open."""
        ends = ((self.start, self.end), *self.untranslated)
        return min(start for start, _ in ends), max(end for _, end in ends)

    @property
    def length(self) -> int:
        """Bases of coding sequence, stop codon included, introns not."""
        return self.end - self.start - sum(e - s for s, e in self.introns)

    def moved(self, by: int) -> Gene:
        """The gene so many bases further on."""
        if not by:
            return self
        return replace(
            self,
            start=self.start + by,
            end=self.end + by,
            introns=tuple((start + by, end + by) for start, end in self.introns),
            untranslated=tuple((start + by, end + by) for start, end in self.untranslated),
            alternative_starts=tuple((at + by, share) for at, share in self.alternative_starts),
        )

    @property
    def has_start(self) -> bool:
        return not (self.partial_left if self.strand == "+" else self.partial_right)

    @property
    def has_stop(self) -> bool:
        return not (self.partial_right if self.strand == "+" else self.partial_left)


@dataclass(frozen=True)
class Annotation:
    """The genes of one record, sorted by start, with the record itself for writers that need sequence.

    Attributes:
        record: the sequence.
        genes: sorted by start.
        coding: where asked for, [length] probability that a base is coding on at least one strand.
    """

    record: Record
    genes: tuple[Gene, ...] = field(default=())
    coding: NDArray[np.float32] | None = None


#: what `Region` counts where one gene's intron lies
INTRON = 3


@dataclass(frozen=True)
class Region:
    """A stretch of one label.

    Attributes:
        start, end: 0-based half-open.
        forward, reverse: genes over it on the + and the - strand, 0 to 2, or `INTRON`.
        posterior: mean posterior probability of this label over its bases.
    """

    start: int
    end: int
    forward: int
    reverse: int
    posterior: float

    @property
    def name(self) -> str:
        sides = ((self.forward, "(+)"), (self.reverse, "(-)"))
        parts = [f"intron{s}" if n == INTRON else f"CDS{s}" for n, s in sides for _ in range(1 if n == INTRON else n)]
        return "/".join(parts) or "intergenic"

    @property
    def strand(self) -> str:
        """The strand of all its genes, "." if there are none or both."""
        return "." if bool(self.forward) == bool(self.reverse) else "+" if self.forward else "-"
