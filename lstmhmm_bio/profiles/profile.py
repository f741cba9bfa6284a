"""Profiles and their alphabets.

A `Profile` is the core model of HMMER's Plan7: match, insert and delete states at consensus positions 1..M, between a
begin and an end state, as probabilities. How sequences enter and leave it (local, glocal, multihit, flanks) is chosen
where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Codes = NDArray[np.uint8]
#: what the residues of a sequence stand for: [length, K] frequencies
Mixtures = NDArray[np.floating]

#: columns of `Profile.transitions`
MM, MI, MD, IM, II, DM, DD = range(7)


@dataclass(frozen=True, eq=False)
class Alphabet:
    """Residues, the letters that stand for several of them, and how often each occurs.

    Codes of sequences are 0..K-1 for the residues, then one for each degenerate letter, then one for ``*``, which is
    no residue (a stop codon) and which no state emits.

    Attributes:
        name: as in the ALPH line of a profile file: "amino", "DNA" or "RNA".
        letters: the K residues.
        degenerate: letter -> the residues it may be.
        synonyms: letter -> the letter it is read as.
        background: [K] float64, frequencies in sequences that are no members of any family.
    """

    name: str
    letters: str
    degenerate: Mapping[str, str]
    synonyms: Mapping[str, str]
    background: NDArray[np.float64]

    @property
    def size(self) -> int:
        """K."""
        return len(self.letters)

    @cached_property
    def symbols(self) -> str:
        """The letter of each code."""
        return self.letters + "".join(self.degenerate) + "*"

    @property
    def unknown(self) -> int:
        """Code of the letter that may be any residue (X or N)."""
        return len(self.symbols) - 2

    @cached_property
    def expand(self) -> NDArray[np.bool_]:
        """[codes, K]: which residues a code may be; none for ``*``."""
        table = np.zeros((len(self.symbols), self.size), bool)
        for code, letter in enumerate(self.symbols):
            for residue in self.degenerate.get(letter, letter if letter in self.letters else ""):
                table[code, self.letters.index(residue)] = True
        return table

    @cached_property
    def _codes(self) -> Codes:
        """[256] code of each byte, 255 for what is no letter of the alphabet."""
        table = np.full(256, 255, np.uint8)
        for code, letter in enumerate(self.symbols):
            table[ord(letter)] = table[ord(letter.lower())] = code
        for letter, other in self.synonyms.items():
            table[ord(letter)] = table[ord(letter.lower())] = self.symbols.index(other)
        return table

    def encode(self, sequence: str | bytes) -> Codes:
        """Codes of an unaligned sequence, [length]; either case.

        Raises:
            InputError: a letter that the alphabet lacks (the message names neither file nor record).
        """
        raw = sequence.encode("latin-1", "replace") if isinstance(sequence, str) else sequence
        codes = self._codes[np.frombuffer(raw, np.uint8)]
        strange = np.flatnonzero(codes == 255)
        if len(strange):
            where = int(strange[0])
            shown = chr(raw[where]) if 33 <= raw[where] <= 126 else f"the byte 0x{raw[where]:02x}"
            raise InputError(f"position {where + 1} holds {shown}, which is no letter of the {self.name} alphabet")
        return codes

    def decode(self, codes: Codes) -> str:
        """The letters of some codes."""
        return np.frombuffer(self.symbols.encode(), np.uint8)[codes].tobytes().decode()


#: UniProt's residue frequencies (Swiss-Prot 50.8), the ones of HMMER's null model
_SWISSPROT = (
    0.0787945, 0.0151600, 0.0535222, 0.0668298, 0.0397062, 0.0695071, 0.0229198, 0.0590092, 0.0594422, 0.0963728,
    0.0237718, 0.0414386, 0.0482904, 0.0395639, 0.0540978, 0.0683364, 0.0540687, 0.0673417, 0.0114135, 0.0304133,
)  # fmt: skip


def _nucleotides(name: str, letters: str, other: str) -> Alphabet:
    t = letters[3]
    degenerate = {
        "R": "AG", "Y": f"C{t}", "M": "AC", "K": f"G{t}", "S": "CG", "W": f"A{t}", "H": f"AC{t}", "B": f"CG{t}",
        "V": "ACG", "D": f"AG{t}", "N": letters,
    }  # fmt: skip
    return Alphabet(name, letters, degenerate, {other: t, "X": "N", "I": "A"}, np.full(4, 0.25))


AMINO = Alphabet(
    "amino",
    "ACDEFGHIKLMNPQRSTVWY",
    {"B": "DN", "J": "IL", "Z": "EQ", "O": "K", "U": "C", "X": "ACDEFGHIKLMNPQRSTVWY"},
    {},
    np.array(_SWISSPROT) / sum(_SWISSPROT),
)
DNA = _nucleotides("DNA", "ACGT", "U")
RNA = _nucleotides("RNA", "ACGU", "T")
ALPHABETS = {alphabet.name.lower(): alphabet for alphabet in (AMINO, DNA, RNA)}


class Heading(NamedTuple):
    """What the head of a profile's entry in a file says, as in `Profile`."""

    name: str
    alphabet: Alphabet
    cutoffs: Mapping[str, tuple[float, float]]
    statistics: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Profile:
    """A profile and what its file says about it.

    Attributes:
        name: one word.
        alphabet: of its emissions.
        match: [length, K] emission probabilities of match states 1..M.
        insert: [length + 1, K] of insert states 0..M; 0 stands before the first match state.
        transitions: [length + 1, 7] probabilities, columns M->M M->I M->D I->M I->I D->M D->D (`MM` .. `DD`) out of
            node k. Row 0 leaves the begin state (D columns 1 and 0); in row M, what leads to M or D leads to the end.
        accession, description: as given by its database, or empty.
        consensus: [length] letters, or empty; upper case where strongly conserved.
        rf: [length] reference annotation, or empty.
        mm: [length] model mask: "m" where the profile's emissions are to be the background, or empty.
        cs: [length] consensus structure, or empty.
        map: [length] alignment columns (from 1) from which the match states were made, or empty.
        composition: [K] mean match emissions, or None.
        cutoffs: "GA", "TC", "NC" -> bit scores of (sequence, domain).
        statistics: "MSV", "VITERBI" -> (mu, lambda) of Gumbel, "FORWARD" -> (tau, lambda) of exponential distributions
            of local scores of random sequences; empty for a profile that is not calibrated.
        nseq: sequences it was made from, 0 if unknown.
        effective: their effective number, 0 if unknown.
        max_length: longest instance expected (nucleotides), or None.
        checksum: of the alignment, or None.
        date: when it was made, as written, or empty.
        commands: what made it, oldest first.
    """

    name: str
    alphabet: Alphabet
    match: NDArray[np.float64]
    insert: NDArray[np.float64]
    transitions: NDArray[np.float64]
    accession: str = ""
    description: str = ""
    consensus: str = ""
    rf: str = ""
    mm: str = ""
    cs: str = ""
    map: tuple[int, ...] = ()
    composition: NDArray[np.float64] | None = None
    cutoffs: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    statistics: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    nseq: int = 0
    effective: float = 0.0
    max_length: int | None = None
    checksum: int | None = None
    date: str = ""
    commands: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """M, the number of match states."""
        return len(self.match)
