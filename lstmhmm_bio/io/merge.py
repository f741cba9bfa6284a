"""Joining the outputs of several runs over parts of one genome into what one run over all of it writes.

A part is a GFF3, GTF, BED, GenBank or FASTA file of `annotate` (or a BED of `segment`). Shards say in their header
which they are ("shard=2/4", GFF3, GTF and BED) and are put in order; other parts are joined in the order given, or
interleaved in the order of a genome. Lines pass through one at a time; only the names of the records are kept.
"""

from __future__ import annotations

import heapq
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TextIO

from ..errors import InputError
from .compression import input_name, open_input
from .gff3 import escape_seqid
from .sequences import read_records

_SHARD = re.compile(r" shard=(\d+)/(\d+)\n")
_REGION = "##sequence-region "


def shard_mark(index: int, count: int) -> str:
    """The words that a shard's provenance ends in; `merge` reads them.

    Args:
        index: number of the shard, from 1.
        count: number of shards.
    """
    return f" shard={index}/{count}"


@dataclass(frozen=True)
class _Part:
    """One open input.

    Attributes:
        name: for messages.
        kind: "gff3", "genbank", "fasta", "gtf", "bed"; "rows" for a header without rows; "" for an empty file.
        header: its first lines, all comments.
        lines: the rest.
    """

    name: str
    kind: str
    header: str
    lines: Iterator[str]


def merge(paths: Sequence[str], handle: TextIO, *, genome: str | None = None) -> int:
    """Writes the parts as one file.

    Args:
        paths: files of one format, plain or compressed.
        handle: where to.
        genome: sequence file whose order of records the result takes.

    Returns:
        Number of records written, those without a line in their file not counted.

    Raises:
        InputError: a part is of another format, program or model, cut off, given twice, or missing.
    """
    with ExitStack() as stack:
        parts = [_open(stack, path) for path in paths]
        kind = _common_kind(parts)
        parts = _in_order(parts)
        handle.write(_common_header(parts))
        ranks = _ranks(genome, kind) if genome else None
        records = [_records(part, kind, ranks) for part in parts]
        ordered = heapq.merge(*records, key=lambda r: ranks[r[0]]) if ranks else chain(*records)
        seen: set[str] = set()
        for name, lines in ordered:
            if name in seen:
                raise InputError(f"record {name!r} is in the parts twice; give every part once")
            seen.add(name)
            handle.writelines(lines)
    if ranks and kind in ("gff3", "genbank"):  # these name records without genes too
        missing = [name for name in ranks if name not in seen]
        if missing:
            raise InputError(f"record {missing[0]!r} of {genome} is in none of the parts; annotate it too")
    return len(seen)


def _open(stack: ExitStack, path: str) -> _Part:
    name = input_name(path)
    text = io.TextIOWrapper(stack.enter_context(open_input(path)), encoding="utf-8", newline="\n")
    lines = _whole_lines(text, name)
    header = ""
    first = next(lines, "")
    while first.startswith("#") and not first.startswith(_REGION):
        header += first
        first = next(lines, "")
    return _Part(name, _kind(header, first, name), header, chain([first] if first else [], lines))


def _whole_lines(text: TextIO, name: str) -> Iterator[str]:
    line = "\n"
    try:
        for line in text:
            yield line
    except UnicodeDecodeError:
        raise InputError(f"{name} is no text; give GFF3, GTF, BED, GenBank or FASTA of lstmhmm") from None
    if not line.endswith("\n"):
        raise InputError(f"{name} is cut off in its last line; write it again")


def _kind(header: str, first: str, name: str) -> str:
    if header.startswith("##gff-version 3"):
        return "gff3"
    if first.startswith("LOCUS ") and not header:
        return "genbank"
    if first.startswith(">") and not header:
        return "fasta"
    columns = first.split("\t")
    if len(columns) in (9, 12) and columns[1].isdecimal() and columns[2].isdecimal():
        return "bed"
    if len(columns) == 9 and columns[3].isdecimal() and columns[4].isdecimal():
        return "gtf"
    if not first:
        return "rows" if header else ""
    raise InputError(f"{name} is none of the formats that are merged: GFF3, GTF, BED, GenBank or FASTA of lstmhmm")


def _common_kind(parts: list[_Part]) -> str:
    named = {part.kind: part.name for part in parts}
    kinds = sorted(named.keys() - {"rows", ""})
    # an empty FASTA or GenBank file is one without records, the others begin with a header
    fits = {"gff3": set(), "gtf": {"rows"}, "bed": {"rows"}, "genbank": {""}, "fasta": {""}}
    kind = kinds[0] if kinds else min(named)
    other = next((k for k in named if k != kind and k not in fits.get(kind, set())), None)
    if other is not None:
        shown = {"": "empty", "rows": "a header alone"}
        raise InputError(
            f"{named[kind]} is {shown.get(kind, kind)} and {named[other]} is {shown.get(other, other)}; "
            "merge whole files of one format"
        )
    return kind


def _in_order(parts: list[_Part]) -> list[_Part]:
    """Shards by their number; other parts as they are."""
    shards = [_SHARD.search(part.header) for part in parts]
    if not any(shards):
        return parts
    numbered: dict[int, _Part] = {}
    counts = set()
    for part, shard in zip(parts, shards, strict=True):
        if shard is None:
            raise InputError(f"{part.name} is no shard, others are; merge the shards of one run")
        number = int(shard[1])
        counts.add(int(shard[2]))
        if number in numbered:
            raise InputError(f"{numbered[number].name} and {part.name} are both shard {number}; give every shard once")
        numbered[number] = part
    if len(counts) > 1:
        raise InputError(
            f"these are shards of runs with {' and '.join(map(str, sorted(counts)))} shards; merge one run"
        )
    missing = [str(i) for i in range(1, counts.pop() + 1) if i not in numbered]
    if missing:
        raise InputError(f"shard {', '.join(missing)} is missing: annotate it and give it too")
    return [numbered[i] for i in sorted(numbered)]


def _common_header(parts: list[_Part]) -> str:
    headers = {_SHARD.sub("\n", part.header): part.name for part in parts if part.kind}
    if len(headers) > 1:
        (_, one), (_, other), *_ = headers.items()
        raise InputError(f"{one} and {other} come from different versions or models; annotate all parts with one")
    return next(iter(headers), "")


def _ranks(genome: str, kind: str) -> dict[str, int]:
    """Place of each record of a genome, by its name in a format; without those that the format cannot show."""
    name = escape_seqid if kind == "gff3" else str
    return {name(r.id): i for i, r in enumerate(read_records(genome)) if len(r) or kind != "gff3"}


def _records(part: _Part, kind: str, ranks: dict[str, int] | None) -> Iterator[tuple[str, Iterator[str]]]:
    """The records of a part with their lines, which must be taken before the next record."""
    last = -1
    for name, lines in groupby(part.lines, _Namer(kind)):
        if ranks is not None:
            if name not in ranks:
                raise InputError(f"{part.name}: record {name!r} is not in the genome; give the genome it comes from")
            if ranks[name] < last:
                raise InputError(f"{part.name}: its records are not in the genome's order; write it again")
            last = ranks[name]
        yield name, lines


class _Namer:
    """Tells of one line after the other which record it belongs to."""

    def __init__(self, kind: str) -> None:
        self._kind, self._name = kind, ""

    def __call__(self, line: str) -> str:
        if self._kind == "fasta":
            if line.startswith(">"):
                # a gene's name is its record's, "_" and a number
                self._name = line[1:].partition(" ")[0].rstrip().rpartition("_")[0]
        elif self._kind == "genbank":
            if line.startswith("LOCUS "):
                self._name = _second_word(line)
        elif line.startswith(_REGION):
            self._name = _second_word(line)
        elif not line.startswith("#"):
            self._name = line.partition("\t")[0]
        return self._name


def _second_word(line: str) -> str:
    words = line.split(None, 2)
    return words[1] if len(words) > 1 else ""
