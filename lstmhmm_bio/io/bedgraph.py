"""Numbers along a genome: bedGraph (UCSC) and bigWig out, both in."""

from __future__ import annotations

from io import TextIOWrapper
from itertools import pairwise
from typing import BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import bigwig
from .bigwig import BigwigWriter
from .compression import input_name, open_input


class BedGraphWriter:
    """Writes rows ``chrom start end value`` (tabs, 0-based half-open) as they come; no header, so that every reader
    takes the file.
    """

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle

    def write(self, seqid: str, values: NDArray[np.floating], edges: NDArray[np.int64]) -> None:
        """Write the cells of one record: values [cells] and borders [cells + 1]."""
        rows = zip(pairwise(edges.tolist()), values.tolist(), strict=True)
        self._handle.writelines(f"{seqid}\t{start}\t{end}\t{value:.5f}\n" for (start, end), value in rows)

    def __enter__(self) -> BedGraphWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is held back."""


def track_writer(path: str | None, handle: TextIO) -> BedGraphWriter | BigwigWriter:
    """The writer for a file of this name, a context manager.

    Raises:
        UsageError, OutputError: as `BigwigWriter`.
    """
    return BigwigWriter(handle) if (path or "").lower().endswith(bigwig.SUFFIXES) else BedGraphWriter(handle)


def read_track(path: str, seqid: str, start: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows of a bedGraph (plain or compressed) or bigWig file that overlap a region.

    Returns:
        Borders [rows, 2], cut to the region and ascending, and values [rows].

    Raises:
        InputError: the file is neither, or a row is broken.
    """
    with open_input(path) as stream:
        if bigwig.is_bigwig(path):
            rows = _bigwig_rows(path, seqid, start, end)
        else:
            rows = _bedgraph_rows(stream, input_name(path), seqid, start, end)
    rows.sort()
    borders = np.array([(max(a, start), min(b, end)) for a, b, _ in rows], np.int64).reshape(-1, 2)
    return borders, np.array([value for *_, value in rows], np.float64)


def _bedgraph_rows(stream: BinaryIO, name: str, seqid: str, start: int, end: int) -> list[tuple[int, int, float]]:
    rows = []
    for number, line in enumerate(TextIOWrapper(stream, encoding="utf-8", errors="replace"), 1):
        if line.startswith(("#", "track", "browser")) or not line.strip():
            continue
        columns = line.split()
        try:
            a, b, value = int(columns[1]), int(columns[2]), float(columns[3])
        except (IndexError, ValueError):
            raise InputError(f"{name}, line {number}: expected 'name start end value'; give a bedGraph file") from None
        if columns[0] == seqid and a < end and b > start and np.isfinite(value):
            rows.append((a, b, value))
    return rows


def _bigwig_rows(path: str, seqid: str, start: int, end: int) -> list[tuple[int, int, float]]:
    with bigwig.open_bigwig(path) as file:
        if seqid not in file.chroms():
            return []
        return [(int(a), int(b), float(v)) for a, b, v in file.records(seqid, start, end)]
