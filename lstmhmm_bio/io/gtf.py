"""GTF 2.2 output (Brent lab specification): the stop codon is outside the CDS, in rows of its own.

Of a model that knows introns the transcript of a gene is named ``<gene>.t1`` and has ``exon`` rows; a start or stop
codon that an intron cuts is two rows. Untranslated regions that were looked for are in ``5UTR`` and ``3UTR`` rows.

GTF knows no circular records: whatever crosses the origin is cut there into two rows of one name, the one up to the
record's end first. They bear the attribute ``origin_spanning "true"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from ..features import Annotation, Gene
from .derived import (
    Span,
    comment_line,
    cut_at_origin,
    exon_score,
    gene_ids,
    phases,
    stretch,
    transcript_id,
    untranslated,
    wrap,
)
from .gff3 import SOURCE

# GTF knows no escapes; these would end or split a quoted value
_ESCAPES = {i: f"%{i:02X}" for i in [*range(32), 127, ord('"'), ord("%")]}


_UNTRANSLATED = {"five_prime_UTR": "5UTR", "three_prime_UTR": "3UTR"}


class GtfWriter:
    """Writes GTF record by record; arguments as for `Gff3Writer`."""

    def __init__(self, handle: TextIO, provenance: str = "") -> None:
        self._handle = handle
        handle.write(comment_line(provenance))

    def write(self, annotation: Annotation) -> None:
        """Write one record's features."""
        length = len(annotation.record)
        for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
            gene_id = f'gene_id "{name.translate(_ESCAPES)}";'
            both = f'{gene_id} transcript_id "{transcript_id(name, gene).translate(_ESCAPES)}";'
            mark = ' origin_spanning "true";' if gene.end > length else ""
            for kind, span, frame in _features(gene, length):
                score = gene.score if kind in ("gene", "transcript") else exon_score(gene, span)
                start, end = wrap(span, length)
                columns = (
                    gene.seqid, SOURCE, kind, str(start + 1), str(end),
                    "." if score is None else f"{score:.4f}", gene.strand, frame,
                    (gene_id if kind == "gene" else both) + mark,
                )  # fmt: skip
                self._handle.write("\t".join(columns) + "\n")


def _features(gene: Gene, length: int) -> Iterator[tuple[str, Span, str]]:
    """Kind, span (beyond the record's length after the origin) and frame of a gene's rows."""
    for kind in ("gene", "transcript"):
        for span in cut_at_origin([gene.extent], length):
            yield kind, span, "."
    for span in cut_at_origin(gene.exons, length) if gene.intronic else ():
        yield "exon", span, "."
    spans = cut_at_origin(gene.segments, length)
    coding = {"CDS": (0, gene.length - 3 * gene.has_stop)}
    if gene.has_start:
        coding["start_codon"] = (0, 3)
    if gene.has_stop:
        coding["stop_codon"] = (gene.length - 3, gene.length)
    for kind, (first, last) in coding.items():
        parts = stretch(spans, gene.strand, first, last)
        for span, phase in zip(parts, phases(parts, gene.strand), strict=True):
            yield kind, span, str(phase)
    for kind, parts in untranslated(gene).items():
        for span in parts:
            yield _UNTRANSLATED[kind], span, "."
