"""Inputs that must be read twice, from where they can be read only once."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError, LstmHmmError
from .compression import input_name


@contextmanager
def rereadable(path: str) -> Iterator[str]:
    """A path with the content of `path` that can be opened any number of times.

    Regular files are themselves; standard input ("-") and pipes are copied to a temporary file first. Errors raised
    inside the block that name the copy are made to name what was copied.

    Raises:
        InputError: the copy cannot be written.
    """
    if path != "-" and not Path(path).is_fifo() and not Path(path).is_char_device():
        yield path
        return
    name = input_name(path)
    with tempfile.NamedTemporaryFile(prefix="lstmhmm_") as copy:
        try:
            if path == "-":
                shutil.copyfileobj(sys.stdin.buffer, copy)
            else:
                with open(path, "rb") as pipe:
                    shutil.copyfileobj(pipe, copy)
            copy.flush()
        except OSError as error:
            folder = Path(copy.name).parent
            raise InputError(
                f"{name}: cannot be kept for a second reading in {folder} ({error.strerror}); set TMPDIR or give a file"
            ) from None
        try:
            yield copy.name
        except LstmHmmError as error:
            raise type(error)(str(error).replace(copy.name, name)) from error.__cause__
