"""Names that must differ, in little memory: of millions of reads, the names would be the largest thing kept."""

from __future__ import annotations

from array import array
from hashlib import blake2b

_SMALLEST = 1 << 10
#: share of the places of the table that may be taken
_FULL = 0.6


class FirstSeen:
    """Tells when a name was seen first.

    Holds 8 bytes of hash and 4 of number for each name, in a table with open addressing. Two of 10 million names have
    the same hash once in 370 000 runs.
    """

    def __init__(self) -> None:
        self._hashes, self._numbers = array("Q", bytes(8 * _SMALLEST)), array("I", bytes(4 * _SMALLEST))
        self._count = 0

    def add(self, name: str) -> int:
        """Adds the next name; the number, from 1, of the first of its like."""
        self._count += 1
        if self._count > _FULL * len(self._hashes):
            self._grow()
        digest = blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
        return self._put(int.from_bytes(digest, "big") or 1, self._count)  # 0 is a free place

    def _put(self, value: int, number: int) -> int:
        hashes, last = self._hashes, len(self._hashes) - 1
        place = value & last
        while hashes[place] != value:
            if not hashes[place]:
                hashes[place], self._numbers[place] = value, number
                break
            place = (place + 1) & last
        return self._numbers[place]

    def _grow(self) -> None:
        size = 2 * len(self._hashes)
        hashes, numbers = self._hashes, self._numbers
        self._hashes, self._numbers = array("Q", bytes(8 * size)), array("I", bytes(4 * size))
        for value, number in zip(hashes, numbers, strict=True):
            if value:
                self._put(value, number)
