"""Does the result look like genes? Figures of a whole run, and what is suspicious about them.

Prokaryotic genomes are 75-95 % coding with genes of about 900 bases, few exceptions apart. What lies far outside
points to a wrong genetic code, to eukaryotic DNA or to sequence that is none, and is said aloud.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .features import Annotation

#: judge only what is long enough to judge, in bases
ENOUGH = 50_000
LOW_DENSITY, HIGH_DENSITY = 0.5, 0.99
SHORT_MEAN_GENE = 450
LOW_SCORE = 0.8


@dataclass
class Summary:
    """Running totals over the annotations of a run."""

    records: int = 0
    bases: int = 0
    unknown: int = 0
    genes: int = 0
    partial: int = 0
    coding: int = 0
    lengths: int = 0
    scores: float = 0.0
    codes: set[int] = field(default_factory=set)

    def add(self, annotation: Annotation) -> None:
        """Counts one record and its genes."""
        length = len(annotation.record)
        covered = np.zeros(length + 1, np.int32)
        for gene in annotation.genes:
            covered[gene.start] += 1
            covered[gene.end] -= 1
            self.genes += 1
            self.partial += not (gene.has_start and gene.has_stop)
            self.lengths += gene.length
            self.scores += gene.score
            self.codes.add(gene.genetic_code)
        self.records += 1
        self.bases += length
        self.unknown += int((annotation.record.codes > 3).sum())
        self.coding += int((np.cumsum(covered)[:-1] > 0).sum())

    @property
    def density(self) -> float:
        """Share of the known bases that lie in genes."""
        return self.coding / max(self.bases - self.unknown, 1)

    def line(self) -> str:
        """The run in one line."""
        whole = f"{self.records:,} record{'s' * (self.records != 1)}, {self.bases:,} bases: "
        if not self.genes:
            return whole + "no genes found"
        partial = f" ({self.partial:,} partial)" if self.partial else ""
        return (
            f"{whole}{self.genes:,} gene{'s' * (self.genes != 1)}{partial}, coding density {100 * self.density:.1f} %, "
            f"mean gene {self.lengths / self.genes:.0f} bases"
        )

    def warnings(self) -> list[str]:
        """What is unlike a prokaryotic genome, one line each."""
        found: list[str] = []
        if self.bases - self.unknown < ENOUGH:
            return found
        if not self.genes:
            found.append("no genes in this much sequence: is it DNA of a prokaryote?")
            return found
        if self.density < LOW_DENSITY:
            found.append(
                f"coding density {100 * self.density:.0f} % is low for a prokaryote (usually 75-95 %): eukaryotic DNA, "
                "the wrong --genetic-code, or poor sequence?"
            )
        if self.density > HIGH_DENSITY:
            found.append(f"coding density {100 * self.density:.0f} % is higher than genomes have: is this a genome?")
        if self.lengths / self.genes < SHORT_MEAN_GENE and self.partial < self.genes / 4:
            code = f" (this run: {', '.join(map(str, sorted(self.codes)))})"
            found.append(
                f"genes are short, {self.lengths / self.genes:.0f} bases on average (usually 800-1000): broken by "
                f"frameshifts, or by the wrong --genetic-code{code}?"
            )
        if self.scores / self.genes < LOW_SCORE:
            found.append(
                f"the mean posterior of a gene is only {self.scores / self.genes:.2f}: treat them with caution"
            )
        return found
