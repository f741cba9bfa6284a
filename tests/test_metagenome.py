"""Groups of records that are alike, and the calibrations they share."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import fasta, run, small_batches
from hypothesis import given
from hypothesis import strategies as st
from tiny import random_codes, random_counts

from lstmhmm_bio import metagenome
from lstmhmm_bio.calibration import Calibration, Prior, pack, unpack
from lstmhmm_bio.errors import InputError
from lstmhmm_bio.evaluation import evaluate_files
from lstmhmm_bio.features import Annotation, Record
from lstmhmm_bio.io.calibration_file import calibration_bytes, read_calibration
from lstmhmm_bio.io.gff3 import Gff3Writer
from lstmhmm_bio.metagenome import (
    WORD,
    Composition,
    GroupedCalibration,
    compositions,
    tables_by_record,
    word_counts,
)
from lstmhmm_bio.sequence import decode, encode, reverse_complement
from lstmhmm_bio.simulate import simulate_genome


def chain(rng: np.random.Generator, transitions: np.ndarray, length: int) -> np.ndarray:
    """Bases of a Markov chain."""
    codes = [0]
    for u in rng.random(length - 1):
        codes.append(int(np.searchsorted(np.cumsum(transitions[codes[-1]])[:3], u)))
    return np.array(codes, np.uint8)


@pytest.fixture(scope="module")
def mixture() -> tuple[np.ndarray, np.ndarray]:
    """Word counts of 240 records of 2 kb of two organisms of the same GC content, shuffled, and whose they are."""
    rng = np.random.default_rng(5)
    repeats = np.full((4, 4), 0.2) + 0.2 * np.eye(4)
    alternates = np.full((4, 4), 0.2) + 0.2 * np.eye(4)[::-1]
    owner = rng.integers(0, 2, 240)
    return np.stack([word_counts(chain(rng, (repeats, alternates)[o], 2000)) for o in owner]), owner


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_words_are_counted_on_both_strands(seed: int, length: int) -> None:
    codes = random_codes(np.random.default_rng(seed), length, unknown=0.05)
    expected = np.zeros(4**WORD, int)
    for text in (decode(codes), decode(reverse_complement(codes))):
        for at in range(len(text) - WORD + 1):
            word = text[at : at + WORD]
            if "N" not in word:
                expected[int("".join(str("ACGT".index(b)) for b in word), 4)] += 1
    np.testing.assert_array_equal(word_counts(codes), expected)


def test_organisms_of_one_gc_content_are_told_apart(mixture) -> None:
    counts, owner = mixture
    found = compositions(counts)
    assert 2 <= len(found.shares) <= 240 * 2000 // metagenome.GROUP_BASES
    groups = found.groups_of(counts)
    owners = [owner[groups == g] for g in range(len(found.shares))]
    pure = sum(max(np.bincount(o, minlength=2)) for o in owners if len(o))
    assert pure >= 0.97 * len(owner)


def test_every_record_fits_its_group_best(mixture) -> None:
    counts, _ = mixture
    found = compositions(counts)
    probabilities = np.exp(found.words.reshape(len(found.shares), -1, 4) / metagenome.UNITS)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=2e-3)
    scores = counts @ found.words.T // 2 + found.shares
    np.testing.assert_array_equal(found.groups_of(counts), scores.argmax(1))
    np.testing.assert_array_equal(np.unique(found.groups_of(counts)), np.arange(len(found.shares)))


def test_few_bases_make_one_group_and_small_groups_are_dissolved(mixture) -> None:
    counts, owner = mixture
    assert len(compositions(counts[:40]).shares) == 1
    assert len(compositions(np.zeros((3, 4**WORD), np.int64)).shares) == 1
    # a handful of odd records have too little to learn from
    few = np.concatenate([counts[owner == 0], counts[owner == 0], counts[owner == 1][:5]])
    found = compositions(few)
    sizes = np.bincount(found.groups_of(few), weights=few.sum(1) // 2)
    assert sizes.min() >= metagenome.GROUP_BASES // 3


def grouped(seed: int) -> GroupedCalibration:
    rng = np.random.default_rng(seed)
    words = rng.integers(-3000, 0, (3, 4**WORD))
    calibrations = tuple(Calibration(random_counts(rng), gc, 11) for gc in (0.3, 0.5, 0.6))
    return GroupedCalibration(Composition(words, np.array([-700, -1400, -2000])), calibrations, 11)


def test_records_take_of_their_groups_by_likelihood() -> None:
    rng = np.random.default_rng(2)
    calibration, prior = grouped(7), Prior.fit([random_counts(rng)], [0.5])
    tables_of = tables_by_record(calibration, prior, 11)
    composition, members = calibration.composition, calibration.calibrations
    seen = set()
    for length in (3, 5, 100, 2000) * 20:
        codes = random_codes(rng, length)
        fits = (composition.words @ word_counts(codes) / 2 + composition.shares) / metagenome.UNITS
        weights = np.exp(metagenome.TEMPERATURE * (fits - fits.max()))
        weights[weights < metagenome.LEAST_WEIGHT] = 0
        seen.add((int(fits.argmax()), int((weights > 0).sum())))
        counts = sum(w * pack(m.counts) for w, m in zip(weights, members, strict=True))
        gc = float(weights @ [m.gc for m in members] / weights.sum())
        expected = Calibration(unpack(counts), gc, 11).tables(prior)
        for a, b in zip(tables_of(Record("x", codes)), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
    assert {count for _, count in seen} == {1, 2, 3}
    assert len({best for best, _ in seen}) > 1


@pytest.mark.parametrize("calibration", [None, GroupedCalibration.empty(11)])
def test_without_calibration_the_gc_content_decides(calibration) -> None:
    rng = np.random.default_rng(3)
    prior = Prior.fit([random_counts(rng), random_counts(rng)], [0.3, 0.6])
    found = tables_by_record(calibration, prior, 11)(Record("x", encode("GGCATTGGCC")))
    for a, b in zip(found, Calibration.expected(0.7, 11).tables(prior), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("calibration", [grouped(1), GroupedCalibration.empty(4)])
def test_file(tmp_path, calibration) -> None:
    path = tmp_path / "x.cal"
    path.write_bytes(calibration_bytes(calibration))
    found = read_calibration(str(path))
    assert isinstance(found, GroupedCalibration)
    assert found.genetic_code == calibration.genetic_code
    assert calibration_bytes(found) == path.read_bytes()
    np.testing.assert_array_equal(found.composition.words, calibration.composition.words)
    damaged = replace(calibration, composition=Composition(calibration.composition.words[:, 1:], np.zeros(0, int)))
    path.write_bytes(calibration_bytes(damaged))
    with pytest.raises(InputError, match="words is int64"):
        read_calibration(str(path))


# ---- the command


@pytest.fixture(scope="module")
def contigs(tmp_path_factory) -> Path:
    """Contigs of two simulated genomes, mixed, with what is on them."""
    folder = tmp_path_factory.mktemp("metagenome")
    pieces = [
        simulate_genome(2500, gc=gc, seed=seed, record=n, contig=True)
        for n in range(36)
        for seed, gc in ((31, 0.36), (32, 0.58))
    ]
    records = [replace(record, id=f"contig_{n}") for n, (record, _) in enumerate(pieces)]
    path = folder / "contigs.fa"
    path.write_text(fasta(*records))
    with (folder / "contigs.gff3").open("w") as handle:
        writer = Gff3Writer(handle)
        for record, (_, genes) in zip(records, pieces, strict=True):
            writer.write(Annotation(record, tuple(replace(g, seqid=record.id) for g in genes)))
    return path


@pytest.fixture(autouse=True, scope="module")
def _small_groups():
    with small_batches(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstmhmm_bio.metagenome.GROUP_BASES", 60_000)
        yield


def annotated(contigs: Path, *options: object) -> str:
    result = run("annotate", contigs, *options, "--no-cache", "-q")
    assert result.code == 0, result.err
    return result.out


def test_a_file_stands_for_the_first_pass_and_shards_share_it(contigs, tmp_path) -> None:
    path = tmp_path / "x.cal"
    result = run("calibrate", contigs, "--meta", "-o", path, "--no-cache")
    assert result.code == 0, result.err
    assert re.search(r"x.cal: [2-4] groups of records, [\d,]+ codons and [\d,]+ starts counted", result.err)
    whole = annotated(contigs, "--meta")
    assert annotated(contigs, "--calibration", path) == whole

    def rows(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("#")]

    shards = [rows(annotated(contigs, "--meta", "--shard", f"{i}/2")) for i in (1, 2)]
    assert [re.sub("ID=[^;]*", "", line) for shard in shards for line in shard] == [
        re.sub("ID=[^;]*", "", line) for line in rows(whole)
    ]


def test_records_that_are_alike_help_each_other(contigs, tmp_path) -> None:
    f1 = []
    for options in (["--meta"], ["--calibration", "none"]):
        path = tmp_path / "x.gff3"
        path.write_text(annotated(contigs, *options))
        scores = evaluate_files(contigs.with_suffix(".gff3"), path, genome=str(contigs), keep_partial=True).scores
        f1.append((scores["stop"].f1, scores["exact"].f1))
    assert f1[0][0] >= f1[1][0] - 0.005
    assert f1[0][1] > f1[1][1]
    assert f1[0][1] > 0.8


def test_little_sequence_is_taken_record_by_record(tmp_path) -> None:
    records = [simulate_genome(2500, gc=0.4, seed=3, record=n, contig=True)[0] for n in range(2)]
    path = tmp_path / "two.fa"
    path.write_text(fasta(*records))
    assert annotated(path, "--meta") == annotated(path, "--calibration", "none")
    result = run("calibrate", path, "--meta", "-o", tmp_path / "x.cal", "--no-cache")
    assert result.code == 0
    assert "0 groups of records" in result.err
    assert "too short" in result.err
    assert annotated(path, "--calibration", tmp_path / "x.cal") == annotated(path, "--calibration", "none")


def test_report_shows_the_groups(contigs, tmp_path) -> None:
    page = tmp_path / "report.html"
    annotated(contigs, "--meta", "--report", page)
    assert "groups of records that are alike" in page.read_text()
