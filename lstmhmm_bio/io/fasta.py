"""FASTA: reading genomes, writing coding sequences and proteins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, TextIO

import numpy as np

from ..errors import InputError
from ..features import Annotation, Gene, Record
from ..sequence import decode
from .derived import coding_sequence, gene_ids, on_record, protein, transcript_id
from .letters import encode_checked

_COLUMNS = 60
#: bytes that are read and coded at a time
_PIECE = 1 << 20


def read_fasta(stream: BinaryIO, source: str) -> Iterator[Record]:
    """Records of a FASTA stream, one in memory at a time.

    Lines of any length and either line end, blank lines, blanks inside a sequence and records of no bases are fine.

    Raises:
        InputError: text before the first header, a header with no id, letters that are no nucleotides.
    """
    record: _Growing | None = None
    number, at_begin = 1, True  # of the line that is read on from here, and whether none of it was read yet
    while block := stream.read(_PIECE):
        at = 0
        while at < len(block):
            if at_begin and block.startswith(b">", at):
                if block.find(b"\n", at) < 0:
                    block += stream.readline()
                end = (block.find(b"\n", at) + 1) or len(block)
                if record:
                    yield record.finished()
                record = _Growing(source, *_read_header(block[at:end], source, number))
            else:
                end = (block.find(b"\n>", at) + 1) or len(block)
                lines = block[at:end]
                if record:
                    record.add(lines)
                elif lines.strip():
                    number += lines[: len(lines) - len(lines.lstrip())].count(b"\n")
                    raise InputError(
                        f"{source} is not FASTA: line {number} stands before the first line with '>'; remove it"
                    )
            number += block.count(b"\n", at, end)
            at_begin = block[end - 1 : end] == b"\n"
            at = end
    if record:
        yield record.finished()


class _Growing:
    """A record of which more may come. Its lines are coded piece by piece: a chromosome is in memory once."""

    def __init__(self, source: str, name: str, description: str) -> None:
        self._source, self._name, self._description = source, name, description
        self._lines, self._codes = bytearray(), bytearray()

    def add(self, lines: bytes) -> None:
        self._lines += lines
        if len(self._lines) >= _PIECE:
            self._encode()

    def finished(self) -> Record:
        self._encode()
        return Record(self._name, np.frombuffer(self._codes, np.uint8), self._description)

    def _encode(self) -> None:
        letters = self._lines.translate(None, b" \t\r\n\v\f")
        self._lines.clear()
        self._codes += encode_checked(letters, source=self._source, record=self._name, before=len(self._codes)).data


def _read_header(header: bytes, source: str, number: int) -> tuple[str, str]:
    """Id and description of a header, which is a file's line of this number."""
    text = header[1:].rstrip()
    if b"\r" in text:
        raise InputError(f"{source}: line {number} ends in a bare carriage return; convert the line ends (mac2unix)")
    if not text or text[:1].isspace():
        raise InputError(f"{source}: the record at line {number} has no id; write one right after '>'")
    word, *rest = text.split(None, 1)
    try:
        name = word.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: the id at line {number} is not UTF-8 text; rename the record") from error
    return name, rest[0].decode(errors="replace") if rest else ""


def write_cds_fasta(handle: TextIO, annotation: Annotation) -> None:
    """Write the coding sequences of one record, stop codons included, 5' to 3'; unknown bases are N.

    Introns are cut out. Where genes may have introns, the names are those of the transcripts, ``<gene>.t1``.
    """
    for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
        _write(handle, name, gene, annotation.record, decode(coding_sequence(annotation.record, gene)))


def write_protein_fasta(handle: TextIO, annotation: Annotation) -> None:
    """Write the proteins of one record, without a letter for the stop codon; X where a codon holds unknown bases.

    Names as in `write_cds_fasta`.
    """
    for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
        _write(handle, name, gene, annotation.record, protein(annotation.record, gene))


def _write(handle: TextIO, name: str, gene: Gene, record: Record, sequence: str) -> None:
    # all parts of the CDS, those after the origin of a circular record last
    place = ",".join(f"{start + 1}-{end}" for start, end in on_record(gene.segments, len(record)))
    words = [transcript_id(name, gene), f"{gene.seqid}:{place}({gene.strand})"]
    if gene.has_start:
        words.append(f"start_type={gene.start_codon}")
    words.append(f"score={gene.score:.4f}")
    # two digits as in Prodigal: left end, right end
    words.append(f"partial={int(gene.partial_left)}{int(gene.partial_right)}")
    handle.write(f">{' '.join(words)}\n")
    for i in range(0, len(sequence), _COLUMNS):
        handle.write(sequence[i : i + _COLUMNS] + "\n")
