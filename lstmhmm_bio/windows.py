"""Cutting records into windows of a few fixed shapes, and putting the results together again.

A record's windows depend on its own length alone, never on memory, threads or what else is in the file. A record that
fits one of the `SHORT` windows gets that window, padded at the end. A longer one is cut on a grid that begins at its
position 0: cores of `CORE` bases side by side, each read with `FLANK` bases of context at both ends (padding beyond
the record's ends).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .sequence import UNKNOWN, Codes

SHORT = (192, 384, 1536, 3072, 6144, 12288)
LONG = 24576
FLANK = 768
CORE = LONG - 2 * FLANK
#: bases in one call of the network; a call is always padded to this many
CALL = 4 * LONG


@dataclass(frozen=True)
class Window:
    """One window of one record.

    Attributes:
        record: index of the record in its batch of records.
        size: bases, padding included.
        start: position of the window's first base in the record; negative at the left edge of a long record.
        core_start, core_end: the part of the record that this window answers for.
    """

    record: int
    size: int
    start: int
    core_start: int
    core_end: int


def windows_of(record: int, length: int) -> list[Window]:
    """The windows of a record of some length, in order; none for an empty one."""
    if length == 0:
        return []
    for size in SHORT:
        if length <= size:
            return [Window(record, size, 0, 0, length)]
    return [Window(record, LONG, a - FLANK, a, min(a + CORE, length)) for a in range(0, length, CORE)]


def cut(codes: Codes, window: Window) -> Codes:
    """The window's codes, [size], padded with unknown bases beyond the record."""
    out = np.full(window.size, UNKNOWN, np.uint8)
    first, last = max(window.start, 0), min(window.start + window.size, len(codes))
    out[first - window.start : last - window.start] = codes[first:last]
    return out
