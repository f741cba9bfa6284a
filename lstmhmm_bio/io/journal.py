"""The journal of a run: the genes of its finished records, so that a run that was killed need not begin again.

    with Journal("genes.gff3.resume", settings) as journal, OutputSet() as outputs:
        for annotation in journal.resume(records, annotate):
            ...  # write it, whether it was computed now or before

What was written to the outputs before is not used: they are made anew from the journal, which is little work, and so
any number of outputs of any format come out as from an uninterrupted run. One line per record, each with a checksum,
so that a line cut off by the kill, or spoiled by a crash of the machine, is noticed and computed again. A journal
belongs to one input and one set of settings, which its first line holds, and is removed when its run has succeeded.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from types import TracebackType
from typing import Any

from ..errors import OutputError, UsageError
from ..features import Annotation, Gene, ProteinDomain, Record
from .output import output_error

Settings = Mapping[str, str | int | float | bool | None]

_FORMAT = "lstmhmm-journal-3"
_FIELDS = [f.name for f in fields(Gene) if f.name != "seqid"]


def file_digest(path: str) -> str:
    """A hash of a file's content, for `Settings`."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class Journal:
    """A context manager; see the module's description.

    Args:
        path: where it is kept.
        settings: all that the genes depend on, the input included.

    Raises:
        UsageError: on entering, when the journal there belongs to other settings, or another run is writing it.
        OutputError: it cannot be written.
    """

    def __init__(self, path: str, settings: Settings) -> None:
        self._path, self._settings = path, settings
        self._file: io.FileIO
        #: finished records found
        self.done = 0

    def __enter__(self) -> Journal:
        try:
            # unbuffered: a line is written at once or not at all
            self._file = io.FileIO(self._path, "a+")
        except OSError as error:
            raise output_error(self._path, error) from error
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise UsageError(f"{self._path} is no journal but a device; choose another output")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError:
            self._file.close()
            raise UsageError(f"{self._path} is in use by another run; wait for it or choose another output") from None
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None or not self.done:
                with suppress(OSError):
                    os.remove(self._path)

    def resume(
        self, records: Iterable[Record], annotate: Callable[[Iterator[Record]], Iterator[Annotation]]
    ) -> Iterator[Annotation]:
        """The annotations of all records in order: first what the journal holds, then what `annotate` finds."""
        rest = iter(records)
        yield from self._replay(rest)
        for annotation in annotate(rest):
            genes = [[getattr(gene, name) for name in _FIELDS] for gene in annotation.genes]
            self._append([annotation.record.id, len(annotation.record), genes])
            self.done += 1
            yield annotation

    def _replay(self, records: Iterator[Record]) -> Iterator[Annotation]:
        if not self.done:
            return
        with open(self._path, "rb") as lines:
            next(lines)
            for line, record, _ in zip(lines, records, range(self.done), strict=False):
                name, length, genes = _content(line)
                if (name, length) != (record.id, len(record)):
                    raise OutputError(f"{self._path} is damaged at record {name!r}; remove it and run again")
                yield Annotation(record, tuple(_gene(record.id, values) for values in genes))

    def _read(self) -> None:
        """Checks the first line, counts the whole lines after it and cuts off what follows them."""
        first = {"format": _FORMAT, **self._settings}
        end = 0
        with open(self._path, "rb") as lines:
            for line in lines:
                content = _content(line)
                if content is None:
                    break
                if end:
                    self.done += 1
                else:
                    self._compare(content, first)
                end += len(line)
            lines.seek(0)
            if not end and not _line(first).startswith(lines.read()):
                raise UsageError(f"{self._path} is no journal, or damaged; remove it, or choose another output")
        self._file.truncate(end)
        if not end:
            self._append(first)

    def _compare(self, found: Any, expected: Settings) -> None:
        if not isinstance(found, dict) or found.keys() != expected.keys() or found["format"] != _FORMAT:
            raise UsageError(f"{self._path} was made by another version; remove it to begin anew")
        other = [name for name in expected if found[name] != expected[name]]
        if other:
            raise UsageError(
                f"{self._path} belongs to a run with another {' and '.join(other)}; remove it to begin anew, or "
                "call the run as it was"
            )

    def _append(self, content: Any) -> None:
        left = memoryview(_line(content))
        try:
            while left:  # a disk that gets full takes a part first
                left = left[self._file.write(left) :]
        except OSError as error:
            raise output_error(self._path, error) from error


def _gene(seqid: str, values: list[Any]) -> Gene:
    gene = Gene(seqid, **{name: _tuples(value) for name, value in zip(_FIELDS, values, strict=True)})
    return replace(gene, domains=tuple(ProteinDomain(*domain) for domain in gene.domains))


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _line(content: Any) -> bytes:
    """A line of the journal: checksum, blank, JSON."""
    text = json.dumps(content, separators=(",", ":"), default=lambda number: number.item()).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _content(line: bytes) -> Any:
    """What a line holds; None if it is not whole."""
    checksum, _, text = line.removesuffix(b"\n").partition(b" ")
    return json.loads(text) if line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(text) else None
