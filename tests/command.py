"""Running the command line from tests: inside this process (JAX starts once), or as a process of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lstmhmm_bio.cli import main
from lstmhmm_bio.features import Record
from lstmhmm_bio.sequence import decode

REPOSITORY = Path(__file__).parents[1]
#: commands that read sequences, and what else they must be given
READERS = ("annotate", "segment", "calibrate")


@dataclass(frozen=True)
class Result:
    """How a run ended: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def run(*arguments: object, stdin: bytes = b"") -> Result:
    """`lstmhmm ARGUMENTS` inside this process; any exception but the exit goes through."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stop:
            main([str(x) for x in arguments])
    for stream in (out, err):
        stream.flush()
    return Result(stop.value.code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """`lstmhmm ARGUMENTS` as a process of its own, on the CPU."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", **options.pop("env", {})}
    command = [sys.executable, "-m", "lstmhmm_bio", *map(str, arguments)]
    defaults = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": REPOSITORY}
    return subprocess.Popen(command, env=environment, text=True, **{**defaults, **options})


def call(*arguments: object, **options: Any) -> Result:
    """`start`, waited for."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=300)
    return Result(process.returncode, out, err)


@contextmanager
def small_batches() -> Iterator[None]:
    """Batches of one long window: little sequence takes little time, and the results are the same."""
    from lstmhmm_bio.windows import LONG

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstmhmm_bio.scoring.CALL", LONG)
        patch.setattr("lstmhmm_bio.strands.BATCH_BASES", 2 * LONG)
        patch.setattr("lstmhmm_bio.decoding._SEGMENT_ROWS", 2)
        yield


def fasta(*records: Record) -> str:
    """Records as FASTA."""
    return "".join(f">{record.id}\n{decode(record.codes)}\n" for record in records)
