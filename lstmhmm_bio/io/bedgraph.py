"""Numbers along a genome: bedGraph (UCSC) and bigWig out, both in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import pairwise
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .compression import input_name, open_input
from .coverage import is_bigwig

#: what bigWig files are named
BIGWIG_SUFFIXES = (".bw", ".bigwig")


class BedGraphWriter:
    """Writes rows ``chrom start end value`` (tabs, 0-based half-open) as they come; no header, so that every reader
    takes the file.
    """

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle

    def write(self, seqid: str, edges: NDArray[np.int64], values: NDArray[np.floating]) -> None:
        """Write the cells of one record: borders [cells + 1] and values [cells]."""
        rows = zip(pairwise(edges.tolist()), values.tolist(), strict=True)
        self._handle.writelines(f"{seqid}\t{start}\t{end}\t{value:.5f}\n" for (start, end), value in rows)

    def close(self) -> None:
        """Nothing is held back."""


class BigWigWriter:
    """Collects the cells of all records and writes them as bigWig when closed (its index comes first).

    Raises:
        InputError: pybigtools is not installed.
    """

    def __init__(self, handle: TextIO) -> None:
        self._pybigtools = _pybigtools("bigWig output")
        self._handle = handle
        self._records: list[tuple[str, NDArray[np.int64], NDArray[np.floating]]] = []

    def write(self, seqid: str, edges: NDArray[np.int64], values: NDArray[np.floating]) -> None:
        """As `BedGraphWriter.write`."""
        if len(values):
            self._records.append((seqid, edges, values))

    def close(self) -> None:
        """Write the file."""

        def rows() -> Iterator[tuple[str, int, int, float]]:
            for seqid, edges, values in self._records:
                for (start, end), value in zip(pairwise(edges.tolist()), values.tolist(), strict=True):
                    yield seqid, start, end, value

        lengths = {seqid: int(edges[-1]) for seqid, edges, _ in self._records}
        with tempfile.NamedTemporaryFile(prefix="lstmhmm_", suffix=".bw") as file:  # pybigtools writes to names only
            self._pybigtools.open(file.name, "w").write(lengths, rows())
            with open(file.name, "rb") as written:
                shutil.copyfileobj(written, self._handle.buffer)


def track_writer(path: str | None, handle: TextIO) -> BedGraphWriter | BigWigWriter:
    """The writer for a file of this name."""
    return BigWigWriter(handle) if (path or "").lower().endswith(BIGWIG_SUFFIXES) else BedGraphWriter(handle)


def read_track(path: str, seqid: str, start: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows of a bedGraph (plain or compressed) or bigWig file that overlap a region.

    Returns:
        Borders [rows, 2], cut to the region and ascending, and values [rows].

    Raises:
        InputError: the file is neither, or a row is broken.
    """
    with open_input(path) as stream:
        if is_bigwig(path):
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
    pybigtools = _pybigtools(path)
    try:
        with open(path, "rb") as stream, pybigtools.open(stream) as file:
            if seqid not in file.chroms():
                return []
            return [(int(a), int(b), float(v)) for a, b, v in file.records(seqid, start, end)]
    except (OSError, ValueError, RuntimeError, KeyError, pybigtools.BBIReadError) as error:
        raise InputError(f"{path}: the bigWig file cannot be read ({error}); copy or make it again") from error


def _pybigtools(what: str) -> Any:
    try:
        import pybigtools
    except ImportError:
        raise InputError(
            f"{what}: bigWig files need another package; install it with: pip install 'lstmhmm-bio[bigwig]'"
        ) from None
    return pybigtools
