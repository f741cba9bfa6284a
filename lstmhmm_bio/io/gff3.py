"""GFF3 output (Sequence Ontology specification 1.26), partial ends marked as in NCBI's files.

In bacteria every gene is a ``gene`` row and a ``CDS`` row below it. Of a model that knows introns every gene is a
``gene``, an ``mRNA`` below it (``<gene>.t1``), and below that its ``exon`` and ``CDS`` rows in ascending order; the CDS
rows, one feature, share their ID. The stop codon is inside the CDS. Where untranslated regions were looked for, gene,
``mRNA`` and ``exon`` rows hold them, too, and ``five_prime_UTR`` and ``three_prime_UTR`` rows follow the CDS; elsewhere
exons are the parts of the CDS.

Domains of a gene's protein follow the gene as ``protein_match`` rows, several under one ID where introns cut them, with
the E-value as score and the stretch of the profile as ``Target``. They are no parts of the gene, whose ``locus_tag``
they bear; its CDS (its mRNA, where the model knows introns) names them in ``Dbxref`` and ``Note``.

A circular record has a ``region`` row with ``Is_circular``. A gene over its origin is one gene whose end is the end's
position plus the record's length; of a gene with introns all rows count on so.
"""

from __future__ import annotations

from functools import lru_cache
from math import isnan
from typing import TextIO
from urllib.parse import quote

from ..features import Annotation, Gene, ProteinDomain
from .derived import (
    Span,
    comment_line,
    cross_reference,
    cross_references,
    domain_names,
    exon_score,
    gene_ids,
    phases,
    transcript_id,
    untranslated,
)

SOURCE = "lstmhmm"

#: of column 9; of several values, commas stand between them
Attributes = dict[str, str | tuple[str, ...]]

_SEQID_SAFE = ".:^*$@!+_?-|"
_ATTRIBUTE_ESCAPES = {i: f"%{i:02X}" for i in [*range(32), 127, *map(ord, "%;=&,")]}


@lru_cache  # many rows of one record follow each other
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
        record = annotation.record
        if len(record):
            seqid, length = escape_seqid(record.id), len(record)
            self._handle.write(f"##sequence-region {seqid} 1 {length}\n")
            if record.circular:
                # unlike any gene's ID, which ends in "_" and a number
                name = escape_attribute(f"{record.id}:1..{length}")
                self._handle.write(f"{seqid}\t{SOURCE}\tregion\t1\t{length}\t.\t+\t.\tID={name};Is_circular=true\n")
        for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
            whole = gene.start, gene.end
            partial = _partial_attributes(gene, whole)
            self._row(gene, "gene", gene.extent, gene.score, ".", {"ID": name, "locus_tag": name, **partial})
            if gene.intronic:
                self._transcript(name, gene)
            else:
                details = {"ID": f"{name}.cds", "Parent": name, "locus_tag": name, **_coding_attributes(gene)}
                self._row(gene, "CDS", whole, gene.score, "0", {**details, **partial, **_domain_attributes(gene)})
            for number, domain in enumerate(gene.domains, 1):
                self._match(f"{name}.match{number}", name, gene, domain, len(record))

    def _transcript(self, gene_name: str, gene: Gene) -> None:
        name, spans, exons = transcript_id(gene_name, gene), gene.segments, gene.exons
        partial = _partial_attributes(gene, (gene.start, gene.end))
        details: Attributes = {"ID": name, "Parent": gene_name, **partial, **_domain_attributes(gene)}
        if gene.supported_introns is not None:
            details["introns_supported"] = f"{gene.supported_introns}/{len(exons) - 1}"
        self._row(gene, "mRNA", gene.extent, gene.score, ".", details)
        for i, span in enumerate(exons):
            number = i + 1 if gene.strand == "+" else len(exons) - i
            details = {"ID": f"{name}.exon{number}", "Parent": name, **_partial_attributes(gene, span)}
            self._row(gene, "exon", span, exon_score(gene, span), ".", details)
        # the rows are one feature, which is partial or not, but only its outer rows have an open end
        details = {"ID": f"{name}.cds", "Parent": name, **_coding_attributes(gene)}
        details |= {"partial": "true"} if partial else {}
        for span, phase in zip(spans, phases(spans, gene.strand), strict=True):
            attributes = {**details, **_partial_attributes(gene, span)}
            self._row(gene, "CDS", span, exon_score(gene, span), str(phase), attributes)
        for kind, parts in untranslated(gene).items():
            for span in parts:
                self._row(gene, kind, span, None, ".", {"ID": f"{name}.{kind}", "Parent": name})

    def _match(self, name: str, gene_name: str, gene: Gene, domain: ProteinDomain, length: int) -> None:
        reference = cross_reference(domain)
        details: Attributes = {"Name": domain.name, "locus_tag": gene_name}
        if domain.accession:
            details |= {"Dbxref": reference} if reference else {"Alias": domain.accession}
        if domain.description:
            details["Note"] = domain.description
        details["bit_score"] = f"{domain.score:.1f}"
        # where all of it lies beyond the origin, it need not count on
        shift = length if domain.parts[0][0] >= length else 0
        for start, end, first, last in domain.parts:
            target = f"{'_'.join(domain.name.split())} {first + 1} {last}"
            attributes = {"ID": name, "Target": target, **details}
            self._row(gene, "protein_match", (start - shift, end - shift), domain.evalue, ".", attributes)

    def _row(self, gene: Gene, kind: str, span: Span, score: float | None, phase: str, attributes: Attributes) -> None:
        values = (
            f"{key}={','.join(map(escape_attribute, (value,) if isinstance(value, str) else value))}"
            for key, value in attributes.items()
        )
        form = ".2g" if kind == "protein_match" else ".4f"
        columns = (
            escape_seqid(gene.seqid), SOURCE, kind, str(span[0] + 1), str(span[1]),
            "." if score is None else f"{score:{form}}", gene.strand, phase, ";".join(values),
        )  # fmt: skip
        self._handle.write("\t".join(columns) + "\n")


def _coding_attributes(gene: Gene) -> Attributes:
    attributes: Attributes = {"transl_table": str(gene.genetic_code)}
    if gene.has_start:
        attributes["start_type"] = gene.start_codon
        if not isnan(gene.start_score):
            attributes["start_score"] = f"{gene.start_score:.4f}"
    if gene.alternative_starts:
        attributes["alternative_starts"] = " ".join(f"{at + 1}:{share:.4f}" for at, share in gene.alternative_starts)
    return attributes


def _domain_attributes(gene: Gene) -> Attributes:
    values = {"Dbxref": tuple(cross_references(gene)), "Note": tuple(domain_names(gene))}
    return {key: value for key, value in values.items() if value}


def _partial_attributes(gene: Gene, span: Span) -> Attributes:
    """NCBI's attributes for those ends of a gene's row that lie off the record."""
    attributes: Attributes = {}
    if gene.partial_left and span[0] == gene.start:
        attributes["start_range"] = ".", str(gene.start + 1)
    if gene.partial_right and span[1] == gene.end:
        attributes["end_range"] = str(gene.end), "."
    return {"partial": "true", **attributes} if attributes else {}
