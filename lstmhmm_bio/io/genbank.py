"""GenBank flat files, through Biopython."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, TextIO

from ..errors import InputError
from ..features import Annotation, Gene, ProteinDomain, Record
from ..sequence import decode
from .derived import Span, cross_reference, cross_references, cut_at_origin, domain_names, gene_ids, protein, wrap
from .letters import encode_checked

_VERSIONED = re.compile(r"[^.]+\.[1-9][0-9]*")


def read_genbank(stream: BinaryIO, source: str) -> Iterator[Record]:
    """Records of a GenBank stream; ``circular`` is the topology of the LOCUS line.

    Raises:
        InputError: a malformed record, one without sequence, or letters that are no nucleotides.
    """
    from Bio import BiopythonParserWarning, BiopythonWarning
    from Bio.GenBank.Scanner import GenBankScanner
    from Bio.Seq import UndefinedSequenceError

    text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
    records = GenBankScanner().parse_records(text, do_features=False)
    number = 0
    while True:
        number += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BiopythonWarning)
                # all that the parser says of a truncated sequence
                warnings.filterwarnings("error", "Expected sequence length", BiopythonParserWarning)
                record = next(records, None)
        except (ValueError, AssertionError, IndexError, BiopythonParserWarning) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{source}: record {number} is not valid GenBank ({reason}); download it again") from error
        if record is None:
            break
        name = next((x for x in (record.id, record.name) if x and not x.startswith("<unknown")), "").split(" ")[0]
        if not name:
            raise InputError(f"{source}: record {number} has no id; fill in its LOCUS and VERSION lines")
        try:
            letters = bytes(record.seq)
        except UndefinedSequenceError as error:
            raise InputError(
                f"{source}: record {name!r} holds no sequence; download it with its sequence (format gbwithparts)"
            ) from error
        codes = encode_checked(letters, source=source, record=name)
        yield Record(name, codes, record.description, record.annotations.get("topology") == "circular")


class GenbankWriter:
    """Writes GenBank record by record, with ``gene`` and ``CDS`` features; unknown bases are written n.

    A CDS with introns, and what crosses the origin of a circular record, is a ``join``. A domain of a protein is a
    ``misc_feature``, and named in the ``note`` and ``db_xref`` of the CDS.
    The LOCUS line bears Biopython's fixed date and the record's whole id, however long. Arguments as for `Gff3Writer`;
    the provenance becomes the COMMENT.
    """

    def __init__(self, handle: TextIO, provenance: str = "") -> None:
        self._handle = handle
        self._provenance = provenance

    def write(self, annotation: Annotation) -> None:
        """Write one record with its features."""
        from Bio import BiopythonWarning, SeqIO
        from Bio.Seq import Seq
        from Bio.SeqRecord import SeqRecord

        record = annotation.record
        notes: dict[str, str | int] = {"molecule_type": "DNA", "topology": "circular" if record.circular else "linear"}
        if not _VERSIONED.fullmatch(record.id):
            notes["accession"] = record.id  # keeps Biopython from reading a version into it
        if self._provenance:
            notes["comment"] = self._provenance
        entry = SeqRecord(
            Seq(decode(record.codes)), id=record.id, name=record.id, description=record.description, annotations=notes
        )
        for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
            entry.features += _features(name, gene, record)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BiopythonWarning)  # ids longer than the columns of 1988
            SeqIO.write(entry, self._handle, "genbank")


def _features(name: str, gene: Gene, record: Record) -> list[Any]:
    from Bio.SeqFeature import SeqFeature

    details = {
        "locus_tag": [name],
        "codon_start": [1],  # `Gene` has the coordinates of whole codons
        "transl_table": [gene.genetic_code],
        "note": [f"posterior probability {gene.score:.4f}", *domain_names(gene)],
        "translation": [protein(record, gene)],
    }
    if references := cross_references(gene):
        details["db_xref"] = references
    exons = [("mRNA", gene.exons)] if gene.untranslated else []  # else nothing that the CDS does not say
    return [
        *(
            SeqFeature(_location(gene, spans, len(record)), kind, qualifiers={"locus_tag": [name]})
            for kind, spans in [("gene", [gene.extent]), *exons]
        ),
        SeqFeature(_location(gene, gene.segments, len(record)), "CDS", qualifiers=details),
        *(
            SeqFeature(
                _location(gene, [part[:2] for part in domain.parts], len(record)),
                "misc_feature",
                qualifiers=_domain_qualifiers(name, domain),
            )
            for domain in gene.domains
        ),
    ]


def _domain_qualifiers(name: str, domain: ProteinDomain) -> dict[str, list[str]]:
    reference = cross_reference(domain)
    words = (domain.name, *((domain.accession,) if domain.accession and not reference else ()), domain.description)
    significance = f"{domain.score:.1f} bits, E-value {domain.evalue:.2g}"
    qualifiers = {"locus_tag": [name], "note": ["; ".join(filter(None, (*words, significance)))]}
    return {**qualifiers, "db_xref": [reference]} if reference else qualifiers


def _location(gene: Gene, spans: Sequence[Span], length: int) -> Any:
    """All of a gene or its segments; what crosses the origin is cut there, and several parts are joined."""
    from Bio.SeqFeature import AfterPosition, BeforePosition, CompoundLocation, ExactPosition, SimpleLocation

    parts = []
    for span in cut_at_origin(spans, length):
        left = BeforePosition if gene.partial_left and span[0] == gene.start else ExactPosition
        right = AfterPosition if gene.partial_right and span[1] == gene.end else ExactPosition
        start, end = wrap(span, length)
        parts.append(SimpleLocation(left(start), right(end), strand=1 if gene.strand == "+" else -1))
    if len(parts) == 1:
        return parts[0]
    return CompoundLocation(parts if gene.strand == "+" else parts[::-1])  # in reading order
