"""Numbers along the genome as bigWig (Kent et al. 2010, Bioinformatics 26:2204), in and out, through pybigtools.

A bigWig file wants the lengths of all records first, and its records in the order of their names (its index is a search
tree, which pybigtools builds in the order given). `write_bigwig` is for values that come so; a `BigwigWriter` takes the
records of a run as they come, and any number of tracks can be written side by side::

    with OutputSet() as outputs, BigwigWriter(outputs.open("coding.bw")) as track:
        track.write("chr1", posteriors)  # [length]
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, LstmHmmError, OutputError, UsageError
from .compression import open_input
from .output import OutputSet

#: what bigWig files are named
SUFFIXES = (".bw", ".bigwig")
#: (seqid, start, end, value), 0-based half-open
Interval = tuple[str, int, int, float]

#: values are rounded to this many decimals, so that neighbours that look alike are one run
DECIMALS = 3

_RUN = np.dtype([("start", np.uint32), ("end", np.uint32), ("value", np.float32)])
_BASES_AT_A_TIME = 1 << 20
_RUNS_AT_A_TIME = 1 << 16
_MAGIC = bytes.fromhex("26fc8f88")
_MISSING = "bigWig files need another package; install it with: pip install 'lstmhmm-bio[bigwig]'"


def is_bigwig(path: str) -> bool:
    """Whether a file's first bytes are those of a bigWig file, of either byte order.

    Raises:
        InputError: the file cannot be read.
    """
    with open_input(path) as stream:
        return stream.peek()[: len(_MAGIC)] in (_MAGIC, _MAGIC[::-1])


@contextmanager
def open_bigwig(path: str) -> Iterator[Any]:
    """A bigWig file to read from, as pybigtools opens it.

    Raises:
        InputError: pybigtools is not installed, or the file is broken, now or while it is read.
    """
    pybigtools = _pybigtools(InputError(f"{path}: {_MISSING}"))
    try:
        with open(path, "rb") as stream, pybigtools.open(stream) as file:
            yield file
    except (OSError, ValueError, RuntimeError, KeyError, pybigtools.BBIReadError) as error:
        raise InputError(f"{path}: the bigWig file cannot be read ({error}); copy or make it again") from error


def runs(values: ArrayLike) -> NDArray[np.void]:
    """The stretches of equal values of a track [length], rounded to `DECIMALS`.

    Returns:
        [stretches] of fields start, end (0-based half-open) and value.
    """
    rounded = np.round(np.asarray(values, np.float32), DECIMALS)
    starts = np.flatnonzero(np.diff(rounded, prepend=np.float32(np.nan)) != 0)
    found = np.empty(len(starts), _RUN)
    found["start"], found["value"] = starts, rounded[starts]
    found["end"] = np.append(starts, len(rounded))[1:]
    return found


def write_bigwig(path: str, chrom_sizes: Mapping[str, int], values: Iterable[Interval]) -> None:
    """Writes a bigWig file from a stream of values, which is never in memory; it appears whole or not at all.

    Args:
        path: where to.
        chrom_sizes: bases of each record.
        values: disjoint and ascending by name, then start. Neighbours of the same value are joined.

    Raises:
        UsageError: pybigtools is not installed.
        OutputError: the file cannot be written, or there are no values, which a bigWig must have.
        ValueError: `values` are not in order.
    """
    with OutputSet() as outputs:
        _write(outputs.open(path).buffer, chrom_sizes, _joined(values, chrom_sizes))


class BigwigWriter:
    """Writes one track record by record; a context manager, which keeps what it gets on disk and makes the file last.

    Args:
        handle: of an `OutputSet`.

    Raises:
        UsageError: pybigtools is not installed.
        OutputError: at the end, as `write_bigwig`.
    """

    def __init__(self, handle: TextIO) -> None:
        _pybigtools(UsageError(_MISSING))  # who cannot write need not compute
        self._handle = handle
        self._spool = tempfile.TemporaryFile(prefix="lstmhmm_")  # noqa: SIM115  (closed by __exit__)
        self._records: dict[str, tuple[int, int, int]] = {}  # bases, runs, place in the spool

    def write(self, seqid: str, values: ArrayLike, edges: NDArray[np.int64] | None = None) -> None:
        """Adds a record by its values, [length]; or those of cells, [cells], which are written as they are.

        Args:
            seqid: record.
            values: one for each base or cell.
            edges: [cells + 1] borders of the cells.
        """
        track, place = np.asarray(values), self._spool.tell()
        for found in _runs_of(track) if edges is None else [_cells(track, edges)]:
            self._spool.write(found.tobytes())
        count = (self._spool.tell() - place) // _RUN.itemsize
        self._records[seqid] = len(track) if edges is None else int(edges[-1]), count, place

    def __enter__(self) -> BigwigWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._spool:
            if kind is None:
                sizes = {name: length for name, (length, _, _) in self._records.items()}
                _write(self._handle.buffer, sizes, self._intervals())

    def _intervals(self) -> Iterator[Interval]:
        for name, (_, count, place) in sorted(self._records.items()):
            self._spool.seek(place)
            for done in range(0, count, _RUNS_AT_A_TIME):
                data = self._spool.read(min(_RUNS_AT_A_TIME, count - done) * _RUN.itemsize)
                found = np.frombuffer(data, _RUN)
                columns = (found[field].tolist() for field in ("start", "end", "value"))
                yield from zip(repeat(name), *columns, strict=False)


def _runs_of(track: NDArray[Any]) -> Iterator[NDArray[np.void]]:
    """`runs` of a track, some of them at a time."""
    for start in range(0, len(track), _BASES_AT_A_TIME):
        found = runs(track[start : start + _BASES_AT_A_TIME])
        found["start"] += start
        found["end"] += start
        yield found


def _cells(values: NDArray[Any], edges: NDArray[np.int64]) -> NDArray[np.void]:
    found = np.empty(len(values), _RUN)
    found["start"], found["end"], found["value"] = edges[:-1], edges[1:], values
    return found


def _write(handle: BinaryIO, chrom_sizes: Mapping[str, int], values: Iterable[Interval]) -> None:
    bigtools = _pybigtools(UsageError(_MISSING))
    failures: list[BaseException] = []

    def guarded() -> Iterator[Interval]:
        # pybigtools takes an exception for the end of the values
        try:
            yield from values
        except BaseException as error:
            failures.append(error)

    stream = guarded()
    first = next(stream, None)
    with tempfile.TemporaryDirectory(prefix="lstmhmm_") as folder:
        path = Path(folder, "track.bw")  # it wants a name with this suffix
        if first is not None:
            try:
                bigtools.open(str(path), "w").write(dict(chrom_sizes), chain([first], stream))
            except BaseException as error:  # a PanicException of a Rust library is no Exception
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise
        if failures:
            raise failures[0]
        if first is None:
            raise OutputError("a bigWig file cannot be without values, and there is no sequence; leave it out")
        with path.open("rb") as file:
            # written last: without it the disk got full
            if file.read(len(_MAGIC)) != _MAGIC:
                raise OutputError(f"the bigWig file cannot be made in {folder}: free space there, or set TMPDIR")
            file.seek(0)
            shutil.copyfileobj(file, handle)


def _joined(values: Iterable[Interval], chrom_sizes: Mapping[str, int]) -> Iterator[Interval]:
    """The values, checked, with neighbours of one value joined."""
    last: Interval | None = None
    for seqid, start, end, value in values:
        if not 0 <= start < end <= chrom_sizes[seqid]:
            raise ValueError(f"values of bases {start} to {end} of {seqid!r}, which has {chrom_sizes[seqid]}")
        if last is not None:
            if (seqid, start) < (last[0], last[2]):
                raise ValueError(f"values of {seqid!r} from base {start} come after those of {last[0]!r} to {last[2]}")
            if (seqid, start, value) == (last[0], last[2], last[3]):
                last = seqid, last[1], end, value
                continue
            yield last
        last = seqid, start, end, value
    if last is not None:
        yield last


def _pybigtools(missing: LstmHmmError) -> Any:
    try:
        import pybigtools
    except ImportError:
        raise missing from None
    return pybigtools
