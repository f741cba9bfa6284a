"""Spoiled files of every kind, to every command: a clear error or a valid result, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import small_batches
from corpus import CALLS, Call, try_spoiled, write_corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

#: commands whose programs take long to compile
_SLOW = ("score", "plot", "profile", "align")


@pytest.fixture(autouse=True, scope="module")
def _small_batches():
    with small_batches():
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    pytest.importorskip("pyhmmer", reason="pyhmmer makes the profile")
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def parameter(call: Call):
    slow = call.arguments.startswith(_SLOW)
    name = f"{call.kind}: {call.arguments.replace(' -o {out}', '')}"
    return pytest.param(call, id=name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("call", [parameter(call) for call in CALLS])
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_spoiled_files(tmp_path, files, call, random):
    result, problem = try_spoiled(call, files, tmp_path / "x", random)
    assert not problem, result
