"""Nucleotide codes, reverse complement and genetic codes.

Sequences are ``uint8`` arrays of codes: A=0, C=1, G=2, T=3 and 4 for everything else (N and the IUPAC ambiguity
letters). A codon's index is ``16*a + 4*b + c``. All coordinates in the package are 0-based and half-open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

Codes = NDArray[np.uint8]
#: coding stretches of a gene, 0-based half-open, ascending
Segments = tuple[tuple[int, int], ...]

BASES = "ACGT"
UNKNOWN = 4
#: letters a nucleotide sequence may hold: IUPAC without gaps, and the X that repeat maskers write
NUCLEOTIDE_LETTERS = frozenset("ACGTURYSWKMBDHVNX")

#: start codons that prokaryotic genes use; others of the NCBI tables (CTG, ATT, ...) are too rare to pay for
PROKARYOTIC_STARTS = ("ATG", "GTG", "TTG")
EUKARYOTIC_STARTS = ("ATG",)

_PIECE = 1 << 22
#: bases up to which one call of NumPy is faster than five
_SHORT = 1 << 12
_ENCODE = np.full(256, UNKNOWN, np.uint8)
for _i, _b in enumerate(BASES):
    _ENCODE[ord(_b)] = _ENCODE[ord(_b.lower())] = _i
_ENCODE[ord("U")] = _ENCODE[ord("u")] = 3
_DECODE = np.frombuffer(b"ACGTN", np.uint8)


def encode(sequence: bytes | bytearray | str) -> Codes:
    """Codes of a nucleotide string, shape [length]; U counts as T, letters beyond ACGTU become 4."""
    raw = sequence.encode("latin-1") if isinstance(sequence, str) else sequence
    return _ENCODE[np.frombuffer(raw, np.uint8)]


def decode(codes: Codes) -> str:
    """The string of some codes; unknown bases are written N."""
    return _DECODE[codes].tobytes().decode("ascii")


def reverse_complement(codes: Codes) -> Codes:
    """Codes of the opposite strand, read 5' to 3'."""
    flipped = codes[::-1]
    return np.where(flipped < 4, 3 - flipped, flipped).astype(np.uint8)


def mirrored(segments: Segments, length: int) -> Segments:
    """Segments (0-based half-open, ascending) on one strand of a sequence in the coordinates of the opposite strand."""
    return tuple((length - end, length - start) for start, end in reversed(segments))


def own_segments(segments: Segments, strand: str, length: int) -> Segments:
    """Segments in forward coordinates in those of the strand that they lie on, 5' to 3'."""
    return segments if strand == "+" else mirrored(segments, length)


def base_counts(codes: Codes) -> NDArray[np.int64]:
    """[5] how often each code occurs."""
    if len(codes) < _SHORT:
        return np.bincount(codes, minlength=UNKNOWN + 1)
    # several times as fast for long ones: np.bincount makes eight bytes of every base
    return np.array([np.count_nonzero(codes == code) for code in range(UNKNOWN + 1)], np.int64)


def codon_index(codon: str) -> int:
    """Index 0..63 of a codon written in ACGT."""
    a, b, c = (BASES.index(x) for x in codon.upper().replace("U", "T"))
    return 16 * a + 4 * b + c


def shifted(values: Any, by: int, fill: int | bool = UNKNOWN) -> Any:
    """Values [..., time], such as codes, as seen from each base: that `by` bases further on, `fill` beyond the ends.

    Takes numpy and jax arrays, as `codons` does.
    """
    xp, n = values.__array_namespace__(), values.shape[-1]
    beyond = xp.full((*values.shape[:-1], abs(by)), fill, dtype=values.dtype)
    if by < 0:
        return xp.concat([beyond, values], axis=-1)[..., :n]
    return xp.concat([values, beyond], axis=-1)[..., by : by + n]


def codons(first: Any, second: Any, third: Any) -> Any:
    """Codon index 0..63 of three bases' codes, 64 where one of them is unknown, as uint8."""
    xp = first.__array_namespace__()
    a, b, c = (x.astype(xp.uint8) for x in (first, second, third))
    return xp.where(xp.maximum(xp.maximum(a, b), c) < UNKNOWN, 16 * a + 4 * b + c, 64)


def kmer_indices(codes: Codes, k: int) -> NDArray[np.int32]:
    """Index in [0, 4**k) of the k-mer that starts at each position, shape [length]; -1 where it holds an unknown
    base or runs over the end.
    """
    n = len(codes)
    out = np.full(n, -1, np.int32)
    if n < k:
        return out
    index = np.zeros(n - k + 1, np.int32)
    known = np.ones(n - k + 1, bool)
    for j in range(k):
        part = codes[j : n - k + 1 + j]
        index = index * 4 + part
        known &= part < 4
    out[: n - k + 1] = np.where(known, index, -1)
    return out


def kmer_counts(codes: Codes, k: int) -> NDArray[np.int64]:
    """[4**k] how often each k-mer stands on either strand; in pieces, because indices take more than the bases."""
    forward = np.zeros(4**k, np.int64)
    for a in range(0, len(codes), _PIECE):
        index = kmer_indices(codes[a : a + _PIECE + k - 1], k)
        forward += np.bincount(index[index >= 0], minlength=4**k)
    return forward + forward[reverse_complement_kmers(k)]


@cache
def reverse_complement_kmers(k: int) -> NDArray[np.int64]:
    """[4**k] index of each k-mer's reverse complement."""
    index = np.arange(4**k)
    out = np.zeros_like(index)
    for _ in range(k):
        out = out * 4 + 3 - index % 4
        index = index // 4
    return out


@dataclass(frozen=True)
class GeneticCode:
    """An NCBI genetic code as codon tables.

    Attributes:
        number: NCBI translation table number.
        amino_acids: 64 letters in codon-index order, ``*`` for stop.
        is_stop: [64] bool.
        is_start: [64] bool, the table's start codons among those asked for.
    """

    number: int
    amino_acids: str
    is_stop: NDArray[np.bool_]
    is_start: NDArray[np.bool_]

    @staticmethod
    @cache
    def from_number(number: int, starts: tuple[str, ...] = PROKARYOTIC_STARTS) -> GeneticCode:
        """The code with an NCBI number, from Biopython's tables.

        Args:
            number: of the table.
            starts: codons that may begin a gene if the table agrees.

        Raises:
            UsageError: no such table.
        """
        from Bio.Data import CodonTable

        tables = CodonTable.unambiguous_dna_by_id
        if number not in tables:
            known = ", ".join(map(str, sorted(tables)))
            raise UsageError(f"genetic code {number} does not exist; NCBI's tables are {known}")
        table = tables[number]
        letters = []
        for a in BASES:
            for b in BASES:
                for c in BASES:
                    codon = a + b + c
                    letters.append("*" if codon in table.stop_codons else table.forward_table[codon])
        is_stop = np.array([x == "*" for x in letters])
        is_start = np.zeros(64, bool)
        for codon in starts:
            is_start[codon_index(codon)] = codon in table.start_codons
        return GeneticCode(number, "".join(letters), is_stop, is_start)

    def translate(self, codes: Codes, *, starts: bool = True) -> str:
        """Protein of a coding sequence in frame; X where a codon holds an unknown base.

        Args:
            codes: coding sequence from its first codon; a trailing incomplete codon is left out.
            starts: the first codon is a true start codon, translated M whatever it codes for inside.
        """
        index = kmer_indices(codes, 3)[0 : len(codes) // 3 * 3 : 3]
        table = np.frombuffer((self.amino_acids + "X").encode(), np.uint8)
        protein = table[index].tobytes().decode()
        if starts and protein and index[0] >= 0 and self.is_start[index[0]]:
            protein = "M" + protein[1:]
        return protein
