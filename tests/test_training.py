from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command import run
from spliced import simulate_spliced
from test_eukaryote_grammar import assert_readable
from tiny import GRAMMARS, NETWORK, NETWORKS, random_codes, random_model, random_params

from lstmhmm_bio import calibration
from lstmhmm_bio.annotate import Annotator
from lstmhmm_bio.calibration import Counts, Tables, pack, unpack
from lstmhmm_bio.errors import InputError, ModelError, UsageError
from lstmhmm_bio.features import Annotation, Gene, Record
from lstmhmm_bio.hmm.grammars import bacteria, decoding_grammar, eukaryote
from lstmhmm_bio.io import read_records
from lstmhmm_bio.io.gff3 import Gff3Writer
from lstmhmm_bio.model import load_model
from lstmhmm_bio.nn.hybrid import HybridParams, score_windows
from lstmhmm_bio.nn.network import CodeMasks, NetworkConfig
from lstmhmm_bio.sequence import GeneticCode, decode, reverse_complement
from lstmhmm_bio.simulate import simulate_genome
from lstmhmm_bio.training import dataset
from lstmhmm_bio.training.dataset import (
    BLOCK,
    Batch,
    LabeledGenome,
    LabeledRecord,
    WindowSampler,
)
from lstmhmm_bio.training.labelling import AT_AC, NEAR, Doubtful, load_genome
from lstmhmm_bio.training.loop import CHECKPOINT, Inputs, Progress, TrainingConfig, init_state, train, train_step
from lstmhmm_bio.training.losses import framewise, sequence_discriminative, sitewise
from lstmhmm_bio.training.sheet import SheetRow, read_sheet
from lstmhmm_bio.training.train import _grammar_settings, _load_all, _spans_of_genes, fit
from lstmhmm_bio.training.validation import GeneScores, score_batch

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "train" / "prok"
GRAMMAR = bacteria.GRAMMAR
WINDOW, BATCH = 600, 4
#: what `NETWORK` says of its own
SIZES = {name: size for name, size in asdict(NETWORK).items() if size != getattr(NetworkConfig(), name)}
#: one configuration for all, since each is compiled anew
TRAINING = {"steps": 40, "learning_rate": 1e-2, "framewise_steps": 20, "report_every": 10}


# ---- genomes


def write_genome(folder: Path, name: str, records: list[Record], genes: list[tuple[Gene, ...]]) -> SheetRow:
    fasta, annotation = folder / f"{name}.fa", folder / f"{name}.gff3"
    fasta.write_text("".join(f">{r.id}\n{decode(r.codes)}\n" for r in records))
    with annotation.open("w") as stream:
        writer = Gff3Writer(stream, "test")
        for record, found in zip(records, genes, strict=True):
            writer.write(Annotation(record, found))
    return SheetRow(fasta, annotation, name, name, None)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[SheetRow]:
    """Two simulated genomes, the second of two records and code 4."""
    folder = tmp_path_factory.mktemp("genomes")
    first = simulate_genome(40_000, gc=0.4, seed=1)
    second = [simulate_genome(n, gc=0.6, seed=2, record=i, genetic_code=4) for i, n in enumerate((30_000, 9_000))]
    return [
        write_genome(folder, "low", [first[0]], [first[1]]),
        write_genome(folder, "high", [r for r, _ in second], [g for _, g in second]),
    ]


def load(row: SheetRow, kind: str = "bacteria", doubtful: Doubtful | None = None) -> LabeledGenome:
    return load_genome(row.fasta, row.annotation, name=row.name, clade=row.clade, kind=kind, doubtful=doubtful)


@pytest.fixture(scope="module")
def genomes(rows: list[SheetRow]) -> list[LabeledGenome]:
    return [load(row) for row in rows]


@pytest.fixture(scope="module")
def spliced_row(tmp_path_factory: pytest.TempPathFactory) -> SheetRow:
    """A simulated genome of many small genes with introns."""
    annotations = [simulate_spliced(f"chr{i}", i, genes=60, open_ends=False)[0] for i in range(2)]
    records, genes = zip(*((a.record, a.genes) for a in annotations), strict=True)
    return write_genome(tmp_path_factory.mktemp("spliced"), "spliced", list(records), list(genes))


@pytest.fixture(scope="module")
def spliced_genome(spliced_row: SheetRow) -> LabeledGenome:
    return load(spliced_row, "eukaryote")


@pytest.fixture(scope="module")
def sampler(genomes: list[LabeledGenome]) -> WindowSampler:
    return WindowSampler(genomes, window=WINDOW, batch=BATCH)


@pytest.mark.parametrize("kind", ["bacteria", "eukaryote"])
def test_doubtful_spans_are_open_but_for_genes_and_their_ends(
    kind: str, rows: list[SheetRow], spliced_row: SheetRow
) -> None:
    row, grammar = (rows[0], bacteria) if kind == "bacteria" else (spliced_row, eukaryote)
    whole, part = load(row, kind), load(row, kind, lambda record: [(1000, len(record))])
    assert (whole.genes, whole.introns) == (part.genes, part.introns)
    for a, b in zip(whole.records, part.records, strict=True):
        np.testing.assert_array_equal(a.blocks, b.blocks)
        in_genes = np.flatnonzero((a.allowed[0] != 1) | (a.allowed[1, ::-1] != 1))
        for t in range(len(a.codes)):
            sure = t < 1000 or np.abs(in_genes - t).min() <= NEAR
            for strand, at in enumerate((t, len(a.codes) - 1 - t)):
                assert b.allowed[strand, at] == (a.allowed[strand, at] if sure else grammar.ANY)


def test_incomplete_annotations_leave_open_what_a_model_finds_beside_them(rows: list[SheetRow]) -> None:
    row = replace(rows[0], complete=False)
    whole, alone = load(rows[0]).records[0], _load_all([row], "bacteria", 1)[0].records[0]
    labelled = np.flatnonzero((whole.allowed[0] != 1) | (whole.allowed[1, ::-1] != 1))
    near = np.array([np.abs(labelled - t).min() <= NEAR for t in range(len(whole.codes))])
    assert (~near).mean() > 0.02
    np.testing.assert_array_equal(alone.allowed[0], np.where(near, whole.allowed[0], bacteria.ANY))

    model = random_model(0)
    spans = _spans_of_genes(model, row).by_record
    annotator = Annotator(model)
    records = list(read_records(str(row.fasta)))
    expected = [a.genes for a in annotator.annotate(records, annotator.calibrate(records))]
    assert [len(spans[r.id]) for r in records] == [len(genes) for genes in expected]
    found = _load_all([row], "bacteria", 1, model)[0].records[0]
    doubtful = np.zeros(len(near), bool)
    for (s, e), gene in zip(spans[records[0].id], expected[0], strict=True):
        assert (s, e) == (max(gene.start - 300, 0), gene.end + 300)
        doubtful[s:e] = True
    assert doubtful.any()
    np.testing.assert_array_equal(found.allowed[0], np.where(near | ~doubtful, whole.allowed[0], bacteria.ANY))


def test_labels_are_the_genes(genomes: list[LabeledGenome]) -> None:
    record, genes = simulate_genome(40_000, gc=0.4, seed=1)
    genome = genomes[0]
    assert (genome.name, genome.clade, genome.genetic_code, genome.bases) == ("low", "low", 11, 40_000)
    assert genome.genes == len(genes)
    assert not any(genome.unrepresentable.values())
    assert genome.gc == pytest.approx(np.isin(record.codes, (1, 2)).mean())
    labelled = genome.records[0]
    np.testing.assert_array_equal(labelled.codes, record.codes)
    for row, strand in enumerate("+-"):
        found = bacteria.intervals(bacteria.labelled_path(labelled.allowed[row]))
        places = [(g.start, g.end) for g in genes if g.strand == strand]
        own = sorted(places if row == 0 else [(40_000 - e, 40_000 - s) for s, e in places])
        assert list(zip(found.start.tolist(), found.end.tolist(), strict=True)) == own
        assert found.has_start.all()
        assert found.has_stop.all()


def test_counts_are_those_of_all_genes(genomes: list[LabeledGenome]) -> None:
    _, genes = simulate_genome(40_000, gc=0.4, seed=1)
    counts = genomes[0].counts
    assert counts.coding.sum() == sum(g.length // 3 - 2 for g in genes)
    assert counts.starts == len(genes)
    pieces = [genomes[0].records[0].codes[a : a + BLOCK] for a in range(0, 40_000, BLOCK)]
    np.testing.assert_array_equal(counts.background, sum(map(calibration.background_counts, pieces)))
    flat = pack(counts)
    for name, values in vars(unpack(flat)).items():
        np.testing.assert_array_equal(values, getattr(counts, name))


def test_the_genetic_code_is_the_annotations(genomes: list[LabeledGenome], rows: list[SheetRow]) -> None:
    assert genomes[1].genetic_code == 4
    wrong = load_genome(rows[1].fasta, rows[1].annotation, name="x", clade="x", genetic_code=11)
    assert wrong.unrepresentable["does not translate"] > 5
    assert wrong.genes < genomes[1].genes


def test_doubtful_genes_are_masked(tmp_path: Path) -> None:
    text = (
        "CCC" + "ATGGCCGCCGCCTAA" + "CCC" + "CTGGCCGCCGCCTAA" + "CCC" + "ATGGCCTAAGCCTAA" + "CCC" + "ATGGCCTAGC" + "CCC"
    )
    (tmp_path / "g.fa").write_text(f">s\n{text}\n")
    places = [(3, 18), (21, 36), (39, 54), (57, 67)]
    lines = [f"s\tx\tCDS\t{a + 1}\t{b}\t.\t+\t0\tID=c{a};locus_tag=g{a}" for a, b in places]
    (tmp_path / "g.gff").write_text("##gff-version 3\n" + "\n".join(lines) + "\n")
    genome = load_genome(tmp_path / "g.fa", tmp_path / "g.gff", name="g", clade="g")
    assert genome.genes == 1
    reasons = {k: n for k, n in genome.unrepresentable.items() if n}
    assert sum(reasons.values()) == 3
    assert {"unusual start codon", "does not translate"} <= set(reasons)
    allowed = genome.records[0].allowed
    for a, b in places[1:]:
        assert (allowed[0, a:b] == bacteria.ANY).all()
    assert (allowed[0, :3] == 1).all()
    assert (allowed[1] == 1).all()


def test_genomes_that_teach_nothing(tmp_path: Path, rows: list[SheetRow]) -> None:
    (tmp_path / "g.fa").write_text(">other\nACGTACGTACGT\n")
    with pytest.raises(InputError, match=r"low\.gff3: none of its sequence names is in .*g\.fa"):
        load_genome(tmp_path / "g.fa", rows[0].annotation, name="g", clade="g")
    (tmp_path / "g.gff").write_text("##gff-version 3\nother\tx\tCDS\t1\t9\t.\t+\t0\tID=c\n")
    with pytest.raises(InputError, match=r"g\.gff: no complete, unflagged CDS"):
        load_genome(tmp_path / "g.fa", tmp_path / "g.gff", name="g", clade="g")


# ---- windows


def test_draws_depend_on_the_seed_alone(sampler: WindowSampler) -> None:
    first, second, other = (sampler.draw(np.random.default_rng([1, n])) for n in (5, 5, 6))
    assert first[1] == second[1]
    for a, b in zip(jax.tree.leaves(vars(first[0])), jax.tree.leaves(vars(second[0])), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0].codes, other[0].codes)


def test_windows_carry_the_labels_of_their_place(sampler: WindowSampler, genomes: list[LabeledGenome]) -> None:
    seen = set()
    for n in range(12):
        batch, number = sampler.draw(np.random.default_rng(n))
        genome = next(g for g in genomes if g.genetic_code == number)
        assert batch.codes.shape == (BATCH, WINDOW)
        assert batch.allowed.shape == (2 * BATCH, WINDOW)
        for row, size in enumerate(batch.lengths):
            seen.add(size == WINDOW)
            assert 120 <= size <= WINDOW
            assert (batch.codes[row, size:] == 4).all()
            piece = batch.codes[row, :size].tobytes()
            record = next(r for r in genome.records if piece in r.codes.tobytes())
            start, length = record.codes.tobytes().index(piece), len(record.codes)
            np.testing.assert_array_equal(batch.allowed[row, :size], record.allowed[0, start : start + size])
            mirrored = record.allowed[1, length - start - size : length - start]
            np.testing.assert_array_equal(batch.allowed[BATCH + row, WINDOW - size :], mirrored)
            assert not batch.allowed[row, size:].any()
            assert not batch.allowed[BATCH + row, : WINDOW - size].any()
    assert seen == {True, False}


def test_short_records_are_cut_anywhere() -> None:
    """Where records hold one gene each, the ends of windows must not tell where genes begin."""
    rng = np.random.default_rng(1)
    records = [random_codes(rng, 300), random_codes(rng, 200)]
    sampler = WindowSampler([marked_genome(records)], window=WINDOW, batch=BATCH)
    batches = [sampler.draw(np.random.default_rng(n))[0] for n in range(10)]
    pieces = [row[:size].tobytes() for b in batches for row, size in zip(b.codes, b.lengths, strict=True)]
    starts = [next(r.tobytes().index(p) for r in records if p in r.tobytes()) for p in pieces]
    assert {len(p) >= 200 for p in pieces} == {True, False}
    assert all(100 <= len(p) <= 300 for p in pieces)
    assert np.mean(np.array(starts) == 0) < 0.2
    assert max(starts) > 100


def marked_genome(sequences: list[np.ndarray], clade: str = "c") -> LabeledGenome:
    """A genome whose counts tell which blocks they come from: in the k-th block, hexamer k alone is counted."""
    records, k = [], 0
    for codes in sequences:
        n = -(-len(codes) // BLOCK)
        blocks = np.zeros((n + 1, len(pack(Counts.zeros()))), np.float32)
        for b in range(n):
            blocks[b + 1 :, k] = 2e3
            k += 1
        records.append(LabeledRecord("r", codes, np.ones((2, len(codes)), np.uint16), blocks))
    return LabeledGenome("g", clade, tuple(records), 11, 0.5, 1)


@pytest.fixture
def used_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[set[int]]]:
    """Blocks counted in each of the tables made."""
    calls: list[set[int]] = []
    original = calibration.tables

    def spy(counts: Counts, prior: Counts, gc: float) -> Tables:
        calls.append(set(np.flatnonzero(counts.coding).tolist()))
        return original(counts, prior, gc)

    monkeypatch.setattr(calibration, "tables", spy)
    monkeypatch.setattr(dataset, "_add_noise", lambda counts, rng: counts)
    monkeypatch.setattr(dataset, "PRIOR_ONLY", 0.0)
    return calls


@pytest.mark.parametrize("length", [9_000, 17_000, 24_576, 30_000, 60_000, 300_000])
def test_tables_never_count_a_windows_own_genes(length: int, used_blocks: list[set[int]]) -> None:
    """A gene counts in the block of its middle: no gene up to 10 kb that reaches into a window may have its there."""
    window = 1536
    codes = random_codes(np.random.default_rng(length), length)
    sampler = WindowSampler([marked_genome([codes])], window=window, batch=BATCH)
    text = codes.tobytes()
    for n in range(150):
        batch, _ = sampler.draw(np.random.default_rng(n))
        for row, size in enumerate(batch.lengths):
            start = text.index(batch.codes[row, :size].tobytes())
            nearest = max(0, start - 5000) // BLOCK, min(length - 1, start + size + 5000) // BLOCK
            assert not used_blocks[-1] & set(range(nearest[0], nearest[1] + 1))
    assert any(used_blocks) or length < 20_000


def test_short_records_take_their_tables_from_others(used_blocks: list[set[int]]) -> None:
    rng = np.random.default_rng(2)
    sequences = [random_codes(rng, 4000) for _ in range(3)]
    sampler = WindowSampler([marked_genome(sequences)], window=WINDOW, batch=BATCH)
    for n in range(30):
        batch, _ = sampler.draw(np.random.default_rng(n))
        own = next(i for i, s in enumerate(sequences) if batch.codes[0, : batch.lengths[0]].tobytes() in s.tobytes())
        assert own not in used_blocks[-1]
    assert set().union(*used_blocks) == {0, 1, 2}


def test_some_windows_have_the_priors_tables(sampler: WindowSampler) -> None:
    counted = [float(sampler.draw(np.random.default_rng(n))[0].tables.summary[0, 1]) for n in range(60)]
    assert 2 <= counted.count(0.0) <= 40
    assert max(counted) > 0.5


def test_priors_leave_the_clade_out(used_blocks: list[set[int]]) -> None:
    rng = np.random.default_rng(3)
    sequences = [random_codes(rng, 9000) for _ in range(3)]
    genomes = [marked_genome([s], clade) for s, clade in zip(sequences, "aab", strict=True)]
    for shifted, genome in enumerate(genomes):
        for record in genome.records:
            record.blocks[:] = np.roll(record.blocks, 10 * shifted, axis=1)
    sampler = WindowSampler(genomes, window=WINDOW, batch=BATCH)
    assert sampler._priors[0].coding[20] > 0.01  # b's hexamers
    assert sampler._priors[0].coding[10] < 1e-3  # not those of its own clade
    assert sampler._priors[2].coding[[0, 10]].min() > 0.01
    np.testing.assert_allclose(sampler.weights, np.array([0.5, 0.5, 1]) / 2)


# ---- objective


def loss_and_gradient(batch: Batch, number: int) -> tuple[np.ndarray, HybridParams]:
    code = CodeMasks.of(GeneticCode.from_number(number))
    return _loss_and_gradient(random_params(1), batch.codes, batch.allowed, batch.lengths, batch.tables, code)


@jax.jit
def _loss_and_gradient(
    params: HybridParams, codes: jax.Array, allowed: jax.Array, lengths: jax.Array, tables: Tables, code: CodeMasks
) -> tuple[jax.Array, HybridParams]:
    def loss(params: HybridParams) -> tuple[jax.Array, jax.Array]:
        tracks = score_windows(params, NETWORK, GRAMMAR, codes, tables, code)
        losses = [
            framewise(GRAMMAR, tracks, allowed),
            sitewise(GRAMMAR, tracks, allowed),
            sequence_discriminative(GRAMMAR, params, tracks, allowed, lengths),
        ]
        return sum(losses), jnp.stack(losses)

    gradient, losses = jax.grad(loss, has_aux=True)(params)
    return losses, gradient


def assert_finite(losses: np.ndarray, gradient: HybridParams) -> None:
    assert np.isfinite(losses).all()
    assert (np.asarray(losses) > 0).all()
    leaves = jax.tree.leaves(gradient)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert sum(np.any(leaf) for leaf in leaves) > 0.8 * len(leaves)


@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients_are_finite(seed: int, sampler: WindowSampler) -> None:
    batch, number = sampler.draw(np.random.default_rng(seed))
    assert_finite(*loss_and_gradient(batch, number))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the annotated genomes are not beside the checkout")
@pytest.mark.parametrize("name", sorted(p.name for p in DATA.iterdir()) if DATA.is_dir() else [])
def test_losses_and_gradients_are_finite_on_real_genomes(name: str) -> None:
    genome = load_genome(DATA / name / "genome.fa.gz", DATA / name / "annotation.gff3.gz", name=name, clade=name)
    sampler = WindowSampler([genome], window=1536, batch=BATCH)
    assert_finite(*loss_and_gradient(*sampler.draw(np.random.default_rng(0))))


# ---- validation


@pytest.mark.parametrize("kind", GRAMMARS)
def test_gene_scores_of_perfect_and_other_predictions(
    kind: str, genomes: list[LabeledGenome], spliced_genome: LabeledGenome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With emissions made from the labels every gene is found; from nothing, none."""
    grammar = GRAMMARS[kind]
    sampler = WindowSampler(genomes if kind == "bacteria" else [spliced_genome], window=3000, batch=BATCH)
    draws = (sampler.draw(np.random.default_rng(n)) for n in range(99))
    # the emissions of padding lead into a gene that a short window cuts: such windows are no test
    batch, number = next(d for d in draws if _complete_genes(d[0], kind) > 5 and d[0].lengths.min() == 3000)
    states = np.arange(len(grammar.graph.states))
    bits = (batch.allowed[..., None] >> states) & 1
    scores = grammar.graph.scores(grammar.initial_weights)

    def scored_with(emissions: np.ndarray) -> GeneScores:
        monkeypatch.setattr("lstmhmm_bio.training.validation._emissions", lambda *_: (jnp.asarray(emissions), scores))
        return score_batch(random_params(1), NETWORK, grammar, batch, CodeMasks.of(GeneticCode.from_number(number)))

    genes = _complete_genes(batch, kind)
    labelled = np.where(bits == 1, 0, -50).astype(np.float32)
    labelled[batch.allowed == 0] = np.where(states == 0, 0, -50)
    assert scored_with(labelled) == GeneScores(genes, genes, genes, genes)
    silent = np.broadcast_to(np.where(states == 0, 0, -50).astype(np.float32), labelled.shape)
    assert scored_with(silent) == GeneScores(genes, 0, 0, 0)


def _complete_genes(batch: Batch, kind: str) -> int:
    if kind == "eukaryote":
        return sum(len(eukaryote.TRAINING.whole(row)) for row in batch.allowed)
    found = [bacteria.intervals(bacteria.labelled_path(row)) for row in batch.allowed]
    return int(sum((f.has_start & f.has_stop).sum() for f in found))


def test_gene_scores() -> None:
    total = GeneScores(10, 8, 6, 3) + GeneScores(0, 2, 0, 0)
    assert total == GeneScores(10, 10, 6, 3)
    assert (total.stop_f1, total.exact_f1) == (0.6, 0.3)
    assert GeneScores(0, 0, 0, 0).stop_f1 == 0


# ---- the loop


def same(a: HybridParams, b: HybridParams) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture(scope="module")
def trained(
    sampler: WindowSampler, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HybridParams, list[Progress], Path]:
    reports: list[Progress] = []
    folder = tmp_path_factory.mktemp("run")
    params = train(sampler, NETWORK, GRAMMAR, TrainingConfig(**TRAINING), folder, report=reports.append)
    return jax.tree.map(np.asarray, params), reports, folder


def test_training_lowers_the_losses(trained: tuple[HybridParams, list[Progress], Path]) -> None:
    params, reports, _ = trained
    assert [r.step for r in reports] == [10, 20, 30, 40]
    assert reports[-1].framewise < 0.9 * reports[0].framewise
    assert [r.crf > 0 for r in reports] == [False, False, True, True]
    assert not any(r.sitewise for r in reports)  # its weight is 0
    assert reports[-1].crf < reports[2].crf
    assert float(params.transitions["stay"]) == 0
    assert 0.05 < float(params.frequency[0]) < 0.33  # measured on the windows


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    trained: tuple[HybridParams, list[Progress], Path], sampler: WindowSampler, tmp_path: Path
) -> None:
    config = TrainingConfig(**TRAINING)
    stops: list[Progress] = []
    train(sampler, NETWORK, GRAMMAR, config, tmp_path, report=stops.append, stop_after=0)
    assert [r.step for r in stops] == [1]
    resumed = train(sampler, NETWORK, GRAMMAR, config, tmp_path, workers=2)
    assert same(resumed, trained[0])
    assert (tmp_path / CHECKPOINT).read_bytes() == (trained[2] / CHECKPOINT).read_bytes()


def test_a_frozen_network_keeps_its_weights(
    trained: tuple[HybridParams, list[Progress], Path], sampler: WindowSampler, tmp_path: Path
) -> None:
    before = trained[0]
    config = TrainingConfig(**(TRAINING | {"steps": 3, "framewise_steps": 0, "freeze": True}))
    after = train(sampler, NETWORK, GRAMMAR, config, tmp_path, start_from=before)
    for part in ("stem", "lstm", "head"):
        old, new = (jax.tree.leaves(getattr(p.network, part)) for p in (before, after))
        assert all(np.allclose(a, b, rtol=1e-6, atol=1e-7) for a, b in zip(old, new, strict=True))  # averaging rounds
    assert not np.allclose(before.network.sites["start"][0].w, after.network.sites["start"][0].w, rtol=1e-4)
    assert float(after.transitions["start"]) != float(before.transitions["start"])


def test_a_checkpoint_of_other_settings_is_refused(
    trained: tuple[HybridParams, list[Progress], Path], sampler: WindowSampler, tmp_path: Path
) -> None:
    (tmp_path / CHECKPOINT).write_bytes((trained[2] / CHECKPOINT).read_bytes())
    with pytest.raises(InputError, match=r"not a checkpoint of this configuration \(seed .*\); choose another folder"):
        train(sampler, NETWORK, GRAMMAR, TrainingConfig(**(TRAINING | {"seed": 99})), tmp_path)


def test_a_finished_run_is_not_run_again(
    trained: tuple[HybridParams, list[Progress], Path], sampler: WindowSampler
) -> None:
    reports: list[Progress] = []
    again = train(sampler, NETWORK, GRAMMAR, TrainingConfig(**TRAINING), trained[2], report=reports.append)
    assert same(again, trained[0])
    assert not reports


def test_a_checkpoint_of_another_network_is_refused(
    trained: tuple[HybridParams, list[Progress], Path], sampler: WindowSampler
) -> None:
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: not a checkpoint of this configuration .*shape"):
        train(sampler, replace(NETWORK, hidden=5), GRAMMAR, TrainingConfig(**TRAINING), trained[2])


def test_a_broken_checkpoint_is_refused(sampler: WindowSampler, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"junk" * 5)
    with pytest.raises(InputError, match="choose another folder"):
        train(sampler, NETWORK, GRAMMAR, TrainingConfig(**TRAINING), tmp_path)


# ---- sheets


def test_sheet(tmp_path: Path) -> None:
    for name in ("a.x.fa", "a.gff", "b.fa", "b.gff"):
        (tmp_path / name).write_text("")
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(
        "name\tclade\tfasta\tannotation\tgenetic_code\tcomplete\n"
        "\t\ta.x.fa\ta.gff\t\t\nbee\tinsects\tb.fa\tb.gff\t4\tno\n"
    )
    assert read_sheet(sheet) == [
        SheetRow(tmp_path / "a.x.fa", tmp_path / "a.gff", "a", "a", None),
        SheetRow(tmp_path / "b.fa", tmp_path / "b.gff", "bee", "insects", 4, complete=False),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fasta,annotation\nb.fa,b.gff\n", "no column annotation and fasta; the sheet is tab-separated"),
        ("fasta\nb.fa\n", "no column annotation"),
        ("fasta\tannotation\n", "lists no genome"),
        ("", "no column annotation and fasta"),
        ("fasta\tannotation\nb.fa\tmissing.gff\n", r"line 2: .*missing\.gff does not exist"),
        ("fasta\tannotation\nb.fa\tb.gff\n\nb.fa\n", r"line \d: .* does not exist"),
        ("fasta\tannotation\tgenetic_code\nb.fa\tb.gff\tfour\n", "line 2: genetic code 'four' is no number"),
        ("fasta\tannotation\tcomplete\nb.fa\tb.gff\tmaybe\n", "line 2: complete is 'maybe'; it must be yes or no"),
    ],
)
def test_sheets_that_cannot_be_read(text: str, message: str, tmp_path: Path) -> None:
    for name in ("b.fa", "b.gff"):
        (tmp_path / name).write_text("")
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_sheet(sheet)
    assert str(caught.value).startswith(str(sheet))


# ---- everything


@pytest.mark.slow
def test_fit_makes_a_model_that_annotates(
    rows: list[SheetRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstmhmm_bio.scoring.CALL", 2 * 24576)
    monkeypatch.setattr("lstmhmm_bio.annotate.ENOUGH_TO_CALIBRATE", 0)
    lines: list[str] = []
    sizes = {
        "kind": "bacteria",
        "network": SIZES,
        "training": TRAINING,
        "batch": BATCH,
        "window": WINDOW,
        "say": lines.append,
    }
    card = fit(rows, rows[:1], tmp_path, name="sim", **sizes)
    assert card == tmp_path / "sim.toml"
    model = load_model(str(card))
    assert model.config == NETWORK
    assert model.card["genetic_codes"] == [4, 11]
    assert [g["name"] for g in model.card["training"]["genomes"]] == ["low", "high"]
    log = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [10, 20, 30, 40]
    assert all(0 <= entry["exact_f1"] <= entry["stop_f1"] <= 100 for entry in log)
    assert lines[0].startswith("low: 40,000 bases")
    held_out = model.card["held_out"]
    assert list(held_out) == ["low"]
    assert 0 <= held_out["low"]["exact_f1"] <= held_out["low"]["stop_f1"] <= 100
    assert lines[-1].startswith(f"low, held out:  stop_f1 {held_out['low']['stop_f1']}")
    record, _ = simulate_genome(6000, gc=0.5, seed=9, contig=True)
    annotator = Annotator(model)
    annotation = next(iter(annotator.annotate([record], annotator.calibrate([record]))))
    for gene in annotation.genes:
        own = record.codes[gene.start : gene.end]
        protein = GeneticCode.from_number(11).translate(own if gene.strand == "+" else reverse_complement(own))
        assert "*" not in protein[:-1]
    # fine-tuning begins with the model's weights, and its sizes
    tuned = fit(rows[:1], [], tmp_path / "tuned", name="tuned", start_from=str(card), max_minutes=1e-9, **sizes)
    again = load_model(str(tuned))
    assert again.config == NETWORK
    assert again.card["training"]["from"] == "sim 1"
    assert [stage["steps"] for stage in again.card["earlier_training"]] == [model.card["training"]["steps"]]
    np.testing.assert_allclose(again.params.frequency, model.params.frequency, rtol=1e-6)  # not measured anew
    change = np.abs(again.params.network.stem.w - model.params.network.stem.w)
    assert change.max() < 0.1


@pytest.mark.slow
def test_fit_makes_a_model_of_genes_with_introns(
    spliced_row: SheetRow, spliced_genome: LabeledGenome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstmhmm_bio.scoring.CALL", 6144)
    monkeypatch.setattr("lstmhmm_bio.strands.BATCH_BASES", 2 * 6144)
    reports: list[str] = []
    card = fit(
        [spliced_row],
        [],
        tmp_path,
        name="introns",
        kind="eukaryote",
        network=SIZES,
        training={"steps": 3, "learning_rate": 1e-2, "framewise_steps": 0, "site_weight": 0.2, "report_every": 1},
        batch=BATCH,
        window=WINDOW,
        say=reports.append,
    )
    log = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [1, 2, 3]
    assert all(entry[loss] > 0 for entry in log for loss in ("framewise", "sitewise", "crf"))
    model = load_model(str(card))
    assert model.config == NETWORKS["eukaryote"]
    assert model.card["kind"] == model.grammar.kind == "eukaryote"
    assert model.card["grammar"] == {"min_intron": min(spliced_genome.introns)}
    assert model.grammar is decoding_grammar("eukaryote", model.card["grammar"])
    # it has learned next to nothing: let it find what it can
    eager = model.params._replace(class_bias=np.float32([0.5, 0.5]))
    weights = {**model.params.transitions, "start": np.float32(0), "intron0": np.float32(0), "intron1": np.float32(0)}
    annotator = Annotator(replace(model, params=eager._replace(transitions=weights)), genetic_code=1, min_length=0)
    record = simulate_spliced("new", 9, genes=12)[0].record
    (annotation,) = annotator.annotate([record], None)
    strands = {strand: decode(c) for strand, c in (("+", record.codes), ("-", reverse_complement(record.codes)))}
    for gene in annotation.genes:
        length = len(record)
        own = gene.segments
        if gene.strand == "-":
            own = tuple((length - e, length - s) for s, e in reversed(own))
        assert_readable(strands[gene.strand], (own, gene.has_start, gene.has_stop), min(spliced_genome.introns))
        assert len(gene.exon_scores) == len(own)
        assert 0 <= gene.score <= 1
    assert {g.strand for g in annotation.genes} == {"+", "-"}
    assert any(g.introns for g in annotation.genes)


def test_the_shortest_intron_of_a_model(spliced_genome: LabeledGenome) -> None:
    """One in a thousand may be shorter, and a grammar has its limits."""

    def settings(*introns: int) -> dict[str, int]:
        return _grammar_settings("eukaryote", [replace(spliced_genome, introns=tuple(sorted(introns)))])

    assert settings(*[20] * 3, *[30] * 4000) == {"min_intron": 30}
    assert settings(*[20] * 3, *[30] * 2000) == {"min_intron": 20}
    assert settings(*[20] * 3, *[30] * 900) == {"min_intron": 20}
    assert settings(20, *[30] * 1500) == {"min_intron": 30}
    assert settings(90, 100) == {"min_intron": eukaryote.LONGEST_MINIMUM}
    assert settings() == {"min_intron": eukaryote.SHORTEST_INTRON}
    with_at_ac = replace(spliced_genome, introns=(30,), unrepresentable={AT_AC: 1})
    assert _grammar_settings("eukaryote", [with_at_ac]) == {"min_intron": 30, "at_ac_introns": True}
    assert _grammar_settings("bacteria", [spliced_genome]) == {}
    for found in (settings(90), settings(), settings(90) | {"at_ac_introns": True}):
        assert decoding_grammar("eukaryote", found).kind == "eukaryote"


def test_the_grammar_is_chosen_on_the_command_line(
    spliced_row: SheetRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict] = []

    def spy(*rows: object, **settings: object) -> Path:
        calls.append(settings)
        return tmp_path

    monkeypatch.setattr("lstmhmm_bio.training.train.fit", spy)
    monkeypatch.setattr("lstmhmm_bio.runtime.configure", lambda *_: None)
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(f"fasta\tannotation\n{spliced_row.fasta}\t{spliced_row.annotation}\n")
    for more in ((), ("--grammar", "eukaryote")):
        result = run("train", sheet, "-o", tmp_path / "out", *more)
        assert result.code == 0, result.err
    assert [c["kind"] for c in calls] == ["bacteria", "eukaryote"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"stride": 4}}, "stride 4 is no multiple of 3"),
        ({"window": 601}, "window 601 must be a multiple of the stride 6"),
        ({"batch": 6}, "and batch 6 of 4"),
    ],
)
def test_sizes_that_do_not_fit(changes: dict, message: str, tmp_path: Path) -> None:
    sizes = {"kind": "bacteria", "network": {}, "training": {}, "batch": BATCH, "window": WINDOW} | changes
    with pytest.raises(UsageError, match=message):
        fit([], [], tmp_path, name="x", **sizes)


def test_fine_tuning_needs_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown model 'weasel'"):
        fit(
            [],
            [],
            tmp_path,
            name="x",
            kind="bacteria",
            network={},
            training={},
            batch=4,
            window=600,
            start_from="weasel",
        )


def test_two_devices_share_a_step(sampler: WindowSampler) -> None:
    batch, number = sampler.draw(np.random.default_rng(0))
    half = BATCH // 2
    allowed = batch.allowed.reshape(2, BATCH, WINDOW)
    # both halves are the same windows, so that the mean of their mean losses is that of all
    twice = Inputs(
        np.concatenate([batch.codes[:half]] * 2),
        np.concatenate([allowed[:, :half]] * 2, axis=1),
        np.concatenate([batch.lengths[:half]] * 2),
        jax.tree.map(lambda x: np.concatenate([x[:half]] * 2), batch.tables),
    )
    config = TrainingConfig(**TRAINING)
    code = CodeMasks.of(GeneticCode.from_number(number, GRAMMAR.start_codons))
    states, losses = zip(
        *(
            train_step(
                init_state(NETWORK, GRAMMAR, config, None),
                twice,
                code,
                network=NETWORK,
                grammar=GRAMMAR,
                config=config,
                with_crf=True,
                devices=devices,
            )
            for devices in (1, 2)
        ),
        strict=True,
    )
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    one, two = (jax.tree.leaves(s.optimiser) for s in states)
    assert max(np.abs(x).max() for x in one) > 1e-3
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
