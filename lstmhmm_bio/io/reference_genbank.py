"""Reference annotation in GenBank files, through Biopython."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, TextIO

from ..errors import InputError
from .transcripts import OtherFeature, Reference, Transcript, is_noncoding, join


def read_genbank(handle: TextIO, name: str) -> Reference:
    """Everything of a GenBank file; `name` is the file's, for messages.

    Raises:
        InputError: a record or a location that cannot be read.
    """
    transcripts: list[Transcript] = []
    others: list[OtherFeature] = []
    for record in _genbank_records(handle, name):
        for number, feature in enumerate(record.features, 1):
            is_coding = feature.type == "CDS"
            if not is_coding and not is_noncoding(feature.type):
                continue
            if feature.location is None:
                raise InputError(
                    f"{name}: {feature.type} (feature {number}) of record {record.id} has a broken location; correct it"
                )
            if is_coding:
                transcripts.append(_genbank_transcript(record, number, feature))
            else:
                others += [
                    (record.id, int(part.start), int(part.end), "-" if part.strand == -1 else "+", feature.type)
                    for part in feature.location.parts
                ]
    return Reference(transcripts, others, {})


def _genbank_records(handle: TextIO, name: str) -> Iterator[Any]:
    import warnings

    from Bio import BiopythonParserWarning, SeqIO

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BiopythonParserWarning)  # broken locations are found where they matter
        records = SeqIO.parse(handle, "genbank")
        for number in count(1):
            try:
                record = next(records, None)
            except (ValueError, AssertionError, IndexError) as error:
                reason = " ".join(str(error).split())
                raise InputError(
                    f"{name}: GenBank record {number} cannot be read ({reason}); download or export the file again"
                ) from error
            if record is None:
                return
            yield record


def _genbank_transcript(record: Any, number: int, feature: Any) -> Transcript:
    from Bio.SeqFeature import ExactPosition

    notes, parts = feature.qualifiers, feature.location.parts
    gene = (notes.get("locus_tag") or notes.get("gene") or [f"feature {number}"])[0]
    table = notes.get("transl_table", [""])[0]
    circular = record.annotations.get("topology") == "circular"
    return Transcript(
        record.id,
        "+" if all(part.strand == 1 for part in parts) else "-",
        join((int(part.start), int(part.end)) for part in parts),
        gene,
        notes.get("protein_id", [gene])[0],
        pseudo="pseudo" in notes or "pseudogene" in notes,
        partial=not all(isinstance(x, ExactPosition) for part in parts for x in (part.start, part.end)),
        odd=_is_odd(parts, len(record.seq) if circular else None),
        genetic_code=int(table) if table.isdigit() else None,
    )


def _is_odd(parts: list[Any], circle: int | None) -> bool:
    """Whether a GenBank location lies on two strands or records, or spans the origin.

    It spans the origin where its parts, in reading order, run against the coordinates, or span more than half a circle.
    """
    strands = {part.strand for part in parts}
    if len(strands) > 1 or any(part.ref for part in parts):
        return True
    starts = [int(part.start) for part in parts]
    if starts != sorted(starts, reverse=strands != {1}):
        return True
    span = max(int(part.end) for part in parts) - min(starts)
    return len(parts) > 1 and circle is not None and 2 * span > circle
