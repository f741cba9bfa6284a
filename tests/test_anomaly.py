"""Anomaly scores, read depth, called regions and the files they are written to."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from command import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstmhmm_bio import composition, outliers
from lstmhmm_bio.anomaly import Detector, WindowScores, middle
from lstmhmm_bio.calibration import GC_GRID, Counts, Prior
from lstmhmm_bio.depth import Depth
from lstmhmm_bio.errors import InputError
from lstmhmm_bio.features import Record
from lstmhmm_bio.frames import GeneFrames
from lstmhmm_bio.io.bedgraph import read_track, track_writer
from lstmhmm_bio.io.coverage import SignalTrack
from lstmhmm_bio.io.output import open_output
from lstmhmm_bio.io.reference import Transcript
from lstmhmm_bio.model import load_model
from lstmhmm_bio.outliers import anomalies
from lstmhmm_bio.sequence import base_counts, decode, encode, kmer_indices, reverse_complement


def chain(rng: np.random.Generator, length: int, taste: np.random.Generator) -> np.ndarray:
    """A genome from a Markov chain of order 2, whose probabilities are drawn by `taste`."""
    table = np.cumsum(taste.dirichlet(np.full(4, 20.0), 16), axis=1)
    draws = rng.random(length)
    out, context = np.zeros(length, np.uint8), 0
    for i, x in enumerate(draws):
        out[i] = min(int(np.searchsorted(table[context], x)), 3)
        context = context % 4 * 4 + out[i]
    return out


def gc_prior() -> Prior:
    """Independent bases of each GC content."""
    gc = GC_GRID[:, None] / 100
    bases = np.concatenate([(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2], 1)
    words = bases
    for _ in range(5):
        words = (words[:, :, None] * bases[:, None]).reshape(len(gc), -1)
    zeros = Counts.zeros()
    fields = ("upstream", "false_upstream", "context", "false_context", "introns")
    rest = {n: np.stack([getattr(zeros, n)] * len(gc)) for n in fields}
    return Prior(Counts(words.astype(np.float32), words.astype(np.float32), **rest))


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of few blocks: little sequence takes little time."""
    monkeypatch.setattr("lstmhmm_bio.anomaly.CALL", 128)


@pytest.fixture(scope="module")
def genome() -> np.ndarray:
    return chain(np.random.default_rng(1), 300_000, np.random.default_rng(2))


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return chain(np.random.default_rng(3), 20_000, np.random.default_rng(4))


def score(codes: np.ndarray, **options: object) -> WindowScores:
    detector = Detector(gc_prior(), **options)
    (scores,) = detector.score([Record("x", codes)], detector.learn([Record("x", codes)]))
    return scores


# ---- composition


@given(st.text("ACGTN", max_size=200), st.integers(0, 3))
def test_block_counts_are_the_words_of_each_block(sequence: str, cuts: int) -> None:
    words = kmer_indices(encode(sequence), 6)
    edges = np.unique(np.linspace(0, len(sequence), cuts + 2).astype(np.int64))
    counts = composition.block_counts(words, edges)
    for row, (a, b) in enumerate(pairwise(edges)):
        found = [w for w in words[a:b] if w >= 0]
        assert counts[row].tolist() == np.bincount(found, minlength=4096).tolist()


def test_bases_are_counted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstmhmm_bio.sequence._PIECE", 3)
    assert base_counts(encode("AACGTNNACG")).tolist() == [3, 2, 2, 1, 2]
    assert base_counts(encode("")).tolist() == [0] * 5


@given(st.text("ACGT", min_size=6, max_size=60))
def test_both_strands_do_not_depend_on_the_strand(sequence: str) -> None:
    def counts(codes: np.ndarray) -> np.ndarray:
        return composition.both_strands(composition.block_counts(kmer_indices(codes, 6), np.array([0, len(codes)])))

    codes = encode(sequence)
    np.testing.assert_array_equal(counts(codes), counts(reverse_complement(codes)))


def test_markov_is_a_distribution_and_learns_its_counts() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(4, 1.0), 1024)
    log_p = composition.markov(np.round(p * 1e6).reshape(1, -1).astype(np.float32))
    np.testing.assert_allclose(np.exp2(log_p).reshape(1024, 4).sum(-1), 1, rtol=1e-4)
    np.testing.assert_allclose(np.exp2(log_p).reshape(1024, 4), p, atol=1e-3)


def test_adaptive_is_the_product_of_predictions() -> None:
    """Against the definition: each word is predicted from the counts before it, of one strand."""
    rng = np.random.default_rng(5)
    words = rng.integers(0, 4096, 50)
    prior = rng.random(4096).astype(np.float32) + 0.1
    context = rng.integers(0, 3, 256).astype(np.float32)
    share = prior.reshape(16, 256).sum(0).reshape(64, 4)
    seen = context.reshape(64, 4) + composition.ADAPTIVE_PRIOR * share / share.sum(1, keepdims=True)
    expected = 0.0
    for word in words % 256:
        row = seen[word // 4]
        expected += np.log2(row[word % 4] / row.sum())
        row[word % 4] += 1
    counts = np.bincount(words, minlength=4096).astype(np.float32)
    (found,) = composition.adaptive(counts[None], context[None], prior)
    assert found * 2 == pytest.approx(expected, rel=1e-4)  # the function takes both strands' counts


def test_gene_frames_name_codons_on_both_strands_and_over_introns() -> None:
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 4, 90).astype(np.uint8)
    text = decode(codes)
    spliced = ((3, 13), (20, 34))
    forward = Transcript("x", "+", spliced, "a", "a")
    coding = text[3:13] + text[20:34]
    frames = GeneFrames([forward])(Record("x", codes))
    place = [*range(3, 13), *range(20, 34)]
    expected = {
        place[i]: kmer_indices(encode(coding[i : i + 6]), 6)[0]
        for i in range(0, len(coding) - 5, 3)
        if place[i + 5] - place[i] == 5
    }
    assert {int(i): int(frames[i]) for i in np.flatnonzero(frames >= 0)} == expected
    mirrored = Transcript("x", "-", tuple((90 - b, 90 - a) for a, b in reversed(spliced)), "b", "b")
    backward = GeneFrames([mirrored])(Record("x", reverse_complement(codes)))
    assert sorted(backward[backward >= 0]) == sorted(expected.values())


# ---- scores


def test_a_planted_piece_scores_highest(genome: np.ndarray, other: np.ndarray) -> None:
    scores = score(np.concatenate([genome[:102_000], other, genome[102_000:]]), window=5000)
    inside = (scores.edges[:-1] >= 100_000) & (scores.edges[1:] <= 125_000)
    whole = (scores.edges[:-1] >= 102_000) & (scores.edges[1:] <= 122_000)
    assert scores.bits[whole].min() > scores.bits[~inside].max()


def test_neither_the_rest_of_the_file_nor_the_size_of_a_call_matters(
    genome: np.ndarray, other: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        Record("a", genome[:120_000]),
        Record("b", other),
        Record("c", genome[120_000:121_000]),
        Record("d", other[:0]),
    ]
    detector = Detector(gc_prior(), window=2000)
    own = detector.learn(records)
    before = list(detector.score(records, own))
    monkeypatch.setattr("lstmhmm_bio.anomaly.CALL", 64)
    after = [next(iter(detector.score([record], own))) for record in records]
    for x, y in zip(before, after, strict=True):
        np.testing.assert_allclose(x.bits, y.bits, atol=1e-5)
        assert x.edges.tolist() == y.edges.tolist()
    assert [len(s.bits) for s in before] == [60, 10, 1, 0]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 9000), st.integers(500, 4000), st.data())
def test_cells_tile_every_record_and_are_finite(length: int, window: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, window).filter(lambda s: length / s < 2000))
    codes = np.random.default_rng(length).integers(0, 5, length).astype(np.uint8)
    scores = score(codes, window=window, step=step)
    assert scores.edges[0] == 0
    assert scores.edges[-1] == length
    assert (np.diff(scores.edges) > 0).all()
    assert np.isfinite(scores.bits).all()


def test_a_run_of_unknown_bases_is_typical_and_a_simple_repeat_is_not(genome: np.ndarray) -> None:
    codes = genome.copy()
    codes[100_000:115_000] = 4
    codes[200_000:205_000] = np.resize(encode("CA"), 5000)
    scores = score(codes, window=5000)
    ordinary, _ = middle(scores.bits)
    assert scores.known[21] == 0
    assert scores.bits[21] == pytest.approx(ordinary, abs=0.01)
    assert scores.bits.argmax() == 40
    (found,) = anomalies([scores], 5000)
    assert (found.start, found.end, found.kind) == (200_000, 205_000, "low complexity")


def test_codon_usage_tells_genes_from_the_same_genes_out_of_frame() -> None:
    """Genes of one codon order; in the planted ones bases are the same but codons are shuffled."""
    rng = np.random.default_rng(7)
    usage = rng.dirichlet(np.full(64, 0.3))
    letters = np.array([[c // 16, c // 4 % 4, c % 4] for c in range(64)], np.uint8)
    genes = letters[rng.choice(64, 100_000, p=usage)].reshape(-1)
    codes = genes.copy()
    codes[150_000:160_002] = letters[rng.permutation(64)[rng.choice(64, 3334, p=usage)]].reshape(-1)
    frames = GeneFrames([Transcript("x", "+", ((0, 300_000),), "g", "g")])
    with_genes = score(codes, window=5000, frames=frames)
    assert set(np.argsort(with_genes.bits)[-2:]) == {30, 31}


# ---- depth


def uneven(rate: float = 100.0) -> Depth:
    values = np.random.default_rng(8).poisson(rate, (60, 1)).astype(np.float32)
    values[20:22] *= 3
    return Depth("x.bam", {"x": SignalTrack("x", 300_000, 5000, values)}, rate / 5000, 1e4)


def test_depth_joins_in_and_is_named(genome: np.ndarray) -> None:
    scores = score(genome, window=5000, depth=uneven())
    assert set(np.argsort(scores.bits)[-2:]) == {20, 21}
    assert scores.depth[20] == pytest.approx(np.log2(3), abs=0.3)
    (found,) = anomalies([scores], 5000)
    assert (found.start, found.end, found.kind) == (100_000, 110_000, "coverage")


def test_depth_of_other_sequences_is_refused() -> None:
    with pytest.raises(InputError, match="no such sequence"):
        uneven().judge("y", np.zeros(1), np.ones(1), np.ones(1))


# ---- regions


def test_ordinary_windows_give_no_regions_and_uniform_p_values() -> None:
    """Of scores as skewed as those of random sequence: gamma distributed, of skewness 2 / sqrt(shape)."""
    rng = np.random.default_rng(9)
    p_values = []
    shape = (2 / outliers.SKEWNESS) ** 2
    for _ in range(10):
        deviates = (rng.gamma(shape, size=400) - shape) / shape**0.5
        bits = (-0.01 + 0.005 * deviates).astype(np.float32)
        known = np.full(400, 5000, np.float32)
        scores = WindowScores("x", np.arange(401) * 5000, bits, known, known * 0 + 2, known * 0, known * 0)
        null = outliers.Null.of([scores])
        z = null.standardise(scores)
        p_values += [null.p_value(z[i : i + 1]) for i in range(0, 400, 2)]
        assert len(anomalies([scores], 5000)) <= 1
    assert np.mean(np.array(p_values) < 0.01) == pytest.approx(0.01, abs=0.006)
    assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.05)


def test_p_values_of_random_sequence() -> None:
    """As often small as they say, and no region is called."""
    record = [Record("x", np.random.default_rng(14).integers(0, 4, 4_000_000).astype(np.uint8))]
    detector = Detector(load_model().prior, window=1000)
    (scores,) = detector.score(record, detector.learn(record))
    null = outliers.Null.of([scores])
    p_values = np.array([null.p_value(z) for z in null.standardise(scores)[:, None]])
    for level in (0.05, 0.01):
        assert (p_values < level).mean() == pytest.approx(level, rel=0.3)
    assert not anomalies([scores], 1000)


def test_regions_are_joined_and_few_windows_give_none() -> None:
    bits = np.random.default_rng(10).normal(0, 1, 300).astype(np.float32)
    bits[95:100], bits[110:115] = -0.5, -0.5
    bits[100:110] += 6
    known = np.full(300, 5000, np.float32)
    fields = (known, known * 0 + 2, known * 0, known * 0)
    (found,) = anomalies([WindowScores("x", np.arange(301) * 5000, bits, *fields)], 5000)
    assert (found.start, found.end) == (500_000, 550_000)
    assert found.q < 1e-6
    short = WindowScores("x", np.arange(16) * 5000, bits[95:110], *(f[:15] for f in fields))
    assert anomalies([short], 5000) == []


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    p = [0.01, 0.04, 0.03, 0.002]
    assert outliers._benjamini_hochberg(p, 4) == pytest.approx([0.02, 0.04, 0.04, 0.008])


# ---- files and the command


@pytest.mark.parametrize("name", ["x.bedgraph", "x.bedgraph.gz", "x.bw"])
def test_tracks_are_read_as_written(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    with open_output(path) as handle, track_writer(path, handle) as writer:
        writer.write("b", np.array([0.5, -1.25]), np.array([0, 10, 15]))
        writer.write("a", np.array([2.0]), np.array([0, 7]))
    borders, values = read_track(path, "b", 5, 12)
    assert borders.tolist() == [[5, 10], [10, 12]]
    assert values.tolist() == [0.5, -1.25]


def test_a_broken_bedgraph_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.bedgraph"
    path.write_text("a\t0\t5\t1\na\t5\tten\t1\n")
    with pytest.raises(InputError, match="line 2"):
        read_track(str(path), "a", 0, 10)


def test_command_writes_tracks_and_regions(tmp_path: Path, genome: np.ndarray, other: np.ndarray) -> None:
    fasta = tmp_path / "x.fa"
    codes = np.concatenate([genome[:100_000], other, genome[100_000:]])
    fasta.write_text(f">one\n{decode(codes)}\n>two\n{decode(genome[:7000])}\n")
    regions = tmp_path / "calls.bed"
    result = run("score", fasta, "--regions", regions, "-q")
    assert result.code == 0, result.err
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert {len(row) for row in rows} == {4}
    assert [int(row[1]) for row in rows if row[0] == "one"] == list(range(0, 320_000, 5000))
    assert rows[-1][:3] == ["two", "5000", "7000"]
    called = [line.split("\t") for line in regions.read_text().splitlines() if line[0] != "#"]
    assert [row[:4] for row in called] == [["one", "100000", "120000", "composition"]]


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--step", "9000"], "longer than --window"), (["--genome", "y.fa"], "--genome is for reads")],
)
def test_command_refuses_what_cannot_be(tmp_path: Path, options: list[str], said: str) -> None:
    fasta = tmp_path / "x.fa"
    fasta.write_text(">a\nACGT\n")
    (tmp_path / "y.fa").write_text(">a\nACGT\n")
    result = run("score", fasta, *(str(tmp_path / o) if o.endswith(".fa") else o for o in options))
    assert result.code == 2
    assert said in result.err
