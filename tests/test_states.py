"""States learned from signals and bases: the pipeline and the command."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from itertools import pairwise

import numpy as np
import pytest
from command import REPOSITORY, run
from test_coverage import write_bam
from test_em import draw

from lstmhmm_bio.errors import InputError
from lstmhmm_bio.features import Record
from lstmhmm_bio.hmm.densities import Categorical, Gaussian, Poisson
from lstmhmm_bio.hmm.em import Pieces, expectations, fully_connected, initial_model
from lstmhmm_bio.io.coverage import SignalTrack
from lstmhmm_bio.segments import joined, runs_of, segments_of
from lstmhmm_bio.sequence import decode, encode
from lstmhmm_bio.states import CountTrack, SequenceTrack, learn, partition, sample


def track(values: np.ndarray, name: str = "r", size: int = 1) -> SignalTrack:
    return SignalTrack(name, len(values) * size, size, np.asarray(values, np.float32))


def states_of(segments: list) -> np.ndarray:
    return np.concatenate([np.full(s.end - s.start, s.state) for s in segments])


@pytest.mark.parametrize("held_out", [False, True])
def test_the_planted_number_of_states_is_chosen_and_ordered(held_out):
    _, _, values = draw("gaussian", 8_000, 11)
    learned = learn(sample([track(values)]), Gaussian(), range(2, 5), restarts=1, held_out=held_out)
    if not held_out:  # the likelihood of other data falls by too little beyond the true number
        assert len(learned.model.graph.states) == 3
    means = learned.model.parameters["mean"].mean(1)
    assert (np.diff(means) > 0).all()
    assert [c.states for c in learned.candidates] == [2, 3, 4]
    by_criterion = [c.criterion for c in learned.candidates]
    assert by_criterion[1] < by_criterion[0]


def test_partition_is_exact_posterior_decoding(monkeypatch):
    """Of long records in many blocks and of short ones side by side."""
    monkeypatch.setattr("lstmhmm_bio.states._LONG", 2048)
    monkeypatch.setattr("lstmhmm_bio.states._SHORT_BLOCKS", 3)
    truth, path, values = draw("negative-binomial", 5000, 12)
    parts = [(0, 5000), (0, 1), (5, 900), (100, 1024), (7, 0), (60, 1025)]
    tracks = [track(values[a : a + n], f"{a}+{n}") for a, n in parts]
    found = {t.id: segments for t, segments in partition(truth, tracks)}
    assert list(found) == [t.id for t in tracks]
    padded = np.stack([np.pad(t.values, ((0, 5000 - len(t)), (0, 0))) for t in tracks])
    pieces = Pieces(padded, np.array([len(t) for t in tracks], np.int32))
    posteriors = np.split(expectations(truth, pieces).posteriors, np.cumsum(pieces.lengths)[:-1])
    for segments, expected in zip(found.values(), posteriors, strict=True):
        if not len(expected):
            assert segments == []
            continue
        sure = np.diff(np.sort(expected, axis=1)[:, -2:])[:, 0] > 1e-3
        assert (states_of(segments) == expected.argmax(1))[sure].all()
        for s in segments:
            assert s.posterior == pytest.approx(expected[s.start : s.end, s.state].mean(), abs=1e-3)
        assert all(a.end == b.start and a.state != b.state for a, b in pairwise(segments))
    assert (states_of(found["0+5000"]) == path).mean() > 0.9


def test_runs_join_over_borders():
    rng = np.random.default_rng(0)
    states = np.repeat(rng.integers(0, 3, 40), rng.integers(1, 9, 40)).astype(np.uint8)
    posteriors = rng.random(len(states)).astype(np.float32)
    cuts = sorted(rng.integers(0, len(states), 12))
    parts = [runs_of(s, p) for s, p in zip(np.split(states, cuts), np.split(posteriors, cuts), strict=True)]
    whole = segments_of(runs_of(states, posteriors), 10, 10 * len(states) - 3)
    assert [(s.start, s.end, s.state) for s in segments_of(joined(parts), 10, 10 * len(states) - 3)] == [
        (s.start, s.end, s.state) for s in whole
    ]
    assert whole[0].start == 0
    assert whole[-1].end == 10 * len(states) - 3


def test_words_of_a_sequence():
    record = Record("r", encode("ACGTNACG"))
    whole = SequenceTrack(record, 1).block(0, 8)[:, 0]
    np.testing.assert_array_equal(whole, [np.nan, 1, 6, 11, np.nan, np.nan, 1, 6])
    for start in range(8):
        for stop in range(start + 1, 9):
            np.testing.assert_array_equal(SequenceTrack(record, 1).block(start, stop)[:, 0], whole[start:stop])
    np.testing.assert_array_equal(SequenceTrack(record, 0).block(2, 6)[:, 0], [2, 3, np.nan, 0])


def test_a_sample_is_a_part_of_the_data(monkeypatch):
    monkeypatch.setattr("lstmhmm_bio.states.MAX_PIECES", 5)
    values = np.arange(30_000, dtype=np.float32)[:, None]
    pieces = sample([track(values[:20_500]), track(values[20_500:]), track(values[:0])])
    assert len(pieces.lengths) == 5
    assert pieces.total <= 5 * 1024
    for row, length in zip(pieces.values, pieces.lengths, strict=True):
        np.testing.assert_array_equal(np.diff(row[:length, 0]), 1)
    with pytest.raises(InputError, match="nothing to learn"):
        sample([track(values[:0])])


def test_too_little_to_hold_out():
    with pytest.raises(InputError, match="too few to hold any out"):
        learn(sample([track(np.ones((100, 1)))]), Poisson(), [2], held_out=True)


def test_constant_and_tiny_data_are_no_problem():
    for family in (Gaussian(), Poisson()):
        learned = learn(sample([track(np.full((3, 1), 2.0))]), family, [3], restarts=1)
        [(_, segments)] = partition(learned.model, [track(np.full((3, 1), 2.0))])
        assert segments[-1].end == 3
    unknown = SequenceTrack(Record("n", encode("NNNNN")), 0)
    model = initial_model(Categorical(0), sample([SequenceTrack(Record("r", encode("ACGT" * 9)), 0)]), 2)
    [(_, segments)] = partition(model, [unknown])
    assert segments[-1].end == 5


def test_counts_are_whole_and_limited():
    counts = CountTrack(track(np.array([[0.4], [1.6], [-3.0], [1e9]])))
    assert counts.block(0, 4)[:, 0].tolist() == [0, 2, 0, 16383]


def test_graph_of_any_number_of_states():
    assert fully_connected(1).states == ("state1",)
    assert len(fully_connected(20).edges) == 400


# ---- the command


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Reads over two sequences of 60 kb with regions of no, one and three copies."""
    rng = np.random.default_rng(2)
    lengths = {"a": 60_000, "b": 60_050}
    truth = {name: np.repeat(rng.permutation([0, 1, 1, 3, 1, 0]), 10_000) for name in lengths}
    reads = []
    for name, depth in truth.items():
        starts = np.flatnonzero(rng.random(60_000) < 0.1 * depth)
        reads += [(name, int(x), "50M", int(rng.choice([0, 16])), 60) for x in starts if x < lengths[name] - 50]
    path = write_bam(tmp_path_factory.mktemp("copies") / "reads.bam", reads, lengths)
    return path, truth, lengths


def test_copy_number_from_the_command_line(copies, tmp_path):
    path, truth, lengths = copies
    bed, report = tmp_path / "out.bed", tmp_path / "out.toml"
    result = run("segment", path, "--states", "2-3", "-o", bed, "--report", report, "--restarts", 2, "--no-cache")
    assert result.code == 0, result.err
    assert len(result.err.splitlines()) == 2
    rows = [line.split("\t") for line in bed.read_text().splitlines() if line[0] != "#"]
    right = 0
    for name, length in lengths.items():
        spans = [(int(r[1]), int(r[2]), r) for r in rows if r[0] == name]
        assert [0, *(e for _, e, _ in spans)] == [*(s for s, _, _ in spans), length]
        called = np.concatenate([np.full(e - s, int(r[3][-1]) - 1) for s, e, r in spans])
        right += (called[:60_000] == np.array([0, 1, 9, 2])[truth[name]]).sum()
    assert all(len(r) == 9 and 0 <= int(r[4]) <= 1000 and r[5] == "." for r in rows)
    assert right / 120_000 > 0.98
    found = tomllib.loads(report.read_text())
    assert found["chosen_states"] == 3
    assert found["channels"] == ["reads"]
    assert [s["name"] for s in found["states"]] == ["state1", "state2", "state3"]
    assert [s["mean"][0] for s in found["states"]] == pytest.approx([0, 10, 30], abs=1.5)
    assert np.diff(found["log_likelihood_per_round"]).min() > -0.1
    again = run("segment", path, "--states", "2-3", "--restarts", 2, "--no-cache", "-q")
    assert again.out == bed.read_text()
    assert again.err == ""


def test_several_samples(copies):
    path, _, _ = copies
    result = run(
        "segment", path, path, "--states", 2, "--bin", 500, "--per-strand", "--emission", "gaussian", "--no-cache"
    )
    assert result.code == 0, result.err
    assert {line.split("\t")[3] for line in result.out.splitlines()[1:]} == {"state1", "state2"}


def test_bases_from_the_command_line(tmp_path):
    rng = np.random.default_rng(3)
    blocks = [rng.choice(4, 3000, p=p).astype(np.uint8) for p in ([0.4, 0.1, 0.1, 0.4], [0.15, 0.35, 0.35, 0.15]) * 3]
    fasta = tmp_path / "g.fa"
    fasta.write_text(f">r\n{decode(np.concatenate(blocks))}\n>s\n{decode(blocks[1])}NNN\n>empty\n\n")
    result = run("segment", fasta, "--states", 2, "--no-cache")
    assert result.code == 0, result.err
    rows = [line.split("\t") for line in result.out.splitlines()[1:]]
    called = np.concatenate([np.full(int(r[2]) - int(r[1]), int(r[3][-1]) - 1) for r in rows if r[0] == "r"])
    assert (called == np.repeat([0, 1] * 3, 3000)).mean() > 0.97
    assert [(r[1], r[2], r[3]) for r in rows if r[0] == "s"] == [("0", "3003", "state2")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--states", "0"], "no number of states"),
        (["--states", "5-2"], "no number of states"),
        (["--report", "x.toml"], "give --states too"),
        (["--states", "2", "--region", "a:1-100"], "samtools view"),
        (["--states", "2", "--gc-correct"], "--reference"),
    ],
)
def test_what_cannot_be_asked(copies, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("segment", copies[0], *arguments, "--no-cache")
    assert result.code == 2
    assert message in result.err
    assert not list(tmp_path.iterdir())


def test_inputs_that_do_not_go_together(copies, tmp_path):
    fasta = tmp_path / "g.fa"
    fasta.write_text(">r\nACGT\n")
    assert "several inputs" in run("segment", fasta, copies[0]).err
    assert "several inputs" in run("segment", fasta, copies[0], "--states", 2).err
    assert "categorical" in run("segment", fasta, "--states", 2, "--emission", "poisson").err


def test_the_example(copies, tmp_path):
    command = [sys.executable, REPOSITORY / "examples" / "coverage_states.py", copies[0], "2"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "LSTMHMM_CACHE": str(tmp_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[1] for row in rows if row[1] == "0"] == ["0", "0"]
    assert {row[3] for row in rows} == {"state1", "state2"}
