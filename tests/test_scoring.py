from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest
from tiny import random_codes, random_model, random_tables

from lstmhmm_bio import scoring
from lstmhmm_bio.calibration import Tables
from lstmhmm_bio.features import Record
from lstmhmm_bio.hmm.viterbi import UNITS
from lstmhmm_bio.nn.hybrid import score_windows
from lstmhmm_bio.nn.network import CodeMasks
from lstmhmm_bio.runtime import call_devices
from lstmhmm_bio.scoring import Scorer, Tracks
from lstmhmm_bio.sequence import GeneticCode, reverse_complement
from lstmhmm_bio.windows import CORE, FLANK, LONG, SHORT, windows_of

CODE = GeneticCode.from_number(11)
MODEL = random_model(2)
LENGTHS = (1500, 40, 0, 5000, LONG + 4000, 1536, 3)


@pytest.fixture(autouse=True)
def _small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of two long windows: less to compute, more than one call to share out."""
    monkeypatch.setattr(scoring, "CALL", 2 * LONG)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    rng = np.random.default_rng(3)
    return [Record(f"r{i}", random_codes(rng, length, unknown=0.001)) for i, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def tables_of() -> Callable[[Record], Tables]:
    """Different tables for every record."""
    stacked = random_tables(np.random.default_rng(4), len(LENGTHS))
    return lambda record: Tables(*(x[int(record.id[1:])] for x in stacked))


@pytest.fixture(scope="module")
def tracks(records: list[Record], tables_of: Callable[[Record], Tables]) -> list[Tracks]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "CALL", 2 * LONG)
        return Scorer(MODEL, CODE)(records, tables_of)


def assert_identical(found: Tracks, expected: Tracks) -> None:
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_array_equal(found.sites, expected.sites)


def test_tracks_have_the_records_shapes(tracks: list[Tracks]) -> None:
    assert [t.classes.shape for t in tracks] == [(2, n, 3) for n in LENGTHS]
    assert [t.sites.shape for t in tracks] == [(2, n, 2) for n in LENGTHS]
    assert all(t.classes.dtype == t.sites.dtype == np.int16 for t in tracks)


def test_a_record_alone_or_among_others(
    records: list[Record], tables_of: Callable[[Record], Tables], tracks: list[Tracks]
) -> None:
    scorer = Scorer(MODEL, CODE)
    for i in (0, 3, 4, 5):
        assert_identical(scorer([records[i]], tables_of)[0], tracks[i])
    for found, expected in zip(scorer(records[::-1], tables_of), tracks[::-1], strict=True):
        assert_identical(found, expected)


def test_one_device_or_two(
    records: list[Record],
    tables_of: Callable[[Record], Tables],
    tracks: list[Tracks],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices = jax.devices()
    assert len(devices) == 2
    monkeypatch.setattr(jax, "devices", lambda: devices[:1])
    assert call_devices() == 2 * devices[:1]  # two threads
    for found, expected in zip(Scorer(MODEL, CODE)(records, tables_of), tracks, strict=True):
        assert_identical(found, expected)


def network_scores(codes: np.ndarray, tables: Tables, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Straight from the network: both strands, each in its own orientation, padded to a size behind."""
    padded = np.pad(codes, (0, size - len(codes)), constant_values=4)
    one = Tables(*(x[None] for x in tables))
    out = jax.jit(score_windows, static_argnames=("config", "grammar"))(
        MODEL.params, MODEL.config, MODEL.grammar, padded[None], one, CodeMasks.of(CODE)
    )
    n = len(codes)
    classes, sites = np.asarray(out.classes), np.asarray(out.sites)
    end = len(padded)
    return np.stack([classes[0, :n], classes[1, end - n :]]), np.stack([sites[0, :n], sites[1, end - n :]])


@pytest.mark.parametrize("i", [0, 3])
def test_short_records_are_scored_as_they_are(
    i: int, records: list[Record], tables_of: Callable[[Record], Tables], tracks: list[Tracks]
) -> None:
    size = next(s for s in (*SHORT, LONG) if len(records[i]) <= s)
    classes, sites = network_scores(records[i].codes, tables_of(records[i]), size)
    np.testing.assert_allclose(tracks[i].classes / UNITS, classes, atol=2e-3)
    np.testing.assert_allclose(tracks[i].sites / UNITS, sites, atol=5e-3)
    assert np.abs(sites).max() > 0.1


def test_long_records_are_scored_window_by_window(
    records: list[Record], tables_of: Callable[[Record], Tables], tracks: list[Tracks]
) -> None:
    record, found = records[4], tracks[4]
    length = len(record)
    first, second = windows_of(0, length)
    classes, sites = network_scores(record.codes[: CORE + FLANK], tables_of(record), LONG)
    np.testing.assert_allclose(found.classes[0, :CORE] / UNITS, classes[0, :CORE], atol=2e-3)
    np.testing.assert_allclose(found.sites[1, length - CORE :] / UNITS, sites[1, FLANK:], atol=5e-3)
    classes, sites = network_scores(record.codes[second.start :], tables_of(record), LONG)
    np.testing.assert_allclose(found.classes[1, : length - CORE] / UNITS, classes[1, : length - CORE], atol=2e-3)
    assert first.core_end == second.core_start == CORE


def test_unknown_bases_score_what_the_grammar_says(tables_of: Callable[[Record], Tables]) -> None:
    codes = random_codes(np.random.default_rng(5), 600)
    codes[200:300] = 4
    tracks = Scorer(MODEL, CODE)([Record("r0", codes)], tables_of)[0]
    unknown = round(MODEL.grammar.unknown_base * UNITS)
    assert unknown < 0
    assert (tracks.classes[0, 200:300] == unknown).all()
    assert (tracks.classes[1, reverse_complement(codes) == 4] == unknown).all()
    assert (tracks.classes[0, :200] != unknown).mean() > 0.99


def test_no_records(tables_of: Callable[[Record], Tables]) -> None:
    assert Scorer(MODEL, CODE)([], tables_of) == []
