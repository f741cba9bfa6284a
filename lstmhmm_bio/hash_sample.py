"""A sample of the pieces of some records that depends on what they are, not on their order or a seed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import TypeVar

_T = TypeVar("_T")
#: id of a record, number of the piece in it, and what cuts it out
Piece = tuple[str, int, Callable[[], _T]]


def sample_by_hash(pieces: Iterable[Piece[_T]], size: int) -> list[_T]:
    """The pieces whose places have the smallest hashes, ascending: any first few are a smaller sample.

    Args:
        pieces: all there are; a piece is cut out only if it may stay, so that memory is bounded by the sample.
        size: pieces that are kept.
    """
    kept: list[tuple[int, str, int, _T]] = []  # a heap with the largest hash on top
    for seqid, number, cut in pieces:
        rank = int.from_bytes(blake2b(f"{seqid}:{number}".encode(), digest_size=8).digest(), "big")
        if len(kept) < size:
            heapq.heappush(kept, (-rank, seqid, number, cut()))
        elif -rank > kept[0][0]:
            heapq.heapreplace(kept, (-rank, seqid, number, cut()))
    return [piece for *_, piece in sorted(kept, key=lambda k: k[:3], reverse=True)]
