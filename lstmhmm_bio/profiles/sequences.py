"""Reading unaligned sequences of any alphabet."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TextIO

from ..errors import InputError
from ..io.compression import input_name, open_input
from .profile import AMINO, DNA, RNA, Alphabet, Codes

_GAPS = dict.fromkeys(map(ord, "-._~ \t\r"))
_ONLY_AMINO = frozenset("EFIJLOPQZ")
#: the first line of a UniProt flat file; EMBL's begins alike
_UNIPROT = re.compile(rb"ID   \S+ +\w+; +(PRT; +)?\d+ AA\.")
_BLANK = b"\xef\xbb\xbf\r\n \t"


class Sequence(NamedTuple):
    """An unaligned sequence; `codes` [length] are those of an `Alphabet`."""

    id: str
    description: str
    codes: Codes


@dataclass(frozen=True)
class SequenceFile:
    """The sequences of a file, read anew whenever they are gone through, so that they need not be kept.

    Attributes:
        path: a file that can be read any number of times.
        alphabet: as for `read_sequences`.
    """

    path: str
    alphabet: Alphabet | None = None

    def __iter__(self) -> Iterator[Sequence]:
        return read_sequences(self.path, self.alphabet)


def read_sequences(path: str, alphabet: Alphabet | None = None) -> Iterator[Sequence]:
    """The sequences of a FASTA or UniProt flat file, plain or compressed, in its order; gap characters are dropped.

    UniProt's entries bear the name of their ID line.

    Args:
        path: a file, or "-" for standard input.
        alphabet: of the letters; None guesses it from the file's first 4 kb.

    Raises:
        InputError: the file is neither, or a record is malformed, has no id or a letter that the alphabet lacks.
    """
    source = input_name(path)
    with open_input(path) as stream:
        head = stream.peek()
        if not head.strip():
            raise InputError(f"{source} is empty; give a FASTA file with sequences")
        is_uniprot = _UNIPROT.match(head.lstrip(_BLANK))
        if not is_uniprot and not head.lstrip(_BLANK).startswith(b">"):
            raise InputError(
                f"{source} is not FASTA: it does not begin with '>'; give a FASTA or UniProt file with sequences"
            )
        if alphabet is None:
            alphabet = _guess_from(head, source)
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace")
        for name, description, letters in (_read_uniprot if is_uniprot else _read_fasta)(text, source):
            try:
                codes = alphabet.encode(letters.translate(_GAPS))
            except InputError as error:
                raise InputError(f"{source}: record {name!r}: {error}; correct it or give the right alphabet") from None
            yield Sequence(name, description, codes)


def _read_fasta(text: TextIO, source: str) -> Iterator[tuple[str, str, str]]:
    """Name, description and letters of each record."""
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    for title, letters in SimpleFastaParser(text):
        if not title.strip() or title[0].isspace():
            raise InputError(f"{source}: a record has no id; write one right after '>'")
        name, _, description = title.partition(" ")
        yield name, description.strip(), letters


def _read_uniprot(text: TextIO, source: str) -> Iterator[tuple[str, str, str]]:
    """The same of a UniProt flat file (UniProt Knowledgebase User Manual)."""
    from Bio import SwissProt

    entries = SwissProt.parse(text)
    number = 0
    while True:
        number += 1
        try:
            entry = next(entries, None)
        except (ValueError, AssertionError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{source}: entry {number} is not valid UniProt ({reason}); download it again") from error
        if entry is None:
            return
        if len(entry.sequence) != entry.sequence_length:
            raise InputError(
                f"{source}: entry {entry.entry_name} has {len(entry.sequence)} residues instead of "
                f"{entry.sequence_length}; download it again"
            )
        yield entry.entry_name, entry.description, entry.sequence


def alphabet_of(path: str) -> Alphabet:
    """The alphabet of a FASTA or UniProt file that can be read twice, guessed from its first 4 kb.

    Raises:
        InputError: the file cannot be read, or its letters fit no alphabet.
    """
    with open_input(path) as stream:
        return _guess_from(stream.peek(), input_name(path))


def _guess_from(head: bytes, source: str) -> Alphabet:
    if _UNIPROT.match(head.lstrip(_BLANK)):
        return AMINO
    lines = head.decode("utf-8", "replace").splitlines()
    try:
        return guess_alphabet("".join(line for line in lines if not line.startswith(">")))
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def guess_alphabet(letters: str) -> Alphabet:
    """The alphabet that some letters are written in: nucleotides where nine in ten are A, C, G, T, U or N.

    Raises:
        InputError: there are no letters to tell from.
    """
    counts = Counter(letters.upper().translate(_GAPS))
    total = sum(number for letter, number in counts.items() if letter.isalpha())
    if not total:
        raise InputError("there are no letters to tell the alphabet from; name it")
    if _ONLY_AMINO & counts.keys() or sum(counts[x] for x in "ACGTUN") < 0.9 * total:
        return AMINO
    return RNA if counts["U"] > counts["T"] else DNA
