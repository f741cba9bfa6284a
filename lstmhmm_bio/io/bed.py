"""BED output (UCSC, GA4GH BED v1): nine columns, or twelve with the exons as blocks where genes may have introns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from ..features import Annotation, Gene
from .derived import Span, comment_line, cut_at_origin, gene_ids, transcript_id, wrap

_COLOURS = {"+": "31,119,180", "-": "214,39,40"}


class BedWriter:
    """Writes BED9, or BED12 of a model that knows introns: score is 1000 times the posterior, colour shows the strand.

    All of a CDS, stop codon included, is thick, and untranslated regions, where they were looked for, are thin. BED
    knows no circular records: a gene over the origin is two lines of one name, one up to the record's end and one from
    its beginning. Arguments as for `Gff3Writer`.
    """

    def __init__(self, handle: TextIO, provenance: str = "") -> None:
        self._handle = handle
        handle.write(comment_line(provenance))

    def write(self, annotation: Annotation) -> None:
        """Write one record's genes."""
        length = len(annotation.record)
        for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
            exons, coding = (cut_at_origin(spans, length) for spans in (gene.exons, gene.segments))
            before = [[span for span in spans if span[0] < length] for spans in (exons, coding)]
            after = [[wrap(span, length) for span in spans if span[0] >= length] for spans in (exons, coding)]
            for blocks, thick in (before, after) if after[0] else (before,):
                self._line(transcript_id(name, gene), gene, blocks, thick)

    def _line(self, name: str, gene: Gene, blocks: Sequence[Span], thick: Sequence[Span]) -> None:
        start, end = blocks[0][0], blocks[-1][1]
        score, limits = str(round(1000 * gene.score)), (str(thick[0][0]), str(thick[-1][1]))
        columns = [gene.seqid, str(start), str(end), name, score, gene.strand, *limits, _COLOURS[gene.strand]]
        if gene.intronic:
            sizes = ",".join(str(b - a) for a, b in blocks)
            starts = ",".join(str(a - start) for a, _ in blocks)
            columns += [str(len(blocks)), sizes, starts]
        self._handle.write("\t".join(columns) + "\n")
