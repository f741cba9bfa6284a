"""Tracks of numbers along the genome as bigWig (Kent et al. 2010, Bioinformatics 26:2204), through pybigtools.

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
from itertools import chain, repeat
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import OutputError, UsageError
from .output import OutputSet

#: (seqid, start, end, value), 0-based half-open
Interval = tuple[str, int, int, float]

#: values are rounded to this many decimals, so that neighbours that look alike are one run
DECIMALS = 3

_RUN = np.dtype([("start", np.uint32), ("end", np.uint32), ("value", np.float32)])
_BASES_AT_A_TIME = 1 << 20
_RUNS_AT_A_TIME = 1 << 16
_MAGIC = bytes.fromhex("26fc8f88")


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
        _pybigtools()  # who cannot write need not compute
        self._handle = handle
        self._spool = tempfile.TemporaryFile(prefix="lstmhmm_")  # noqa: SIM115  (closed by __exit__)
        self._records: dict[str, tuple[int, int, int]] = {}  # bases, runs, place in the spool

    def write(self, seqid: str, values: ArrayLike) -> None:
        """Adds a record by its values, [length]."""
        track, place, count = np.asarray(values), self._spool.tell(), 0
        for start in range(0, len(track), _BASES_AT_A_TIME):
            found = runs(track[start : start + _BASES_AT_A_TIME])
            found["start"] += start
            found["end"] += start
            self._spool.write(found.tobytes())
            count += len(found)
        self._records[seqid] = len(track), count, place

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


def _write(handle: BinaryIO, chrom_sizes: Mapping[str, int], values: Iterable[Interval]) -> None:
    bigtools = _pybigtools()
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


def _pybigtools() -> Any:
    try:
        import pybigtools
    except ImportError:
        raise UsageError(
            "bigWig files need another package; install it with: pip install 'lstmhmm-bio[bigwig]'"
        ) from None
    return pybigtools
