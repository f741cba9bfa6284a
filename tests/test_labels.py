"""A user's own labels: files, grammar, and models trained on simulated sequence from end to end."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from command import REPOSITORY, fasta, run, small_batches
from tiny import NETWORK, random_counts, random_model, random_params

from lstmhmm_bio.calibration import Calibration
from lstmhmm_bio.errors import InputError
from lstmhmm_bio.features import Record
from lstmhmm_bio.hmm.grammars import decoding_grammar
from lstmhmm_bio.hmm.grammars.labels import Label, Labels, forbidden_steps, lattice, training_grammar
from lstmhmm_bio.hmm.viterbi import viterbi
from lstmhmm_bio.io.labels import LabelRegion, read_label_grammar, read_labels
from lstmhmm_bio.labels import Labeller, _averaged
from lstmhmm_bio.model import Model, load_model, save_model
from lstmhmm_bio.scoring import Tracks
from lstmhmm_bio.sequence import reverse_complement

THREE = Labels((Label("a", 5), Label("b", next=("a",)), Label("bg")), background="bg")


# ---- files


def test_bed_and_gff3_say_the_same(tmp_path):
    bed, gff = tmp_path / "x.bed", tmp_path / "x.gff3"
    bed.write_text(
        "track name=x\n# c\nchr\t4\t10\tCDS\t0\t+\nchr\t20\t30\ttRNA\t0\t-\textra\nb\t0\t5\tCDS\nb\t8\t9\tmask\n"
    )
    gff.write_text(
        "##gff-version 3\n"
        "chr\t.\tCDS\t5\t10\t.\t+\t0\tID=x\nchr\t.\ttRNA\t21\t30\t.\t-\t.\t.\n"
        "b\t.\tCDS\t1\t5\t.\t?\t0\tpseudo=false\nb\t.\tCDS\t9\t9\t.\t.\t0\tID=y;pseudo=true\n##FASTA\n>b\nACGT\n"
    )
    expected = {
        "chr": [LabelRegion(4, 10, "CDS", "+"), LabelRegion(20, 30, "tRNA", "-")],
        "b": [LabelRegion(0, 5, "CDS", "."), LabelRegion(8, 9, "mask", ".")],
    }
    assert read_labels(str(bed)) == expected
    assert read_labels(str(gff)) == expected
    assert read_labels(str(bed), ["tRNA"]) == {"chr": expected["chr"][1:], "b": expected["b"][1:]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr\t4\t10", "line 1 is neither BED"),
        ("chr\t10\t4\tx", "an end after its start"),
        ("chr 4 10 x", "tabs"),
        ("# nothing", "holds no regions"),
    ],
)
def test_lines_that_are_no_regions(tmp_path, line, message):
    path = tmp_path / "x.bed"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        read_labels(str(path))


def test_grammar_from_toml(tmp_path):
    path = tmp_path / "g.toml"
    path.write_text(
        'background = "bg"\n[states.a]\nmin_length = 5\n[states.b]\nnext = ["a"]\ncolour = "1,2,3"\n[states.bg]\n'
    )
    labels = read_label_grammar(str(path))
    assert labels.names == ("a", "b", "bg")
    assert set(labels.changes) == {("a", "b"), ("a", "bg"), ("b", "a"), ("bg", "a"), ("bg", "b")}
    assert Labels.from_table(labels.to_table()) == labels
    for text, message in (
        ("[states.a]\n", "there must be 2"),
        ("[states.a]\nlength = 3\n[states.b]\n", "unknown key 'length'"),
        ('[states.a]\nmin_length = "3"\n[states.b]\n', "must be a int"),
        ("[states.a]\nmin_length = 256\n[states.b]\n", "together at most 256"),
        ('background = "c"\n[states.a]\n[states.b]\n', "no label 'c'"),
        ("[states.mask]\n[states.b]\n", "is no label"),
        ("= 3", "not a grammar"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_label_grammar(str(path))


# ---- grammar


def test_lattice():
    regions = [
        (2, 5, "a", "+"),
        (4, 6, "b", "+"),
        (7, 8, "b", "-"),
        (9, 10, "a", "."),
        (0, 1, "mask", "-"),
        (0, 1, "?", "+"),
    ]
    allowed = lattice(10, regions, THREE)
    assert allowed[0].tolist() == [4, 4, 1, 1, 3, 2, 4, 4, 4, 1]
    assert allowed[1, ::-1].tolist() == [7, 4, 4, 4, 4, 4, 4, 2, 4, 1]
    unlabelled = lattice(10, regions, Labels(THREE.labels))
    assert unlabelled[0].tolist() == [7, 7, 1, 1, 3, 2, 7, 7, 7, 1]
    both = lattice(10, regions, Labels(THREE.labels, symmetric=True))
    assert (both[0] == both[1, ::-1]).all()


def test_steps_that_the_grammar_lacks():
    allowed = lattice(10, [(2, 5, "b", "+")], THREE)
    assert forbidden_steps(allowed, THREE) == [(5, "b", "bg")]
    assert forbidden_steps(lattice(10, [(2, 5, "b", "+"), (5, 9, "a", "+")], THREE), THREE) == []


def test_regions_are_as_long_as_they_must_be():
    """Decoded with scores at random, and the same as without a minimum where that changes nothing."""
    rng = np.random.default_rng(1)
    grammar = decoding_grammar("labels", THREE.to_table())
    assert len(grammar.graph.states) == 9
    classes = rng.normal(0, 3, (1, 400, 3)).astype(np.float32)
    weights = dict.fromkeys(grammar.initial_weights, 0.0)

    def decode(g) -> np.ndarray:
        emissions = g.emissions(classes, None, None, impossible=-1e4)
        _, path = viterbi(g.graph, g.graph.scores(weights), emissions, np.array([400], np.int32))
        return np.stack(list(g.groups.values())).argmax(0)[path[0]]

    path = decode(grammar)
    edges = np.flatnonzero(np.diff(path)) + 1
    steps = {(path[i - 1], path[i]) for i in edges}
    assert (1, 2) not in steps
    inner = [b - a for a, b in pairwise(edges) if path[a] == 0]
    assert len(inner) > 5
    assert min(inner) == 5
    assert min(b - a for a, b in pairwise(np.flatnonzero(np.diff(decode(training_grammar(THREE)))))) == 1


# ---- training and segmentation


def simulated(seed: int, length: int = 30_000) -> tuple[Record, list[str], np.ndarray]:
    """A record of purine-rich regions on either strand and GC-rich regions on both, its BED, and the label of every
    base of both strands [2, length] in forward coordinates: 0 background, 1 GC-rich, 2 purine-rich.
    """
    rng = np.random.default_rng(seed)
    codes = rng.choice(4, length, p=[0.3, 0.2, 0.2, 0.3]).astype(np.uint8)
    truth, lines, at = np.zeros((2, length), int), [], 0
    while (at := at + int(rng.integers(200, 700))) < length - 700:
        end = at + int(rng.integers(150, 600))
        kind = rng.choice(["gc", "purine"])
        part = rng.choice(4, end - at, p=[0.12, 0.38, 0.38, 0.12] if kind == "gc" else [0.42, 0.08, 0.42, 0.08])
        strand = "." if kind == "gc" else str(rng.choice(["+", "-"]))
        codes[at:end] = part if strand != "-" else reverse_complement(part.astype(np.uint8))
        truth[slice(None) if strand == "." else "+-".index(strand), at:end] = 1 if kind == "gc" else 2
        lines.append(f"r{seed}\t{at}\t{end}\t{kind}\t0\t{strand}")
        at = end
    return Record(f"r{seed}", codes), lines, truth


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    arguments = []
    for seed in (1, 2):
        record, lines, _ = simulated(seed)
        (folder / f"{seed}.fa").write_text(fasta(record))
        (folder / f"{seed}.bed").write_text("\n".join(lines) + "\n")
        arguments += ["--fasta", folder / f"{seed}.fa", "--labels", folder / f"{seed}.bed"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstmhmm_bio.training.borders.TRIED", 4000)
        result = _train(folder, arguments)
    assert result.code == 0, result.err
    return folder / "model", result.err


def _train(folder, arguments):
    return run(
        *("train", *arguments, "--background", "none", "-o", folder / "model", "--name", "mine"),
        *("--steps", 120, "--hidden", 12, "--window", 1200, "--batch", 8, "--learning-rate", 0.01, "--threads", 2),
    )


def test_a_model_of_labels_from_end_to_end(trained, tmp_path):
    model, said = trained
    assert "% of both strands" in said
    card = tomllib.loads((model / "mine.toml").read_text())
    assert card["kind"] == "labels"
    assert card["grammar"]["background"] == "none"
    assert list(card["grammar"]["states"]) == ["gc", "purine", "none"]
    record, _, truth = simulated(9)
    genome = tmp_path / "g.fa"
    genome.write_text(fasta(record, Record("empty", record.codes[:0]), Record("short", record.codes[:50])))
    with small_batches():
        result = run("segment", genome, "--model", model, "--no-cache", "-q")
    assert result.code == 0, result.err
    rows = [line.split("\t") for line in result.out.splitlines()[1:]]
    found = np.full((2, len(record)), -1)
    for name, start, end, label, score, strand, *_ in rows:
        if name == record.id:
            part = found["+-".index(strand), int(start) : int(end)]
            assert (part == -1).all()
            part[:] = ["none", "gc", "purine"].index(label)
            assert 0 <= int(score) <= 1000
    assert (found >= 0).all()
    assert (found == truth).mean() > 0.93
    assert {r[0] for r in rows} == {record.id, "short"}
    assert len({r[8] for r in rows}) == 3


def test_the_example(trained, tmp_path):
    genome = tmp_path / "g.fa"
    genome.write_text(fasta(simulated(9, 3000)[0]))
    command = [sys.executable, REPOSITORY / "examples" / "labels_api.py", trained[0], genome]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "LSTMHMM_CACHE": str(tmp_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    for strand in "+-":
        mine = [row for row in rows if row[4] == strand]
        assert [row[1] for row in mine] == ["0", *(row[2] for row in mine[:-1])]
    assert {row[3] for row in rows} <= {"none", "gc", "purine"}


def test_a_model_of_labels_is_no_gene_model(trained, tmp_path):
    genome = tmp_path / "g.fa"
    genome.write_text(fasta(simulated(9, 1000)[0]))
    with small_batches():
        result = run("annotate", genome, "--model", trained[0], "--meta", "--no-cache", "-q")
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert "lstmhmm segment --model" in result.err


def test_codon_tables_and_code_come_from_the_gene_model(tmp_path, monkeypatch):
    description = Labels.of_names(["cds"], background="other", coding="cds")
    config, table = replace(NETWORK, classes=2, sites=()), description.to_table()
    params = random_params(1, config, training_grammar(description))
    card = {"version": "1", "training": {}, "grammar": table}
    model = Model("mine", config, decoding_grammar("labels", table), params, random_model(1).prior, card)
    save_model(model, tmp_path / "model")
    genome = tmp_path / "g.fa"
    genome.write_text(fasta(simulated(9, 2000)[0]))
    loaded, labellers = [], []
    calibration = Calibration(random_counts(np.random.default_rng(0)), 0.4, 4)

    def load(*name):
        loaded.append(name)
        return load_model(*name)

    def first_pass(annotator, source, **_):
        assert (annotator.model.name, source.path) == ("bacteria", str(genome))
        return annotator.with_code(4), calibration

    class Seen(Labeller):
        def segments(self, records, tables):
            labellers.append((self.code.number, tables))
            return super().segments(records, tables)

    monkeypatch.setattr("lstmhmm_bio.model.load_model", load)
    monkeypatch.setattr("lstmhmm_bio.cli.session.first_pass", first_pass)
    monkeypatch.setattr("lstmhmm_bio.labels.Labeller", Seen)
    with small_batches():
        result = run("segment", genome, "--model", tmp_path / "model", "--no-cache", "-q")
    assert result.code == 0, result.err
    assert {line.split("\t")[3] for line in result.out.splitlines()[1:]} <= {"cds", "other"}
    assert labellers == [(4, calibration)]
    assert loaded == [(str(tmp_path / "model"),), ()]


def test_what_labels_cannot_be_trained(tmp_path):
    record, lines, _ = simulated(1, 5000)
    path, bed, toml = tmp_path / "x.fa", tmp_path / "x.bed", tmp_path / "g.toml"
    path.write_text(fasta(record))

    def said(*arguments: object, labels: str = "\n".join(lines)) -> str:
        bed.write_text(labels + "\n")
        result = run("train", "--fasta", path, "--labels", bed, "-o", tmp_path / "m", "--steps", 1, *arguments)
        assert result.code in (1, 2)
        assert len(result.err.splitlines()) == 1
        return result.err

    assert "--background" in said("--label-types", "gc")
    assert "ends beyond 'r1'" in said(labels="r1\t0\t99999\tgc\nr1\t0\t9\tx")
    assert "must match" in said(labels="r7\t0\t9\tgc\nr7\t0\t9\tx")
    assert "no base is certainly" in said(labels="r1\t0\t9\tgc\nr1\t0\t9\tx")
    toml.write_text('background = "bg"\n[states.gc]\nnext = ["purine"]\n[states.purine]\n[states.bg]\n')
    assert "which the grammar does not let" in said("--label-grammar", toml)
    assert "alone" in said("--label-grammar", toml, "--background", "x")
    assert "same number of times" in said("--fasta", path)
    assert "not for labels" in said("--valid", bed)


def test_borders_count_once():
    """A region gets what its first and its last base score as borders, whatever its length; the background nothing."""
    grammar = training_grammar(THREE)
    labels = np.array([2, 2, 0, 0, 0, 2, 1, 0, 2])  # indices into THREE
    sites = np.random.default_rng(2).normal(size=(1, 9, 4)).astype(np.float32)
    classes = np.where(labels[:, None] == np.arange(3), 0.0, -1e3)[None].astype(np.float32)
    weights = dict.fromkeys(grammar.initial_weights, 0.0)
    emissions = grammar.emissions(classes, sites, None, impossible=-1e4)
    found, _ = viterbi(grammar.graph, grammar.graph.scores(weights), emissions, np.array([9], np.int32))
    # regions of one base have no end of their own
    expected = sites[0, 2, 0] + sites[0, 4, 1] + sites[0, 6, 2] + sites[0, 7, 0]
    assert float(np.asarray(found)[0]) == pytest.approx(expected, abs=2e-2)


def test_symmetric_labels_turn_borders_round():
    rng = np.random.default_rng(3)
    tracks = Tracks(*(rng.integers(-900, 900, (2, 50, n)).astype(np.int16) for n in (3, 4)))
    both = _averaged(tracks)
    for model in range(2):
        begin, end = both.sites[..., 2 * model], both.sites[..., 2 * model + 1]
        assert (begin[0] == end[1, ::-1]).all()
        assert (end[0] == begin[1, ::-1]).all()
        mean = (tracks.sites[0, :, 2 * model].astype(int) + tracks.sites[1, ::-1, 2 * model + 1]) >> 1
        assert (begin[0] == mean).all()
    assert _averaged(Tracks(tracks.classes, tracks.sites[..., :0])).sites.shape == (2, 50, 0)
