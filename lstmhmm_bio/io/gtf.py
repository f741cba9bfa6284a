"""GTF 2.2 output (Brent lab specification): the stop codon is outside the CDS, in rows of its own."""

from __future__ import annotations

from typing import TextIO

from ..features import Annotation, Gene
from .derived import comment_line, gene_ids, phase
from .gff3 import SOURCE

# GTF knows no escapes; these would end or split a quoted value
_ESCAPES = {i: f"%{i:02X}" for i in [*range(32), 127, ord('"'), ord("%")]}


class GtfWriter:
    """Writes GTF record by record; arguments as for `Gff3Writer`."""

    def __init__(self, handle: TextIO, provenance: str = "") -> None:
        self._handle = handle
        handle.write(comment_line(provenance))

    def write(self, annotation: Annotation) -> None:
        """Write one record's features."""
        for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
            gene_id = f'gene_id "{name.translate(_ESCAPES)}";'
            both = f'{gene_id} transcript_id "{name.translate(_ESCAPES)}";'
            frame = str(phase(gene))
            self._row(gene, "gene", gene.start, gene.end, ".", gene_id)
            self._row(gene, "transcript", gene.start, gene.end, ".", both)
            start, end = _without_stop(gene)
            if start < end:
                self._row(gene, "CDS", start, end, frame, both)
            if gene.has_start:
                left = gene.start if gene.strand == "+" else gene.end - 3
                self._row(gene, "start_codon", left, left + 3, frame, both)
            if gene.has_stop:
                left = gene.end - 3 if gene.strand == "+" else gene.start
                self._row(gene, "stop_codon", left, left + 3, frame, both)

    def _row(self, gene: Gene, kind: str, start: int, end: int, frame: str, attributes: str) -> None:
        score = f"{gene.score:.4f}"
        columns = (gene.seqid, SOURCE, kind, str(start + 1), str(end), score, gene.strand, frame, attributes)
        self._handle.write("\t".join(columns) + "\n")


def _without_stop(gene: Gene) -> tuple[int, int]:
    """0-based half-open span of the coding bases before the stop codon."""
    if not gene.has_stop:
        return gene.start, gene.end
    return (gene.start, gene.end - 3) if gene.strand == "+" else (gene.start + 3, gene.end)
