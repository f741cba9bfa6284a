"""Files of genes with introns as other programs read them, and as this one does."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from Bio import SeqIO
from hypothesis import given, settings
from hypothesis import strategies as st
from spliced import letters, simulate_spliced, turned

from lstmhmm_bio.evaluation import evaluate, evaluate_files
from lstmhmm_bio.features import Annotation
from lstmhmm_bio.io import WRITERS, gene_ids, open_output, write_cds_fasta, write_protein_fasta
from lstmhmm_bio.io.reference import read_reference

SUFFIXES = {"gff3": "gff3", "gtf": "gtf", "genbank": "gbk"}


def needed(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def genome(seed: int, *, open_ends: bool = False) -> list[Annotation]:
    return [simulate_spliced(name, seed + i, open_ends=open_ends)[0] for i, name in enumerate(("chr1", "b|2", "c_3"))]


def write(path: Path, kind: str, annotations: list[Annotation]) -> Path:
    with open_output(str(path)) as handle:
        writer = WRITERS[kind](handle, "lstmhmm 0.1.0 model=yeasts")
        for annotation in annotations:
            writer.write(annotation)
    return path


def write_genome(path: Path, annotations: list[Annotation]) -> Path:
    path.write_text("".join(f">{a.record.id}\n{letters(a.record)}\n" for a in annotations))
    return path


def sequences(text: str) -> dict[str, str]:
    return {record.id: str(record.seq) for record in SeqIO.parse(io.StringIO(text), "fasta")}


def ours(write_fasta, annotations: list[Annotation]) -> dict[str, str]:
    handle = io.StringIO()
    for annotation in annotations:
        write_fasta(handle, annotation)
    return sequences(handle.getvalue())


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True)


@needed("gffread")
@pytest.mark.parametrize("open_ends", [False, True])
@pytest.mark.parametrize("kind", ["gff3", "gtf"])
def test_gffread_makes_the_same_proteins_and_cds(tmp_path, kind, open_ends):
    for seed in range(0, 60, 10):
        annotations = genome(seed, open_ends=open_ends)
        features, sequence = (
            write(tmp_path / f"x.{kind}", kind, annotations),
            write_genome(tmp_path / "g.fa", annotations),
        )
        proteins, cds = tmp_path / "p.fa", tmp_path / "c.fa"
        result = run("gffread", "-E", features, "-g", sequence, "-y", proteins, "-x", cds)
        assert "rror" not in result.stderr
        assert "arning" not in result.stderr.replace("with warnings", "")
        found = {name: protein.rstrip(".*") for name, protein in sequences(proteins.read_text()).items()}
        assert found == ours(write_protein_fasta, annotations)
        expected = ours(write_cds_fasta, annotations)
        assert sequences(cds.read_text()) == expected
        (tmp_path / "g.fa.fai").unlink()


@needed("gffread")
@pytest.mark.parametrize("kind", ["gff3", "gtf"])
def test_gffread_finds_every_gene_whole(tmp_path, kind):
    """Of complete genes none lacks a start or stop codon, has one inside or a splice site that is not GT-AG."""
    annotations = genome(5)
    features, sequence = write(tmp_path / f"x.{kind}", kind, annotations), write_genome(tmp_path / "g.fa", annotations)
    result = run("gffread", features, "-g", sequence, "-V", "-J", "-N", "--table", "@id,@numexons")
    count = {f"{n}.t1": len(g.segments) for a in annotations for n, g in zip(gene_ids(a), a.genes, strict=True)}
    assert {name: int(n) for name, n in map(str.split, result.stdout.splitlines())} == count


@needed("gffread")
def test_gffread_takes_circular_records(tmp_path):
    """It cuts off what is over the origin, and must have all the other genes right."""
    [first, *_] = genome(21)
    circle = turned(first, first.genes[3].start + 2)
    features, sequence = write(tmp_path / "x.gff3", "gff3", [circle]), write_genome(tmp_path / "g.fa", [circle])
    proteins = tmp_path / "p.fa"
    run("gffread", "-E", features, "-g", sequence, "-y", proteins)
    found, expected = sequences(proteins.read_text()), ours(write_protein_fasta, [circle])
    differing = {name for name in expected if found.get(name, "").rstrip(".*") != expected[name]}
    assert differing == {f"chr1_{len(expected)}.t1"}  # the last by its start
    assert circle.genes[-1].end > len(circle.record)


@needed("gt")
@pytest.mark.parametrize("circular", [False, True])
def test_genometools_validates_gff3(tmp_path, circular):
    annotations = genome(8, open_ends=not circular)
    if circular:
        annotations = [turned(a, a.genes[2].segments[0][1] - 1) for a in annotations]
        assert any(gene.end > len(a.record) for a in annotations for gene in a.genes)
    result = run("gt", "gff3validator", "-strict", write(tmp_path / "x.gff3", "gff3", annotations))
    assert result.stdout == "input is valid GFF3\n"
    assert result.stderr == ""


@needed("bedtools")
def test_bedtools_splices_blocks(tmp_path):
    annotations = genome(11)
    sequence = write_genome(tmp_path / "g.fa", annotations)
    bed = write(tmp_path / "x.bed", "bed", annotations)
    result = run("bedtools", "getfasta", "-split", "-s", "-nameOnly", "-fi", sequence, "-bed", bed)
    found = sequences(result.stdout.replace("(+)", "").replace("(-)", ""))
    assert found == ours(write_cds_fasta, annotations)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), open_ends=st.booleans())
def test_every_format_reads_back(tmp_path_factory, seed, open_ends):
    annotations = genome(seed, open_ends=open_ends)
    folder = tmp_path_factory.mktemp("files")
    genes = [(a.record.id, g.strand, g.segments, g) for a in annotations for g in a.genes]
    for kind, suffix in SUFFIXES.items():
        reference = read_reference(write(folder / f"x.{suffix}", kind, annotations))
        found = reference.transcripts
        assert [(t.seqid, t.strand, t.segments) for t in found] == [gene[:3] for gene in genes]
        assert not any(t.odd or t.pseudo or t.unsure for t in found)
        if kind != "gtf":  # which marks partial genes by what is missing, if most are whole
            assert [t.partial for t in found] == [not (g.has_start and g.has_stop) for *_, g in genes]
            assert {t.genetic_code for t in found} == {1}
        names = [name for a in annotations for name in gene_ids(a)]
        assert [t.gene for t in found] == names
        assert [t.name for t in found] == (names if kind == "genbank" else [f"{name}.t1" for name in names])
        if kind == "gff3":
            assert reference.lengths == {"chr1": len(annotations[0].record)}


@pytest.mark.parametrize("kind", SUFFIXES)
def test_evaluation_finds_a_copy_perfect(tmp_path, kind):
    annotations = genome(3)
    one = write(tmp_path / "one.gff3", "gff3", annotations)
    other = write(tmp_path / f"other.{SUFFIXES[kind]}", kind, annotations)
    sequence = write_genome(tmp_path / "g.fa", annotations)
    for fasta in (None, sequence):
        result = evaluate_files(one, other, "euk", genome=fasta)
        assert result.remarks == ()
        assert {score.f1 for score in result.scores.values()} == {1.0}
        assert result.scores["gene"].reference == 18
    assert evaluate(read_reference(one).transcripts, [], "euk").scores["gene"].sensitivity == 0


@pytest.mark.parametrize("kind", ["gff3", "genbank"])
def test_genes_over_the_origin_are_told_apart(tmp_path, kind):
    [first, *_] = genome(21)
    circle = turned(first, first.genes[3].start + 2)
    found = read_reference(write(tmp_path / f"x.{SUFFIXES[kind]}", kind, [circle])).transcripts
    assert [t.odd for t in found] == [gene.end > len(circle.record) for gene in circle.genes]
    assert np.sum([t.odd for t in found]) == 1
