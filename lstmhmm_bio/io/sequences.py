"""Reading sequences: one door for FASTA, GenBank, BAM, CRAM and SAM."""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import replace

from ..errors import InputError
from ..features import Record
from .alignments import read_alignments
from .compression import input_name, open_input
from .fasta import read_fasta
from .genbank import read_genbank
from .regions import id_of, no_such_record, span_in
from .unique import FirstSeen

_SAM_HEADER = re.compile(rb"@(HD|SQ|RG|PG|CO)\t")


def read_records(path: str, *, region: str | None = None, reference: str | None = None) -> Iterator[Record]:
    """The records of a sequence file in its order, read as they are asked for.

    The format is found from the content: FASTA, GenBank, BAM, CRAM or SAM, the first two also compressed (gzip, bgzip,
    bz2, xz). Of alignments every read is a record, see `read_alignments`.

    Args:
        path: a file, or "-" for standard input (FASTA and GenBank).
        region: ``NAME`` or ``NAME:START-END`` (1-based, inclusive). A record is cut to it and takes the id
            ``NAME:START-END``; of alignments the reads that overlap it come, whole.
        reference: reference FASTA; used by CRAM only.

    Raises:
        InputError: the file or a record of it is not what it should be; ids are empty or not unique.
        UsageError: the region is malformed or not in the file.
    """
    source = input_name(path)
    with open_input(path) as stream:
        kind = _format(stream.peek(), source)
        if stream.peek().startswith(BOM_UTF8):
            stream.read(len(BOM_UTF8))
        if kind == "alignments":
            # pysam opens the file itself, and a pipe's first bytes are gone by now
            if not os.path.isfile(path):
                raise InputError(f"{source}: BAM, CRAM and SAM are not read from a pipe; give a file")
            records = read_alignments(path, region=region, reference=reference)
        else:
            records = {"fasta": read_fasta, "genbank": read_genbank}[kind](stream, source)
            if region is not None:
                records = _cut(records, region, source)
        yield from _unique(records, source)


def format_of(path: str) -> str:
    """Format of a file by its first bytes: "fasta", "genbank" or "alignments".

    Raises:
        InputError: as `read_records`.
    """
    with open_input(path) as stream:
        return _format(stream.peek(), input_name(path))


def _format(head: bytes, source: str) -> str:
    """Format by the first bytes of the decompressed file."""
    text = head.removeprefix(BOM_UTF8).lstrip()
    if not head:
        raise InputError(f"{source} is empty; give a file with sequences")
    if not text:
        raise InputError(f"{source} holds no records, only blank lines; give a file with sequences")
    if text.startswith(b">"):
        return "fasta"
    if text.startswith(b"LOCUS "):
        return "genbank"
    if text.startswith((b"BAM\1", b"CRAM")) or _SAM_HEADER.match(text):
        return "alignments"
    if b"\0" in head:
        raise InputError(f"{source} is binary and none of the formats read here; give FASTA, GenBank, BAM or CRAM")
    if text.startswith(b"@"):
        raise InputError(f"{source} looks like FASTQ, which is not read; convert it with: seqtk seq -A")
    first = text.splitlines()[0][:40].decode(errors="replace")
    raise InputError(
        f"{source} is not FASTA: it begins with {first!r} instead of '>'; give FASTA, GenBank, BAM or CRAM"
    )


def _cut(records: Iterator[Record], region: str, source: str) -> Iterator[Record]:
    """The first record that answers to a region, cut to it."""
    for record in records:
        span = span_in(region, record.id, len(record))
        if span is None:
            continue
        start, end = span
        if region == record.id:
            yield record
        else:
            yield replace(record, id=id_of(record.id, start, end), codes=record.codes[start:end], circular=False)
        return
    raise no_such_record(region, source)


def _unique(records: Iterator[Record], source: str) -> Iterator[Record]:
    """The records, as long as no two share an id."""
    names = FirstSeen()
    for number, record in enumerate(records, 1):
        first = names.add(record.id)
        if first != number:
            raise InputError(f"{source}: records {first} and {number} are both named {record.id!r}; rename one of them")
        yield record
