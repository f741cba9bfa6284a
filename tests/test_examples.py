"""The examples run as they are documented, on a small simulated genome."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from command import REPOSITORY, small_batches

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    from command import run

    folder = tmp_path_factory.mktemp("genome")
    files = [folder / "genome.fa", folder / "truth.gff3"]
    result = run("simulate", "-o", files[0], "--annotation", files[1], "--length", 30_000, "--gc", 0.45, "--seed", 7)
    assert result.code == 0, result.err
    return files


def example(
    name: str, arguments: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """What a script prints; JAX is set up already and stays as it is."""
    monkeypatch.setattr("lstmhmm_bio.runtime.configure", lambda *_, **__: None)
    monkeypatch.setattr("lstmhmm_bio.anomaly.CALL", 64)
    monkeypatch.setattr("lstmhmm_bio.embed.CALL", 24_576)
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    with small_batches():
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_annotate(genome: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [line.split("\t") for line in example("annotate_api.py", genome[:1], capsys, monkeypatch).splitlines()]
    assert len(rows) > 10
    assert all(int(row[1]) < int(row[2]) and float(row[5]) >= 0.99 for row in rows)


def test_segment(genome: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [line.split("\t") for line in example("segment_api.py", genome[:1], capsys, monkeypatch).splitlines()]
    assert {"intergenic", "CDS(+)", "CDS(-)"} <= {row[3] for row in rows}
    assert [row[1] for row in rows] == ["0", *(row[2] for row in rows[:-1])]
    assert rows[-1][2] == "30000"


def test_score(genome: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    *rows, last = example("score_api.py", genome[:1], capsys, monkeypatch).splitlines()
    values = [float(row.split("\t")[3]) for row in rows]
    assert len(values) == 3
    assert values == sorted(values, reverse=True)
    assert last == "0 anomalous regions"  # too few windows to call any


def test_embed(genome: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert example("embed_api.py", genome[:1], capsys, monkeypatch).startswith("15 windows of ")


def test_plot(
    genome: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    output = tmp_path / "region.svg"
    example("plot_api.py", [*genome, output], capsys, monkeypatch)
    assert output.read_text().startswith("<?xml")
