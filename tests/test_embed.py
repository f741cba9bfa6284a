"""Features of the LSTM and the files they are written to."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from command import fasta, run
from tiny import random_codes, random_model

from lstmhmm_bio.embed import Chunk, Embedder
from lstmhmm_bio.errors import UsageError
from lstmhmm_bio.features import Record
from lstmhmm_bio.io.embeddings import NpzWriter, ParquetWriter, embeddings_writer
from lstmhmm_bio.model_choice import Fit
from lstmhmm_bio.sequence import reverse_complement
from lstmhmm_bio.windows import LONG


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(random_model(3))


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstmhmm_bio.embed.CALL", LONG)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    rng = np.random.default_rng(1)
    return [Record(f"r{n}", random_codes(rng, n, unknown=0.02)) for n in (1, 700, 0, 3001, 50_000, 1536)]


def stacked(chunks: list[Chunk]) -> tuple[list[tuple[str, int, int]], np.ndarray]:
    places = [(c.seqid, a, b) for c in chunks for a, b in zip(c.starts.tolist(), c.ends.tolist(), strict=True)]
    return places, np.concatenate([c.features for c in chunks]).astype(np.float64)


def test_rows_tile_the_records_in_order(embedder: Embedder, records: list[Record]) -> None:
    for per, size in (("base", 1), ("window", 1000), ("window", 7), ("window", 1), ("record", 10**9)):
        places, features = stacked(list(embedder.embed(records, None, per=per, window=size)))
        expected = [(r.id, a, min(a + size, len(r))) for r in records for a in range(0, len(r), size)]
        assert places == expected
        assert features.shape == (len(expected), embedder.width)
        assert np.isfinite(features).all()


def test_windows_and_records_are_means_of_known_bases(embedder: Embedder, records: list[Record]) -> None:
    places, bases = stacked(list(embedder.embed(records, None, per="base")))
    codes = np.concatenate([r.codes for r in records])
    number = {place: i for i, place in enumerate(places)}
    for per in ("window", "record"):
        for chunk in embedder.embed(records, None, per=per, window=900):
            for start, end, found in zip(chunk.starts, chunk.ends, chunk.features, strict=True):
                rows = slice(number[chunk.seqid, start, start + 1], number[chunk.seqid, end - 1, end] + 1)
                known = codes[rows] < 4
                expected = bases[rows][known].mean(0) if known.any() else np.zeros(embedder.width)
                np.testing.assert_allclose(found, expected, atol=1e-3)


def test_neither_other_records_nor_the_size_of_a_call_matter(
    embedder: Embedder, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, together = stacked(list(embedder.embed(records, None)))
    monkeypatch.setattr("lstmhmm_bio.embed.CALL", 2 * LONG)
    alone = [chunk for record in records for chunk in embedder.embed([record], None)]
    np.testing.assert_allclose(stacked(alone)[1], together, atol=1e-5)


def test_the_other_strand_has_the_same_features_exchanged(embedder: Embedder) -> None:
    codes = random_codes(np.random.default_rng(2), 1536)
    (forward,) = embedder.embed([Record("x", codes)], None, per="base")
    (backward,) = embedder.embed([Record("x", reverse_complement(codes))], None, per="base")
    half = embedder.width // 2
    turned = np.concatenate([backward.features[::-1, half:], backward.features[::-1, :half]], 1)
    np.testing.assert_allclose(forward.features.astype(float), turned.astype(float), atol=2e-3)
    assert forward.features.std() > 0.01


def chunks() -> list[Chunk]:
    rng = np.random.default_rng(3)
    return [
        Chunk(name, np.arange(n) * 10, np.arange(n) * 10 + 10, rng.normal(size=(n, 6)).astype(np.float32))
        for name, n in (("b", 3), ("a", 1), ("a", 2))
    ]


def test_npz_holds_what_was_written() -> None:
    handle = io.BytesIO()
    writer = NpzWriter(handle)
    for chunk in chunks():
        writer.write(chunk)
    writer.close()
    handle.seek(0)
    with np.load(handle) as arrays:
        assert arrays["records"].tolist() == ["b", "a"]
        assert arrays["record"].tolist() == [0, 0, 0, 1, 1, 1]
        assert arrays["start"].tolist() == [0, 10, 20, 0, 0, 10]
        np.testing.assert_array_equal(arrays["features"], np.concatenate([c.features for c in chunks()]))


@pytest.mark.parametrize("some", [chunks(), []])
def test_parquet_holds_what_was_written(some: list[Chunk]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    handle = io.BytesIO()
    writer = ParquetWriter(handle)
    for chunk in some:
        writer.write(chunk)
    writer.close()
    table = parquet.read_table(io.BytesIO(handle.getvalue()))
    assert table["record"].to_pylist() == [c.seqid for c in some for _ in c.starts]
    assert table["end"].to_pylist() == [e for c in some for e in c.ends.tolist()]
    if some:
        np.testing.assert_allclose(table["features"].to_pylist(), np.concatenate([c.features for c in some]))


@pytest.mark.parametrize("waiting", [1, 1 << 23])
@pytest.mark.parametrize("some", [chunks(), []])
def test_zarr_holds_what_was_written(
    tmp_path: Path, some: list[Chunk], waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr("lstmhmm_bio.io.embeddings._WAITING", waiting)
    writer = embeddings_writer("x.zarr", str(tmp_path))
    for chunk in some:
        writer.write(chunk)
    writer.close()
    group = zarr.open_group(str(tmp_path), mode="r")
    names = group.attrs["records"]
    assert [names[i] for i in group["record"][:]] == [c.seqid for c in some for _ in c.starts]
    assert group["start"][:].tolist() == [s for c in some for s in c.starts.tolist()]
    assert group["end"][:].tolist() == [e for c in some for e in c.ends.tolist()]
    if some:
        np.testing.assert_array_equal(group["features"][:], np.concatenate([c.features for c in some]))


def test_other_formats_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"npz or \.parquet or \.zarr"):
        embeddings_writer("x.csv", io.BytesIO())
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(UsageError, match=r"lstmhmm-bio\[zarr\]"):
        embeddings_writer("x.zarr", "x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"lstmhmm-bio\[parquet\]"):
        embeddings_writer("x.parquet", io.BytesIO())


def test_command_writes_features(tmp_path: Path, records: list[Record]) -> None:
    genome, output = tmp_path / "x.fa", tmp_path / "x.npz"
    genome.write_text(fasta(*records[:4]))
    result = run("embed", genome, "-o", output, "--meta", "--window", 500)
    assert result.code == 0, result.err
    with np.load(output) as arrays:
        assert len(arrays["features"]) == 1 + 2 + 7
        assert arrays["features"].dtype == np.float32
    again = tmp_path / "y.npz"
    run("embed", genome, "-o", again, "--meta", "--window", 500)
    assert again.read_bytes() == output.read_bytes()


def test_zarr_appears_whole_or_not_at_all(tmp_path: Path, records: list[Record]) -> None:
    zarr = pytest.importorskip("zarr")
    genome, output = tmp_path / "x.fa", tmp_path / "x.zarr"
    genome.write_text(fasta(*records[:4]))
    broken = tmp_path / "broken.fa"
    broken.write_text(genome.read_text() + ">bad\nAC!T\n")
    result = run("embed", broken, "-o", output, "--meta")
    assert result.code == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.fa", "x.fa"]
    arguments = ("embed", genome, "-o", output, "--meta", "--window", 500)
    result = run(*arguments)
    assert result.code == 0, result.err
    assert zarr.open_group(str(output), mode="r")["features"].shape[0] == 1 + 2 + 7
    result = run(*arguments)
    assert result.code == 1
    assert "exists already; remove it" in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.fa", "x.fa", "x.zarr"]


def test_command_takes_the_model_that_fits_best(
    tmp_path: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(names: list[str], genome: Iterable[Record]) -> list[Fit]:
        assert {"bacteria", "yeasts"} <= set(names)
        assert [r.id for r in genome] == ["r1", "r700"]
        return [Fit("bacteria", -10.0), Fit("yeasts", -32.0)]

    monkeypatch.setattr("lstmhmm_bio.model_choice.choose", choose)
    genome, output, expected = tmp_path / "x.fa", tmp_path / "x.npz", tmp_path / "y.npz"
    genome.write_text(fasta(*records[:2]))
    result = run("embed", genome, "-o", output, "--meta", "--model", "auto")
    assert result.code == 0, result.err
    assert "model bacteria fits best (composition and genes, nat per kb; the others: yeasts -22)" in result.err
    assert run("embed", genome, "-o", expected, "--meta", "--model", "bacteria").code == 0
    assert output.read_bytes() == expected.read_bytes()
