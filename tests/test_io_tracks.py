"""Tracks as bigWig, read back."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lstmhmm_bio.errors import OutputError, UsageError
from lstmhmm_bio.io import OutputSet
from lstmhmm_bio.io.bigwig import BigwigWriter, runs, write_bigwig

pybigtools = pytest.importorskip("pybigtools")


def read(path: Path, name: str) -> list[tuple[int, int, float]]:
    with path.open("rb") as stream, pybigtools.open(stream) as file:
        return [(start, end, round(value, 6)) for start, end, value in file.records(name)]


@given(arrays(np.float32, st.integers(0, 40), elements=st.sampled_from(np.float32([0, 0.1, 0.10001, 0.5, 1]))))
def test_runs(values):
    found = runs(values)
    back = np.concatenate([np.full(end - start, value) for start, end, value in found.tolist()] or [[]])
    np.testing.assert_allclose(back, np.round(values, 3), atol=1e-7)
    assert (found["value"][1:] != found["value"][:-1]).all()
    assert (found["start"][1:] == found["end"][:-1]).all()


def test_neighbours_of_one_value_are_joined_and_gaps_kept(tmp_path):
    path = tmp_path / "track"  # a name without the usual suffix
    values = [("a", 0, 10, 0.5), ("a", 10, 20, 0.5), ("a", 20, 30, 0.25), ("a", 40, 50, 0.25), ("b", 50, 60, 0.25)]
    write_bigwig(str(path), {"a": 100, "b": 60, "empty": 0}, iter(values))
    assert read(path, "a") == [(0, 20, 0.5), (20, 30, 0.25), (40, 50, 0.25)]
    assert read(path, "b") == [(50, 60, 0.25)]
    assert [x.name for x in tmp_path.iterdir()] == ["track"]


def test_records_of_a_run_in_any_order_and_two_tracks_at_once(tmp_path):
    rng = np.random.default_rng(1)
    # more names than a node of the index holds
    records = {f"s{number}": rng.random(int(rng.integers(0, 30))) for number in rng.permutation(300)}
    records["long"] = np.repeat(rng.random(35_000), 2)
    with OutputSet() as outputs:
        handles = [outputs.open(str(tmp_path / name)) for name in ("a.bw", "b.bw")]
        with BigwigWriter(handles[0]) as first, BigwigWriter(handles[1]) as second:
            for name, values in records.items():
                first.write(name, values)
                second.write(name, 1 - values)
    for path, sign in ((tmp_path / "a.bw", 1), (tmp_path / "b.bw", -1)):
        with pybigtools.open(str(path)) as file:
            assert file.chroms() == {name: len(values) for name, values in records.items() if len(values)}
            for name, values in records.items():
                if len(values):
                    expected = values if sign == 1 else 1 - values
                    found = np.concatenate([np.full(end - start, value) for start, end, value in file.records(name)])
                    np.testing.assert_allclose(found, expected, atol=5.1e-4)
    assert names_of_the_index(tmp_path / "a.bw") == sorted(n for n, values in records.items() if len(values))


def names_of_the_index(path: Path) -> list[str]:
    """Names in the leaves of the B+ tree, by the layout of the bigWig paper's supplement."""
    data = path.read_bytes()
    [root] = struct.unpack_from("<Q", data, 8)
    [key_size] = struct.unpack_from("<I", data, root + 8)
    names = []

    def walk(at: int) -> None:
        is_leaf, _, count = struct.unpack_from("<BBH", data, at)
        for item in range(at + 4, at + 4 + count * (key_size + 8), key_size + 8):
            if is_leaf:
                names.append(data[item : item + key_size].rstrip(b"\0").decode())
            else:
                walk(*struct.unpack_from("<Q", data, item + key_size))

    walk(root + 32)
    return names


@pytest.mark.parametrize(
    "values",
    [
        [("a", 0, 10, 1.0), ("a", 9, 20, 1.0)],
        [("b", 0, 10, 1.0), ("a", 0, 10, 1.0)],
        [("a", 90, 101, 1.0)],
        [("a", 5, 5, 1.0)],
    ],
)
def test_values_out_of_order_are_refused(tmp_path, values):
    with pytest.raises(ValueError, match="values of"):
        write_bigwig(str(tmp_path / "x.bw"), {"a": 100, "b": 100}, values)
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_in_the_source_is_raised(tmp_path):
    def broken():
        yield "a", 0, 10, 1.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bigwig(str(tmp_path / "x.bw"), {"a": 100}, broken())
    with pytest.raises(OutputError, match="without values"):
        write_bigwig(str(tmp_path / "x.bw"), {"a": 0}, [])
    with pytest.raises(OutputError, match="does not exist"):
        write_bigwig(str(tmp_path / "none" / "x.bw"), {"a": 10}, [("a", 0, 10, 1.0)])


def test_a_run_that_fails_leaves_nothing(tmp_path):
    def fail():
        with OutputSet() as outputs, BigwigWriter(outputs.open(str(tmp_path / "x.bw"))) as track:
            track.write("a", [0.5])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path):
    script = """
        import resource, signal
        from lstmhmm_bio.errors import OutputError
        from lstmhmm_bio.io.bigwig import write_bigwig
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        try:
            write_bigwig("x.bw", {"a": 10**6}, (("a", i, i + 1, float(i)) for i in range(10**5)))
        except OutputError as error:
            print(error)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "free space there, or set TMPDIR" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_pybigtools(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pybigtools", None)
    with pytest.raises(UsageError, match=r"pip install 'lstmhmm-bio\[bigwig\]'"):
        write_bigwig(str(tmp_path / "x.bw"), {"a": 10}, [("a", 0, 10, 1.0)])
