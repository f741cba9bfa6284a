"""BED output with nine columns (UCSC, GA4GH BED v1)."""

from __future__ import annotations

from typing import TextIO

from ..features import Annotation
from .derived import comment_line, gene_ids

_COLOURS = {"+": "31,119,180", "-": "214,39,40"}


class BedWriter:
    """Writes BED9 record by record: score is 1000 times the posterior, colour shows the strand.

    Arguments as for `Gff3Writer`.
    """

    def __init__(self, handle: TextIO, provenance: str = "") -> None:
        self._handle = handle
        handle.write(comment_line(provenance))

    def write(self, annotation: Annotation) -> None:
        """Write one record's genes."""
        for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
            start, end = str(gene.start), str(gene.end)
            score, colour = str(round(1000 * gene.score)), _COLOURS[gene.strand]
            columns = (gene.seqid, start, end, name, score, gene.strand, start, end, colour)
            self._handle.write("\t".join(columns) + "\n")
