"""Features out: npz (NumPy), Parquet and Zarr, written as they come."""

from __future__ import annotations

import io
import tempfile
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import UsageError
from .output import OutputSet

if TYPE_CHECKING:
    from ..embed import Chunk

FORMATS = (".npz", ".parquet", ".zarr")
#: values that wait to be written together
_WAITING = 1 << 23


class EmbeddingsWriter(Protocol):
    """Takes chunks in order; `close` completes the file."""

    def write(self, chunk: Chunk) -> None: ...
    def close(self) -> None: ...


def open_embeddings(path: str, outputs: OutputSet) -> IO[bytes] | str:
    """What the writer for an output of this name writes to: a file, or of .zarr an empty folder.

    Raises:
        OutputError: it cannot be written.
    """
    return outputs.folder(path) if _suffix(path) == ".zarr" else outputs.open(path).buffer


def embeddings_writer(path: str, target: IO[bytes] | str) -> EmbeddingsWriter:
    """The writer for an output of this name.

    Args:
        path: the name.
        target: from `open_embeddings`.

    Raises:
        UsageError: no such format, or it needs a package that is not installed.
    """
    suffix = _suffix(path)
    if suffix not in FORMATS:
        raise UsageError(f"{path}: features are written as {' or '.join(FORMATS)}; name the output so")
    if isinstance(target, str):
        return ZarrWriter(target)
    return NpzWriter(target) if suffix == ".npz" else ParquetWriter(target)


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()


def _missing(form: str, extra: str) -> UsageError:
    return UsageError(f"{form} output needs another package; install it with: pip install 'lstmhmm-bio[{extra}]'")


class NpzWriter:
    """Arrays ``features`` [rows, features], ``start`` and ``end`` [rows], ``record`` [rows] index into ``records``.

    An array's shape stands before its values, so that they wait in temporary files until all are there.
    """

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._names: dict[str, int] = {}
        self._columns = {name: _Column() for name in ("features", "record", "start", "end")}

    def write(self, chunk: Chunk) -> None:
        index = self._names.setdefault(chunk.seqid, len(self._names))
        columns = self._columns
        columns["features"].append(chunk.features)
        columns["record"].append(np.full(len(chunk.starts), index, np.int32))
        columns["start"].append(chunk.starts)
        columns["end"].append(chunk.ends)

    def close(self) -> None:
        with zipfile.ZipFile(self._handle, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, column in self._columns.items():
                with archive.open(_member(name), "w", force_zip64=True) as member:
                    column.copy_to(member)
            with archive.open(_member("records"), "w") as member:
                np.save(member, np.array(list(self._names), np.str_), allow_pickle=False)


def _member(name: str) -> zipfile.ZipInfo:
    """Without the time of the run: equal features, equal bytes."""
    return zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))


class _Column:
    """Rows of one array in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="lstmhmm_")  # noqa: SIM115  (closed when it is collected)
        self._rows = 0
        self._like = np.zeros(0)

    def append(self, values: np.ndarray) -> None:
        self._rows += len(values)
        self._like = values[:0]
        self._file.write(np.ascontiguousarray(values).data)

    def copy_to(self, target: IO[bytes]) -> None:
        header = {"descr": self._like.dtype.str, "fortran_order": False, "shape": (self._rows, *self._like.shape[1:])}
        head = io.BytesIO()
        np.lib.format.write_array_header_2_0(head, header)
        target.write(head.getvalue())
        self._file.seek(0)
        while block := self._file.read(1 << 22):
            target.write(block)
        self._file.close()


class _InBlocks(ABC):
    """Writes the rows of many chunks together."""

    def __init__(self) -> None:
        self._waiting: list[Chunk] = []
        self._values = 0
        self._empty = True

    def write(self, chunk: Chunk) -> None:
        self._waiting.append(chunk)
        self._values += chunk.features.size
        if self._values >= _WAITING:
            self._flush()

    def close(self) -> None:
        self._flush()
        if self._empty:
            self._append([], np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 1), np.float32))

    def _flush(self) -> None:
        if not self._waiting:
            return
        names = [c.seqid for c in self._waiting for _ in range(len(c.starts))]
        columns = (np.concatenate([getattr(c, name) for c in self._waiting]) for name in ("starts", "ends", "features"))
        self._append(names, *columns)
        self._waiting, self._values, self._empty = [], 0, False

    @abstractmethod
    def _append(self, names: list[str], starts: np.ndarray, ends: np.ndarray, features: np.ndarray) -> None:
        """Writes rows: their records, places and features."""


class ParquetWriter(_InBlocks):
    """Columns ``record``, ``start``, ``end`` and ``features`` (a list of fixed size).

    Raises:
        UsageError: pyarrow is not installed.
    """

    def __init__(self, handle: IO[bytes]) -> None:
        super().__init__()
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise _missing("Parquet", "parquet") from None
        self._arrow, self._handle = pyarrow, handle
        self._writer: Any = None

    def close(self) -> None:
        super().close()
        self._writer.close()

    def _append(self, names: list[str], starts: np.ndarray, ends: np.ndarray, features: np.ndarray) -> None:
        arrow = self._arrow
        values = arrow.FixedSizeListArray.from_arrays(arrow.array(features.reshape(-1)), features.shape[1])
        columns = {"record": arrow.array(names, arrow.string()), "start": starts, "end": ends, "features": values}
        table = arrow.table(columns)
        if self._writer is None:
            self._writer = arrow.parquet.ParquetWriter(self._handle, table.schema)
        self._writer.write_table(table)


class ZarrWriter(_InBlocks):
    """A group of the arrays of `NpzWriter`; the names of the records are its attribute ``records``.

    Raises:
        UsageError: zarr is not installed.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        try:
            import zarr
        except ImportError:
            raise _missing("Zarr", "zarr") from None
        self._group = zarr.open_group(folder, mode="w")
        self._arrays: dict[str, Any] = {}
        self._names: dict[str, int] = {}

    def close(self) -> None:
        super().close()
        self._group.attrs["records"] = list(self._names)

    def _append(self, names: list[str], starts: np.ndarray, ends: np.ndarray, features: np.ndarray) -> None:
        record = np.array([self._names.setdefault(name, len(self._names)) for name in names], np.int32)
        for name, values in {"features": features, "record": record, "start": starts, "end": ends}.items():
            if name not in self._arrays:
                shape, chunk = values.shape[1:], max(1, _WAITING // 8 // max(values[:1].size, 1))
                self._arrays[name] = self._group.create_array(
                    name, shape=(0, *shape), chunks=(chunk, *shape), dtype=values.dtype
                )
            self._arrays[name].append(values)
