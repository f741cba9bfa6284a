"""GFF3 output (Sequence Ontology specification 1.26), partial ends marked as in NCBI's files.

Every gene is a ``gene`` row and a ``CDS`` row below it. Genes that span the origin of a circular record are not made
yet; they would be one ``CDS`` row with an end beyond the record's length and ``Is_circular`` on a ``region`` row.
"""

from __future__ import annotations

from math import isnan
from typing import TextIO
from urllib.parse import quote

from ..features import Annotation, Gene
from .derived import comment_line, gene_ids, phase

SOURCE = "lstmhmm"

_SEQID_SAFE = ".:^*$@!+_?-|"
_ATTRIBUTE_ESCAPES = {i: f"%{i:02X}" for i in [*range(32), 127, *map(ord, "%;=&,")]}


def escape_seqid(seqid: str) -> str:
    """A record's name for column 1 and directives: all but letters, digits and ``.:^*$@!+_?-|`` percent-encoded."""
    return quote(seqid, safe=_SEQID_SAFE).replace("~", "%7E")  # quote never encodes "~"


def escape_attribute(value: str) -> str:
    """A value for column 9: control characters and ``%;=&,`` percent-encoded."""
    return value.translate(_ATTRIBUTE_ESCAPES)


class Gff3Writer:
    """Writes GFF3 record by record.

    Args:
        handle: text handle; the header is written at once, so that a file without records is valid too.
        provenance: program, version and model for a comment line.
    """

    def __init__(self, handle: TextIO, provenance: str = "") -> None:
        self._handle = handle
        handle.write("##gff-version 3\n" + comment_line(provenance))

    def write(self, annotation: Annotation) -> None:
        """Write one record's features, below its ``##sequence-region`` (which a record of 0 bases cannot have)."""
        seqid = escape_seqid(annotation.record.id)
        if len(annotation.record):
            self._handle.write(f"##sequence-region {seqid} 1 {len(annotation.record)}\n")
        for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
            partial = _partial_attributes(gene)
            self._row(seqid, "gene", gene, ".", {"ID": name, "locus_tag": name, **partial})
            details = {"ID": f"{name}.cds", "Parent": name, "locus_tag": name, "transl_table": str(gene.genetic_code)}
            if gene.has_start:
                details["start_type"] = gene.start_codon
                if not isnan(gene.start_score):
                    details["start_score"] = f"{gene.start_score:.4f}"
            self._row(seqid, "CDS", gene, str(phase(gene)), {**details, **partial})

    def _row(self, seqid: str, kind: str, gene: Gene, phase: str, attributes: dict[str, str]) -> None:
        # start_range and end_range are pairs: their commas separate values and stay
        values = (
            f"{key}={value if key.endswith('_range') else escape_attribute(value)}" for key, value in attributes.items()
        )
        columns = (
            seqid, SOURCE, kind, str(gene.start + 1), str(gene.end), f"{gene.score:.4f}", gene.strand, phase,
            ";".join(values),
        )  # fmt: skip
        self._handle.write("\t".join(columns) + "\n")


def _partial_attributes(gene: Gene) -> dict[str, str]:
    """NCBI's attributes for ends that lie off the record."""
    attributes = {}
    if gene.partial_left or gene.partial_right:
        attributes["partial"] = "true"
    if gene.partial_left:
        attributes["start_range"] = f".,{gene.start + 1}"
    if gene.partial_right:
        attributes["end_range"] = f"{gene.end},."
    return attributes
