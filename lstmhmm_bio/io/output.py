"""Writing files so that a run leaves either whole results or none.

One output is ``with open_output(path) as handle``. Several that belong together::

    with OutputSet() as outputs:
        genes = outputs.open("genes.gff3")
        proteins = outputs.open("proteins.faa.gz")
        ...

Each is written to a hidden temporary file beside its target. When the block ends well, all are completed first (a full
disk shows here) and then renamed; when it ends by any exception, KeyboardInterrupt included, all are removed and the
old files stay as they were.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, BinaryIO, TextIO
from uuid import uuid4

from ..errors import OutputError, UsageError

_REMEDIES = {
    errno.ENOENT: "the folder does not exist; create it first",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EISDIR: "it is a folder; give a file name",
    errno.EACCES: "permission denied; choose another folder or change its permissions",
    errno.EPERM: "permission denied; choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOSPC: "the disk is full; free space or choose another disk",
    errno.EFBIG: "it would be larger than a file may be here (see ulimit -f); choose another disk",
    errno.EDQUOT: "the disk quota is used up; free space or choose another disk",
}


@contextmanager
def open_output(path: str | None) -> Iterator[TextIO]:
    """Open one output for text, committed when the block ends without an exception.

    Args:
        path: a file (bgzip-compressed if it ends in ".gz"); None or "-" for standard output.

    Raises:
        OutputError: it cannot be written. A reader that closes a pipe early is a plain BrokenPipeError.
    """
    with OutputSet() as outputs:
        yield outputs.open(path)


class OutputSet:
    """Outputs that are committed all or none; a context manager, see the module's description."""

    def __init__(self) -> None:
        self._handles: list[TextIO] = []
        self._renames: list[tuple[str, str]] = []

    def open(self, path: str | None) -> TextIO:
        """A text handle, UTF-8 with Unix line ends; arguments and errors as for `open_output`."""
        if path is None or path == "-":
            self._handles.append(sys.stdout)
            return sys.stdout
        try:
            raw = self._open_raw(path)
        except OSError as error:
            raise output_error(path, error) from error
        binary: Any = io.BufferedWriter(raw)
        if path.endswith(".gz"):
            binary = _BgzipStream(binary)
        handle = io.TextIOWrapper(binary, encoding="utf-8", newline="\n")
        self._handles.append(handle)
        return handle

    def folder(self, path: str) -> str:
        """A new folder to write into, which gets its name with the other outputs.

        Raises:
            OutputError: it cannot be made, or there is something of that name: a folder cannot be replaced at once.
        """
        target = os.path.realpath(path)
        if os.path.lexists(target):
            raise OutputError(f"{path} cannot be written: it exists already; remove it or choose another path")
        temporary = self._temporary(target)
        try:
            os.mkdir(temporary)
        except OSError as error:
            raise output_error(path, error) from error
        return temporary

    def _temporary(self, target: str) -> str:
        """A name beside the target; noted first, so that no interrupt can leave it behind."""
        temporary = os.path.join(os.path.dirname(target), f".lstmhmm-{os.getpid()}-{uuid4().hex[:8]}.tmp")
        self._renames.append((temporary, target))
        return temporary

    def _open_raw(self, path: str) -> _CheckedFile:
        try:
            old = os.stat(path)
        except FileNotFoundError:
            old = None
        if path.endswith(os.sep) or (old and stat.S_ISDIR(old.st_mode)):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if old and not stat.S_ISREG(old.st_mode):
            return _CheckedFile(path, "wb", shown=path)  # a device or pipe is written to, never replaced
        target = os.path.realpath(path)  # write through a symbolic link as the shell does
        if old and not os.access(target, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        temporary = self._temporary(target)
        raw = _CheckedFile(temporary, "xb", shown=path)
        if old:
            os.chmod(temporary, stat.S_IMODE(old.st_mode))
        return raw

    def __enter__(self) -> OutputSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._discard()

    def _commit(self) -> None:
        for handle in self._handles:
            if handle is sys.stdout:
                _flush_stdout()
            else:
                handle.close()
        for temporary, target in self._renames:
            try:
                os.replace(temporary, target)
            except OSError as error:
                raise output_error(target, error) from error

    def _discard(self) -> None:
        """Close what is open and remove what was not renamed."""
        for handle in self._handles:
            if handle is not sys.stdout:
                with suppress(OSError, OutputError):  # the first error is the one to report
                    handle.close()
        for temporary, _ in self._renames:
            if os.path.isdir(temporary):
                shutil.rmtree(temporary, ignore_errors=True)
            with suppress(OSError):
                os.remove(temporary)


def ensure_distinct(inputs: Iterable[str], outputs: Iterable[str | None]) -> None:
    """Refuse a run whose outputs would overwrite an input or each other.

    Args:
        inputs: paths; "-" is standard input.
        outputs: paths; None and "-" are standard output.

    Raises:
        UsageError: an output is also an input, or two outputs are one file.
    """
    read = {os.path.realpath(path) for path in inputs if path != "-"}
    written: set[str] = set()
    for path in outputs:
        shown = "standard output" if path is None or path == "-" else path
        key = "-" if path is None or path == "-" else os.path.realpath(path)
        if key in read:
            raise UsageError(f"{shown} is an input and an output; choose another output")
        if key in written and (key == "-" or not _is_special(key)):
            raise UsageError(f"{shown} is given for two outputs; choose another path for one of them")
        written.add(key)


def _is_special(path: str) -> bool:
    """Whether a path is a device or pipe, such as /dev/null."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _flush_stdout() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_error("standard output", error) from error


def output_error(path: str, error: OSError) -> OutputError:
    """An error of the system in words."""
    remedy = _REMEDIES.get(error.errno or 0, f"{error.strerror or error}; choose another path")
    return OutputError(f"{path} cannot be written: {remedy}")


class _CheckedFile(io.FileIO):
    """A file whose write errors are `OutputError`s that name the path as the user gave it."""

    def __init__(self, path: str, mode: str, *, shown: str) -> None:
        super().__init__(path, mode)
        self._shown = shown

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise output_error(self._shown, error) from error


class _BgzipStream(io.BufferedIOBase):
    """Biopython's bgzip writer as a binary stream: blocks that tabix can index, no time stamp, so equal bytes."""

    def __init__(self, inner: BinaryIO) -> None:
        from Bio.bgzf import BgzfWriter

        self._inner = inner
        self._writer = BgzfWriter(fileobj=inner)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._writer.write(bytes(data))
        return len(data)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self._writer.close()
        finally:
            super().close()
            self._inner.close()
