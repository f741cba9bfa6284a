"""The trials of `benchmarks/reliability.py` still run: one of each kind, with a stand-in for the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

#: in a process of its own: it forks
ONE_OF_EACH = """
import os, random, tempfile
from pathlib import Path

import reliability

with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    os.environ["LSTMHMM_CACHE"] = str(folder / "cache")
    reliability.runtime.configure(device="cpu")
    world = reliability.prepare(folder, whole=False)
    for trial, (with_stand_in, _) in reliability.SHARES.items():
        if with_stand_in:
            place = folder / trial.__name__
            place.mkdir()
            trial(world, place, random.Random(1))
            print(trial.__name__)
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full, a device without space, is missing")
def test_one_of_each() -> None:
    call = [sys.executable, "-c", ONE_OF_EACH]
    done = subprocess.run(call, cwd=BENCHMARKS, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 7
