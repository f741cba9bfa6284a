"""Opening input files: standard input, compression by magic bytes, and read errors in words."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from ..errors import InputError

#: bytes that a fresh stream of `open_input` shows through ``peek``
HEAD_BYTES = 4096
_BUFFER_BYTES = 1 << 18

_DECOMPRESSORS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),  # bgzip too: it is gzip in many members
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_UNSUPPORTED = {
    b"\x28\xb5\x2f\xfd": "zstd-compressed, which is not read; decompress it first (zstd -d)",
    b"PK\x03\x04": "a zip archive; unpack it and give the file inside",
}


def input_name(path: str) -> str:
    """How messages call an input."""
    return "standard input" if path == "-" else path


@contextmanager
def open_input(path: str) -> Iterator[io.BufferedReader]:
    """Open a file for reading bytes, decompressed (gzip, bgzip, bz2, xz: found by content, not by name).

    The stream is read once, front to back, so pipes work. Before anything is read its ``peek()`` returns at least the
    first `HEAD_BYTES` bytes, or all of a shorter file.

    Args:
        path: a file, or "-" for standard input.

    Raises:
        InputError: the file is missing, a directory, unreadable or of an unsupported compression; also on reading,
            when compressed data are truncated or corrupt.
    """
    name = input_name(path)
    if path == "-":
        yield _decompressed(sys.stdin.buffer, name)
        return
    try:
        file = io.FileIO(path)
    except OSError as error:
        raise InputError(f"{name}: {_reason(error)}") from error
    with file:
        yield _decompressed(file, name)


def _decompressed(file: Any, name: str) -> io.BufferedReader:
    stream: io.BufferedReader = io.BufferedReader(_Source(file, name), _BUFFER_BYTES)
    head = stream.peek()
    for magic, problem in _UNSUPPORTED.items():
        if head.startswith(magic):
            raise InputError(f"{name} is {problem}")
    for magic, decompressor in _DECOMPRESSORS.items():
        if head.startswith(magic):
            return io.BufferedReader(_Source(decompressor(stream), name), _BUFFER_BYTES)
    return stream


class _Source(io.RawIOBase):
    """A readable that hands out its first `HEAD_BYTES` bytes in one piece and turns read errors into `InputError`."""

    def __init__(self, inner: Any, name: str) -> None:
        self._inner = inner
        self._name = name
        self._head = b""
        # a pipe may give a few bytes at a time
        while len(self._head) < HEAD_BYTES and (more := self._read(HEAD_BYTES - len(self._head))):
            self._head += more

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        try:
            return self._inner.read(size)
        except EOFError as error:
            raise InputError(
                f"{self._name}: the compressed data end too early: the file is truncated; copy or download it again"
            ) from error
        except (zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise InputError(self._corrupt(error)) from error
        except OSError as error:
            # bz2 reports bad data as an OSError without a number
            raise InputError(
                self._corrupt(error) if error.errno is None else f"{self._name}: {_reason(error)}"
            ) from error

    def _corrupt(self, error: Exception) -> str:
        return f"{self._name}: the compressed data are corrupt ({error}); copy or download the file again"


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; check the path"
    if isinstance(error, IsADirectoryError):
        return "is a directory; give a file inside it"
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    return f"cannot be read ({error.strerror or os.strerror(error.errno or 0)}); check the path and the disk"
