"""Long records in parts: memory is bounded by the part, whatever the record.

A record of more than `WHOLE` bases is decoded in parts that overlap by `OVERLAP` bases, each as if it were a record.
Far from a part's ends nothing tells it from the whole: paths meet within some genes. In the overlap the parts are laid
side by side: partitions where its middle is, genes at the place nearest to it that no gene of either part covers. Parts
depend on a record's length alone, and the network reads them in the same windows as the whole.

Circular records, which are those of bacteria, stay whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from .features import Gene, Record
from .windows import CORE

#: records up to this many bases stay whole
WHOLE = 256 * CORE
#: bases between the beginnings of two parts, and in both of them
STEP, OVERLAP = 192 * CORE, 24 * CORE

_T = TypeVar("_T")


class Part(NamedTuple):
    """A stretch of a record that is decoded on its own.

    Attributes:
        record: all of it.
        piece: the stretch as a record of the same name.
        start: its first base.
        first, end: what it answers for where parts are laid side by side; 0-based half-open, in the record.
    """

    record: Record
    piece: Record
    start: int
    first: int
    end: int

    @property
    def inner(self) -> slice:
        """What it answers for, in the piece."""
        return slice(self.first - self.start, self.end - self.start)


def whole(record: Record) -> Part:
    """A record as its only part."""
    return Part(record, record, 0, 0, len(record))


def parts_of(record: Record) -> Iterator[Part]:
    """The parts of a record, in order; at least one."""
    length = len(record)
    if length <= WHOLE or record.circular:
        yield whole(record)
        return
    starts = range(0, length - OVERLAP, STEP)
    for start in starts:
        stop = length if start == starts[-1] else start + STEP + OVERLAP
        piece = replace(record, codes=record.codes[start:stop])
        first = start + OVERLAP // 2 if start else 0
        yield Part(record, piece, start, first, stop if stop == length else stop - OVERLAP // 2)


def by_record(found: Iterable[tuple[Part, _T]]) -> Iterator[tuple[Record, list[tuple[Part, _T]]]]:
    """What was found in the parts of each record, together."""
    waiting: list[tuple[Part, _T]] = []
    for part, value in found:
        waiting.append((part, value))
        if part.end == len(part.record):
            yield part.record, waiting
            waiting = []


def joined_genes(found: Sequence[tuple[Part, Sequence[Gene]]]) -> list[Gene]:
    """The genes of a record, ascending, from those of its parts; they come in the coordinates of the pieces."""
    genes: list[Gene] = []
    for part, of_piece in found:
        mine = [g.moved(part.start) for g in of_piece if not _is_cut(g, part)]
        if part.start:
            seam = _seam([*genes, *mine], part.start, part.start + OVERLAP)
            genes = [g for g in genes if g.start < seam]
            clear = max([seam, *(g.end for g in genes)])
            mine = [g for g in mine if g.start >= clear]
        genes += mine
    return genes


def _is_cut(gene: Gene, part: Part) -> bool:
    """Whether a gene runs off an end of the part that is none of the record."""
    at_end = part.start + len(part.piece) == len(part.record)
    return (gene.partial_left and part.start > 0) or (gene.partial_right and not at_end)


def _seam(genes: Sequence[Gene], first: int, end: int) -> int:
    """The place between two bounds nearest to their middle that no gene lies across; the middle if there is none."""
    middle = (first + end) // 2
    starts, ends = (np.array([getattr(g, name) for g in genes], np.int64) for name in ("start", "end"))
    places = np.unique(np.concatenate([[middle], starts, ends]))
    places = places[(places >= first) & (places <= end)]
    near = (ends > first) & (starts < end)
    across = ((starts[near] < places[:, None]) & (places[:, None] < ends[near])).any(axis=1)
    free = places[~across]
    return int(free[np.abs(free - middle).argmin()]) if len(free) else middle
