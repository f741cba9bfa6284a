"""Which genetic code a prokaryotic genome uses, from its own genes: 11, or one in which TGA is no stop (4 and 25).

Genes are found under code 11. Where TGA codes for an amino acid, many of them seem to end at a TGA beyond which the
reading frame goes on as before; after a real stop codon it does not, whatever the neighbours. So the share of TGA stops
beyond which the frame still looks coding, by the genome's hexamers, is compared with the same share of TAA and TAG
stops, which cancels what neighbouring genes and pseudogenes add. Of the two codes, 4 (mollicutes and others; TGA is
tryptophan) uses TGG rarely, since TGA takes its place; 25 (Gracilibacteria and others; TGA is glycine) uses TGG as code
11 does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import Floats
from .features import Gene, Record
from .sequence import codon_index, kmer_indices, reverse_complement

#: codons read beyond a stop codon, and the fewest of them before the record's end or the next stop that count
BEYOND = 24
ENOUGH_BEYOND = 12
#: mean hexamer log-odds (nat per codon) from which a stretch looks coding
CODING = 0.15
#: genes that the decision needs, and the excess share of continued frames behind TGA that makes it, in standard errors
#: and at least
ENOUGH_GENES = 40
SIGNIFICANT, LEAST_EXCESS = 4.0, 0.05
#: share of TGG among the sense codons below which TGA stands for tryptophan
RARE_TGG = 0.003

Indices = NDArray[np.int32]

_TGA, _TGG, _TAA, _TAG = map(codon_index, ("TGA", "TGG", "TAA", "TAG"))


@dataclass(frozen=True)
class CodeEvidence:
    """What was seen behind the stop codons of a genome, under code 11.

    Attributes:
        tga, tga_continued: genes that end in TGA, and those of them beyond which the frame looks coding.
        other, other_continued: the same of TAA and TAG.
        tgg: share of TGG among the genes' sense codons.
    """

    tga: int = 0
    tga_continued: int = 0
    other: int = 0
    other_continued: int = 0
    tgg: float = 0.0

    @property
    def excess(self) -> float:
        """Share of continued frames behind TGA less that behind TAA and TAG."""
        return self.tga_continued / max(self.tga, 1) - self.other_continued / max(self.other, 1)

    @property
    def standard_errors(self) -> float:
        """The excess in standard errors of a difference of two proportions."""
        total = self.tga + self.other
        share = (self.tga_continued + self.other_continued + 1) / (total + 2)
        return self.excess / np.sqrt(share * (1 - share) * (1 / max(self.tga, 1) + 1 / max(self.other, 1)))

    @property
    def genetic_code(self) -> int:
        """NCBI table number: 11 unless the evidence speaks against it."""
        enough = min(self.tga, self.other) and self.tga + self.other >= ENOUGH_GENES
        if not enough or self.excess < LEAST_EXCESS or self.standard_errors < SIGNIFICANT:
            return 11
        return 4 if self.tgg < RARE_TGG else 25


def evidence(found: Iterable[tuple[Record, list[Gene]]], hexamers: Floats) -> CodeEvidence:
    """Counts over the genes of a sample.

    Args:
        found: records with their genes under code 11; those with a stop codon count.
        hexamers: [4097] log-odds of in-frame hexamers in genes, see `calibration.Tables`.
    """
    counts = np.zeros((2, 2), int)  # TGA or another stop; frame not continued or continued
    codons = np.zeros(64)
    for record, genes in found:
        for strand in "+-":
            codes = record.codes if strand == "+" else reverse_complement(record.codes)
            triplets, sixes = kmer_indices(codes, 3), kmer_indices(codes, 6)
            for gene in genes:
                if gene.strand != strand or not gene.has_stop:
                    continue
                start, end = (
                    (gene.start, gene.end) if strand == "+" else (len(record) - gene.end, len(record) - gene.start)
                )
                inside = triplets[start : end - 3 : 3]
                codons += np.bincount(inside[inside >= 0], minlength=64)
                score = _score_beyond(triplets, sixes, hexamers, end)
                if score is not None:
                    counts[int(triplets[end - 3] != _TGA), int(score > CODING)] += 1
    (tga, tga_continued), (other, other_continued) = counts
    return CodeEvidence(
        int(tga + tga_continued),
        int(tga_continued),
        int(other + other_continued),
        int(other_continued),
        float(codons[_TGG] / max(codons.sum(), 1)),
    )


def _score_beyond(triplets: Indices, sixes: Indices, hexamers: Floats, end: int) -> float | None:
    """Mean hexamer log-odds of the codons in frame from `end` to the next stop codon; None if they are too few."""
    ahead = triplets[end : end + 3 * BEYOND : 3]
    stops = np.flatnonzero((ahead == _TAA) | (ahead == _TAG) | (ahead < 0))
    length = int(stops[0]) if len(stops) else len(ahead)
    if length < ENOUGH_BEYOND:
        return None
    # hexamers that hold a TGA say which code the tables were made for
    free = np.flatnonzero((ahead[: length - 1] != _TGA) & (ahead[1:length] != _TGA))
    return float(hexamers[sixes[end : end + 3 * length : 3][free]].mean()) if len(free) else None
