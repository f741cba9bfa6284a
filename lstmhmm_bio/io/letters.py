"""From the letters of a sequence to codes, refusing what is no nucleotide."""

from __future__ import annotations

from ..errors import InputError
from ..sequence import NUCLEOTIDE_LETTERS, Codes, encode

_NUCLEOTIDES = "".join(sorted(NUCLEOTIDE_LETTERS | {x.lower() for x in NUCLEOTIDE_LETTERS})).encode()
_AMINO_ACIDS = b"ABCDEFGHIKLMNPQRSTUVWXYZacdefghiklmnpqrstuvwxyz*"
_GAPS = b"-.*"


def encode_checked(sequence: bytes | bytearray, *, source: str, record: str, before: int = 0) -> Codes:
    """Codes of a nucleotide sequence, shape [length].

    Args:
        sequence: letters without white space.
        source: the file's name and
        record: the record's id, for messages, like
        before: how many letters of the record there were before these.

    Raises:
        InputError: a letter outside the IUPAC nucleotide alphabet (a protein, gaps, binary data).
    """
    strange = sequence.translate(None, _NUCLEOTIDES)
    if strange:
        raise InputError(f"{source}: record {record!r} {_complaint(sequence, strange, before)}")
    return encode(sequence)


def _complaint(sequence: bytes | bytearray, strange: bytes | bytearray, before: int) -> str:
    """What is wrong with a sequence of which `strange` are the letters that do not belong, in order."""
    letter = strange[:1]
    where = f"at position {before + sequence.index(letter) + 1}"
    if not b"!" <= letter <= b"~":
        return f"holds the byte 0x{letter.hex()} {where}: this is no plain text; give a text FASTA file"
    found = f"holds {letter.decode()!r} {where}"
    common = len(sequence) - len(sequence.translate(None, b"ACGTUNacgtun"))
    residues = strange.translate(None, _GAPS)
    if residues and not sequence.translate(None, _AMINO_ACIDS + _GAPS) and common < 0.75 * len(sequence):
        return f"{found}: it looks like a protein; give its nucleotide sequence"
    if letter in _GAPS:
        return f"{found}; remove gap characters"
    return f"{found}, which is no IUPAC nucleotide letter; correct it or write N"
