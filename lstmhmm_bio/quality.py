"""Does the result look like genes? Figures of a whole run, and what is suspicious about them.

Prokaryotic genomes are 75-95 % coding with genes of about 900 bases, few exceptions apart. Of eukaryotes anything from
1 % (mammals) to 75 % (yeasts) is coding, in genes of 1200-1600 coding bases on average. What lies far outside points to
a wrong genetic code, to a model for the other kind of genome or to sequence that is none, and is said aloud.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .features import Annotation
from .io.derived import on_record, union
from .sequence import base_counts

#: judge only what is long enough to judge, in bases
ENOUGH = 50_000
LOW_DENSITY, HIGH_DENSITY = 0.6, 0.99
#: of genomes with introns; the densest, of Microsporidia, come near it
HIGH_DENSITY_INTRONIC = 0.85
#: where the model knows no introns; of 50 genomes of bacteria and archaea it finds genes of 675 to 1134 bases on
#: average, of *S. cerevisiae* of 1413
SHORT_MEAN_GENE, LONG_MEAN_GENE = 450, 1250
LOW_SCORE = 0.8


@dataclass
class Summary:
    """Running totals over the annotations of a run.

    Attributes:
        coding: bases in the CDS of any gene, introns not counted.
        lengths: the CDS of all genes together.
        intronic: the model knows introns, as its genes say.
        with_domains: genes in whose proteins domains were found.
        with_untranslated: genes of which untranslated regions were found.
    """

    records: int = 0
    bases: int = 0
    unknown: int = 0
    genes: int = 0
    partial: int = 0
    introns: int = 0
    coding: int = 0
    lengths: int = 0
    scores: float = 0.0
    codes: set[int] = field(default_factory=set)
    intronic: bool = False
    with_domains: int = 0
    with_untranslated: int = 0

    def add(self, annotation: Annotation) -> None:
        """Counts one record and its genes."""
        length = len(annotation.record)
        segments: list[tuple[int, int]] = []
        for gene in annotation.genes:
            segments += on_record(gene.segments, length)
            self.introns += len(gene.introns)
            self.intronic |= gene.intronic
            self.with_domains += bool(gene.domains)
            self.with_untranslated += bool(gene.untranslated)
            self.genes += 1
            self.partial += not (gene.has_start and gene.has_stop)
            self.lengths += gene.length
            self.scores += gene.score
            self.codes.add(gene.genetic_code)
        self.records += 1
        self.bases += length
        self.unknown += int(base_counts(annotation.record.codes)[4])
        self.coding += int(np.diff(union(segments)).sum())

    @property
    def density(self) -> float:
        """Share of the known bases that code."""
        return self.coding / max(self.bases - self.unknown, 1)

    def line(self) -> str:
        """The run in one line."""
        whole = f"{self.records:,} record{'s' * (self.records != 1)}, {self.bases:,} bases: "
        if not self.genes:
            return whole + "no genes found"
        partial = f" ({self.partial:,} partial)" if self.partial else ""
        introns = f"{self.introns:,} intron{'s' * (self.introns != 1)}, " if self.intronic else ""
        kind = "CDS" if self.intronic else "gene"
        return (
            f"{whole}{self.genes:,} gene{'s' * (self.genes != 1)}{partial}, {introns}"
            f"coding density {100 * self.density:.1f} %, mean {kind} {self.lengths / self.genes:.0f} bases"
        )

    def warnings(self) -> list[str]:
        """What is unlike a genome of the kind that the model is for, one line each."""
        if self.bases - self.unknown < ENOUGH:
            return []
        if not self.genes:
            return ["no genes in this much sequence: is it DNA of an organism that the model is for?"]
        found = self._density_warnings()
        mean = self.lengths / self.genes
        if mean < SHORT_MEAN_GENE and self.partial < self.genes / 4:
            code = f" (this run: {', '.join(map(str, sorted(self.codes)))})"
            usual = "1200-1600 without introns" if self.intronic else "800-1000"
            found.append(
                f"genes are short, {mean:.0f} bases on average (usually {usual}): broken by "
                f"frameshifts, or by the wrong --genetic-code{code}?"
            )
        if not self.intronic and mean > LONG_MEAN_GENE:
            found.append(
                f"genes are long, {mean:.0f} bases on average (in prokaryotes usually 800-1000): eukaryotic DNA? "
                "--model auto tells"
            )
        if self.scores / self.genes < LOW_SCORE:
            found.append(
                f"the mean posterior of a gene is only {self.scores / self.genes:.2f}: treat them with caution"
            )
        return found

    def _density_warnings(self) -> list[str]:
        shown = f"coding density {100 * self.density:.0f} %"
        if self.density > HIGH_DENSITY:
            return [f"{shown} is higher than genomes have: is this a genome?"]
        if self.intronic and self.density > HIGH_DENSITY_INTRONIC:
            return [f"{shown} is high for a eukaryote (usually below 75 %): DNA of bacteria?"]
        if not self.intronic and self.density < LOW_DENSITY:
            return [
                f"{shown} is low for a prokaryote (usually 75-95 %): eukaryotic DNA (--model auto tells), "
                "the wrong --genetic-code, or poor sequence?"
            ]
        return []
