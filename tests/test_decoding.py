from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from spliced import simulate_spliced
from tiny import random_codes, random_model

from lstmhmm_bio import annotate
from lstmhmm_bio.annotate import Annotator, Calibration
from lstmhmm_bio.calibration import Counts
from lstmhmm_bio.decoding import Decoded, Weights, decode_records
from lstmhmm_bio.features import Gene, Record
from lstmhmm_bio.genes import genes_of, groups_read
from lstmhmm_bio.hmm.grammars import bacteria, eukaryote, eukaryote_marks
from lstmhmm_bio.hmm.grammars.grammar import Grammar
from lstmhmm_bio.hmm.graph import NEG
from lstmhmm_bio.hmm.recursions import forward_backward
from lstmhmm_bio.hmm.viterbi import UNITS, viterbi
from lstmhmm_bio.nn.network import CodeMasks
from lstmhmm_bio.paths import BLOCK
from lstmhmm_bio.scoring import Tracks
from lstmhmm_bio.segment import coverage
from lstmhmm_bio.sequence import GeneticCode, decode, reverse_complement
from lstmhmm_bio.simulate import simulate_genome
from lstmhmm_bio.windows import LONG, SHORT

CODE = GeneticCode.from_number(11)
SCORES = bacteria.GRAPH.scores(bacteria.INITIAL_WEIGHTS)
WEIGHTS = Weights.of(bacteria.GRAMMAR, bacteria.INITIAL_WEIGHTS)


def stop_mask(codes: np.ndarray) -> np.ndarray:
    text = decode(codes)
    return np.array([text[max(t - 2, 0) : t + 1] in ("TAA", "TAG", "TGA") for t in range(len(text))], bool)


def start_mask(codes: np.ndarray) -> np.ndarray:
    text = decode(codes)
    return np.array([text[t : t + 3] in ("ATG", "GTG", "TTG") for t in range(len(text))], bool)


def noisy_tracks(record: Record, genes: tuple[Gene, ...], seed: int) -> Tracks:
    """Scores that know the genes, more or less."""
    rng = np.random.default_rng(seed)
    length = len(record)
    coding = rng.normal(size=(2, length, 3), scale=400) - 150
    sites = rng.normal(size=(2, length, 2), scale=2000)
    for g in genes:
        row = "+-".index(g.strand)
        s, e = (g.start, g.end) if row == 0 else (length - g.end, length - g.start)
        coding[row, np.arange(s, e), np.arange(e - s) % 3] += 700
        sites[row, s, 0] += 4000
        sites[row, e - 1, 1] += 1000
    return Tracks(coding.astype(np.int16), np.minimum(sites, 31000).astype(np.int16))


def at_once(record: Record, tracks: Tracks) -> tuple[np.ndarray, np.ndarray]:
    """Paths and posteriors of both strands from the recursions over the whole record."""
    strands = (record.codes, reverse_complement(record.codes))
    e = bacteria.emissions(
        jnp.asarray(tracks.classes) * jnp.float32(1 / UNITS),
        jnp.asarray(tracks.sites) * jnp.float32(1 / UNITS),
        np.stack([start_mask(c) * bacteria.START_HERE + stop_mask(c) * bacteria.STOP_ENDS_HERE for c in strands]),
        impossible=NEG,
    )
    lengths = jnp.full(2, len(record), jnp.int32)
    return viterbi(bacteria.GRAPH, SCORES, e, lengths)[1], np.asarray(
        forward_backward(bacteria.GRAPH, SCORES, e, lengths)[1]
    )


def assert_decoded(found: Decoded, paths: np.ndarray, posteriors: np.ndarray) -> None:
    np.testing.assert_array_equal(found.paths, paths)
    letters = (lambda s: "T" in s, lambda s: "S" in s, lambda s: bool(set(s) & set("3T")), lambda s: s == "I")
    groups = [[i for i, s in enumerate(bacteria.STATES) if test(s)] for test in (*letters, lambda s: len(s) == 2)]
    for g, members in enumerate(groups):
        expected = posteriors[..., members].sum(-1)
        np.testing.assert_allclose(found.posteriors[..., g] / 65535, expected, atol=2e-3)


@pytest.fixture(scope="module")
def long_case() -> tuple[Record, tuple[Gene, ...], Tracks]:
    record, genes = simulate_genome(LONG + 12_345, seed=3, contig=True)
    record.codes[9000:9100] = 4
    return record, genes, noisy_tracks(record, genes, 1)


@pytest.mark.parametrize("block", [BLOCK, 7000])
def test_long_records_block_by_block(
    block: int, long_case: tuple[Record, tuple[Gene, ...], Tracks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstmhmm_bio.paths.BLOCK", block)
    record, genes, tracks = long_case
    found = decode_records([record], [tracks], CODE, bacteria.GRAMMAR, WEIGHTS)[0]
    assert_decoded(found, *at_once(record, tracks))
    predicted = genes_of(found, CODE)
    assert len(predicted) > 0.7 * len(genes)
    stops = {(g.strand, g.end if g.strand == "+" else g.start) for g in genes if g.has_stop}
    right = [g for g in predicted if (g.strand, g.end if g.strand == "+" else g.start) in stops]
    assert len(right) > 0.8 * len(stops)


def test_short_records_together_or_one_by_one() -> None:
    lengths = (900, SHORT[0], 30, 2500, 0, 1, SHORT[1])
    cases = [simulate_genome(max(n, 1), seed=n + 1, contig=True) for n in lengths]
    records = [Record(f"r{n}", record.codes[:n]) for n, (record, _) in zip(lengths, cases, strict=True)]
    tracks = [noisy_tracks(r, c[1] if len(r) else (), 2) for r, c in zip(records, cases, strict=True)]
    together = decode_records(records, tracks, CODE, bacteria.GRAMMAR, WEIGHTS)
    assert [d.record.id for d in together] == [r.id for r in records]
    for i, record in enumerate(records):
        alone = decode_records([record], [tracks[i]], CODE, bacteria.GRAMMAR, WEIGHTS)[0]
        np.testing.assert_array_equal(alone.paths, together[i].paths)
        np.testing.assert_array_equal(alone.posteriors, together[i].posteriors)
        assert alone.paths.shape == (2, len(record))
        if i in (2, 3):
            assert_decoded(alone, *at_once(record, tracks[i]))
    assert sum(len(genes_of(d, CODE)) for d in together) > 5


def test_long_records_share_batches(long_case: tuple[Record, tuple[Gene, ...], Tracks]) -> None:
    other, genes = simulate_genome(LONG + 700, seed=8, contig=True)
    records, tracks = [other, long_case[0]], [noisy_tracks(other, genes, 3), long_case[2]]
    together = decode_records(records, tracks, CODE, bacteria.GRAMMAR, WEIGHTS)
    for found, record, of_record in zip(together, records, tracks, strict=True):
        alone = decode_records([record], [of_record], CODE, bacteria.GRAMMAR, WEIGHTS)[0]
        assert found.record is record
        np.testing.assert_array_equal(found.paths, alone.paths)
        np.testing.assert_array_equal(found.posteriors, alone.posteriors)


def test_only_the_posteriors_that_are_asked_for() -> None:
    records = [simulate_genome(n, seed=n)[0] for n in (3000, 30_000)]
    tracks = [noisy_tracks(r, (), 2) for r in records]
    every = decode_records(records, tracks, CODE, bacteria.GRAMMAR, WEIGHTS)
    groups = groups_read("bacteria")
    some = decode_records(records, tracks, CODE, bacteria.GRAMMAR, WEIGHTS, groups)
    for whole, part in zip(every, some, strict=True):
        np.testing.assert_array_equal(part.paths, whole.paths)
        assert part.posteriors.shape[2] == 3
        for group in groups:
            np.testing.assert_array_equal(part.posterior(group), whole.posterior(group))
        assert genes_of(part, CODE) == genes_of(whole, CODE)


def test_genes_of_a_decoded_record(long_case: tuple[Record, tuple[Gene, ...], Tracks]) -> None:
    record, _, tracks = long_case
    decoded = decode_records([record], [tracks], CODE, bacteria.GRAMMAR, WEIGHTS)[0]
    genes = genes_of(decoded, CODE)
    assert genes == sorted(genes, key=lambda g: (g.start, g.end, g.strand))
    assert {g.strand for g in genes} == {"+", "-"}
    for gene in genes:
        own = record.codes[gene.start : gene.end]
        own = own if gene.strand == "+" else reverse_complement(own)
        protein = CODE.translate(own, starts=False)
        assert "*" not in protein[:-1]
        assert protein.endswith("*") == gene.has_stop
        assert gene.start_codon == (decode(own[:3]) if gene.has_start else "")
        assert gene.has_start == (gene.start_codon in ("ATG", "GTG", "TTG"))
        assert gene.partial_left <= (gene.start < 3)
        assert gene.partial_right <= (gene.end > len(record) - 3)
        assert 0 <= gene.score <= 1
        assert (0 <= gene.start_score <= 1) == gene.has_start
    assert np.mean([g.score for g in genes]) > 0.8


def test_coverage_counts_genes_over_each_base(long_case: tuple[Record, tuple[Gene, ...], Tracks]) -> None:
    record, _, tracks = long_case
    decoded = decode_records([record], [tracks], CODE, bacteria.GRAMMAR, WEIGHTS)[0]
    number, posterior = coverage(decoded)
    expected = np.zeros((2, len(record)), int)
    for gene in genes_of(decoded, CODE):
        expected["+-".index(gene.strand), gene.start : gene.end] += 1
    inner = slice(2, len(record) - 2)  # beyond, cut codons
    np.testing.assert_array_equal(number[:, inner], expected[:, inner])
    assert ((posterior >= 0) & (posterior <= 1)).all()
    assert posterior.mean() > 0.8


def test_posteriors_of_a_grammar_with_memory_are_those_of_the_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    size, rng = 1536, np.random.default_rng(7)
    monkeypatch.setattr("lstmhmm_bio.strands.BATCH_BASES", 2 * size)
    grammar, code = eukaryote.grammar(5, memory=True), GeneticCode.from_number(1, ("ATG",))
    transitions = eukaryote.INITIAL_WEIGHTS | {"start": -2.0, "intron0": -2.0, "intron1": -2.0, "intron2": -2.0}
    annotation, _ = simulate_spliced("r", 3, genes=8)
    record = Record("r", annotation.record.codes[:1400])
    n = len(record)
    classes, sites = (rng.normal(size=(2, n, 4), scale=1500).astype(np.int16) for _ in range(2))
    weights = Weights.of(grammar, transitions)
    (found,) = decode_records([record], [Tracks(classes, sites)], code, grammar, weights)
    strands = (record.codes, reverse_complement(record.codes))
    marks = np.stack([eukaryote_marks.marks(c, CodeMasks.of(code)) for c in strands])

    def emissions(of: Grammar) -> np.ndarray:
        inputs = (jnp.asarray(x) * jnp.float32(1 / UNITS) for x in (classes, sites))
        e = np.asarray(of.emissions(*inputs, jnp.asarray(marks), impossible=NEG))
        return np.pad(e, ((0, 0), (0, size - n), (0, 0)))

    lengths = jnp.full(2, n, jnp.int32)
    assert found.grammar is grammar
    np.testing.assert_array_equal(
        found.paths, viterbi(grammar.graph, weights.path, emissions(grammar), lengths)[1][:, :n]
    )
    smaller = eukaryote.TRAINING
    posteriors = np.asarray(
        forward_backward(smaller.graph, smaller.graph.scores(transitions), emissions(smaller), lengths)[1]
    )[:, :n]
    for group, letters in (("stop", "T"), ("start", "S"), ("donor", "D"), ("acceptor", "A"), ("intron", "DNMA")):
        members = [i for i, s in enumerate(smaller.graph.states) if s[0] in letters]
        np.testing.assert_allclose(found.posterior(group), posteriors[..., members].sum(-1), atol=2e-3)
    genes = genes_of(found, code)
    assert {g.strand for g in genes} == {"+", "-"}
    assert any(g.introns for g in genes)


# ---- the pipeline with a model of no knowledge


@pytest.fixture(scope="module")
def annotator() -> Annotator:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstmhmm_bio.scoring.CALL", 2 * LONG)
        yield Annotator(random_model(3))


def test_calibration_sample_is_a_function_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "PIECE", 500)
    rng = np.random.default_rng(5)
    records = [Record(f"r{i}", random_codes(rng, n)) for i, n in enumerate((4000, 100, 0, 5300))]
    monkeypatch.setattr(annotate, "SAMPLE", 4900)
    sample, histogram = annotate.sample_of(records)
    assert len(sample) == 10
    again, _ = annotate.sample_of(records[::-1])
    assert [r.id for r in sample] == [r.id for r in again]
    whole = {r.id: r.codes for r in records}
    for piece in sample:
        name, n = piece.id.split(":")
        start = min(500 * int(n), max(len(whole[name]) - 500, 0))  # a record's last piece laps over the one before
        np.testing.assert_array_equal(piece.codes, whole[name][start : start + 500])
    monkeypatch.setattr(annotate, "SAMPLE", 99_000)
    every = annotate.sample_of(records)[0]
    assert [len(piece) for piece in every] == [500] * 19 + [100]  # long ones first
    assert [r.id for r in every[:10]] == [r.id for r in sample]
    by_hash = annotate.sample_of(records, 99)[0]
    assert {r.id for r in by_hash} == {r.id for r in every}
    assert [len(piece) for piece in by_hash].index(100) < 19
    assert [r.id for r in annotate.sample_of(records, 7)[0]] == [r.id for r in by_hash[:7]]
    np.testing.assert_array_equal(histogram, np.bincount(np.concatenate(list(whole.values())), minlength=5))


def test_a_sample_of_short_records_holds_as_many_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "SAMPLE", 20_000)
    records = [Record(f"r{i}", np.zeros(700 + i, np.uint8)) for i in range(100)]
    sample, _ = annotate.sample_of(iter(records))
    assert sum(map(len, sample)) >= 20_000 > sum(map(len, sample[:-1]))


def test_calibration_counts_confident_genes(annotator: Annotator, monkeypatch: pytest.MonkeyPatch) -> None:
    record, _ = simulate_genome(6000, seed=4)
    unlearned = annotator.calibrate([record])
    assert not unlearned.counts.coding.any()  # too little to learn from
    monkeypatch.setattr(annotate, "ENOUGH_TO_CALIBRATE", 6000)
    monkeypatch.setattr(annotate, "ROUNDS", {"bacteria": (1,)})
    calibration = annotator.calibrate([record])
    assert calibration.gc == pytest.approx(np.isin(record.codes, (1, 2)).mean())
    assert calibration.genetic_code == 11
    sure = [g for _, d in annotator.decode([record], unlearned) for g in genes_of(d, CODE)]
    sure = [g for g in sure if g.score >= 0.9 and g.has_stop and g.length >= 180]
    assert calibration.counts.coding.sum() == sum(g.length // 3 - 2 for g in sure)
    assert calibration.counts.background.sum() == 2 * (6000 - 5)


def test_the_genetic_code_is_judged_once_with_the_tables_of_the_last_round(
    annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _ = simulate_genome(6000, seed=4)
    monkeypatch.setattr(annotate, "ENOUGH_TO_CALIBRATE", 6000)
    monkeypatch.setattr(annotate, "ROUNDS", {"bacteria": (1,)})
    first = annotator.calibrate([record])
    monkeypatch.setattr(annotate, "ROUNDS", {"bacteria": (1, 1)})
    judged = []
    monkeypatch.setattr(annotate.code_of_genes, "evidence", lambda *given: judged.append(given))
    alone = annotator.calibrate([record])
    assert not judged
    calibration, _ = annotator.calibrate_and_check([record])
    np.testing.assert_array_equal(calibration.counts.coding, alone.counts.coding)
    [(genes, hexamers)] = judged
    assert genes
    np.testing.assert_array_equal(hexamers, first.tables(annotator.model.prior).hexamers)


def test_annotate_drops_short_and_unsure_genes(annotator: Annotator) -> None:
    record, _ = simulate_genome(6000, seed=5, contig=True)
    calibration = Calibration(Counts.zeros(), 0.5, 11)
    everything = genes_of(next(iter(annotator.decode([record], calibration)))[1], CODE)
    scores = sorted(g.score for g in everything)
    strict = Annotator(annotator.model, min_length=150, min_score=scores[len(scores) // 2])
    strict._scorer = annotator._scorer
    kept = next(iter(strict.annotate([record], calibration))).genes
    expected = [g for g in everything if g.score >= strict.min_score]
    expected = [g for g in expected if g.length >= (150 if g.has_start and g.has_stop else 100)]
    assert [(g.start, g.end, g.strand) for g in kept] == [(g.start, g.end, g.strand) for g in expected]
    assert 0 < len(kept) < len(everything)


def test_metagenomes_have_tables_by_record(annotator: Annotator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "GROUP", 1500)  # two groups
    records = [simulate_genome(900, gc=gc, seed=6, contig=True)[0] for gc in (0.3, 0.5, 0.7)]
    together = list(annotator.decode(records, None))
    for record, (_, decoded) in zip(records, together, strict=True):
        gc = float(np.isin(record.codes, (1, 2)).mean())
        _, alone = next(iter(annotator.decode([record], Calibration(Counts.zeros(), gc, 11))))
        assert decoded.record is record
        np.testing.assert_array_equal(alone.paths, decoded.paths)


def test_empty_input(annotator: Annotator) -> None:
    assert annotator.calibrate([]).gc == 0.5
    assert list(annotator.annotate([], None)) == []
    assert next(iter(annotator.annotate([Record("empty", np.zeros(0, np.uint8))], None))).genes == ()
