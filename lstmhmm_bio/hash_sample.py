"""A sample of the pieces of some records that depends on what they are, not on their order or a seed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Generic, NamedTuple, TypeVar

_T = TypeVar("_T")


class Piece(NamedTuple, Generic[_T]):
    """A piece of a record.

    Attributes:
        record: its id.
        number: of the piece in it.
        cut: cuts it out.
        rank: those of a higher rank are taken first.
        weight: what it counts of the sample's size.
    """

    record: str
    number: int
    cut: Callable[[], _T]
    rank: int = 0
    weight: int = 1


def sample_by_hash(pieces: Iterable[Piece[_T]], size: int) -> list[_T]:
    """The pieces of the highest ranks and, of the same rank, of the smallest hashes of their places, in this order: any
    first few are a smaller sample.

    Args:
        pieces: all there are; a piece is cut out only if it may stay, so that memory is bounded by the sample.
        size: pieces are kept until their weights reach it.
    """
    kept: list[tuple[int, int, str, int, int, _T]] = []  # a heap with what would go first on top
    total = 0
    for record, number, cut, rank, weight in pieces:
        digest = int.from_bytes(blake2b(f"{record}:{number}".encode(), digest_size=8).digest(), "big")
        if total < size or (rank, -digest) > kept[0][:2]:
            heapq.heappush(kept, (rank, -digest, record, number, weight, cut()))
            total += weight
            while total - kept[0][4] >= size:
                total -= heapq.heappop(kept)[4]
    return [piece for *_, piece in sorted(kept, key=lambda k: k[:4], reverse=True)]
