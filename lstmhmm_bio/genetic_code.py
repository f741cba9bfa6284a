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
from .sequence import UNKNOWN, Codes, codon_index, kmer_indices, own_segments, reverse_complement

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

#: bases of a stop codon and of the codons beyond it, the last one's hexamer included
_WINDOW = 3 + 3 * BEYOND + 3

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
    inside: list[Codes] = []
    behind: list[Codes] = []
    for record, genes in found:
        beyond = np.full(_WINDOW, UNKNOWN, np.uint8)
        strands = {"+": np.append(record.codes, beyond), "-": np.append(reverse_complement(record.codes), beyond)}
        for gene in genes:
            if gene.has_stop:
                ((start, end),) = own_segments(((gene.start, gene.end),), gene.strand, len(record))
                inside.append(strands[gene.strand][start : end - 3])
                behind.append(strands[gene.strand][end - 3 : end - 3 + _WINDOW])
    if not inside:
        return CodeEvidence()
    codons = kmer_indices(np.concatenate(inside), 3)[::3]
    stops, scores = _scores_beyond(np.stack(behind), hexamers)
    tga, enough = stops == _TGA, ~np.isnan(scores)
    continued = scores > CODING
    return CodeEvidence(
        tga=int((tga & enough).sum()),
        tga_continued=int((tga & continued).sum()),
        other=int((~tga & enough).sum()),
        other_continued=int((~tga & continued).sum()),
        tgg=float((codons == _TGG).sum() / max((codons >= 0).sum(), 1)),
    )


def _scores_beyond(windows: Codes, hexamers: Floats) -> tuple[Indices, Floats]:
    """The stop codon that each window begins with; mean hexamer log-odds of the codons in frame from there to the next
    stop codon, nan if they are too few.

    Args:
        windows: [genes, _WINDOW].
        hexamers: [4097].
    """
    triplets, sixes = (kmer_indices(windows.ravel(), k).reshape(windows.shape)[:, ::3] for k in (3, 6))
    ahead = triplets[:, 1 : BEYOND + 1]
    open_ = np.logical_and.accumulate((ahead != _TAA) & (ahead != _TAG) & (ahead >= 0), axis=1)
    # hexamers that hold a TGA say which code the tables were made for
    free = open_[:, 1:] & (ahead[:, :-1] != _TGA) & (ahead[:, 1:] != _TGA)
    free[open_.sum(axis=1) < ENOUGH_BEYOND] = False
    scores = np.where(free, hexamers[sixes[:, 1:BEYOND]], 0).sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0 / 0
        return triplets[:, 0], scores / free.sum(axis=1, dtype=np.float32)
