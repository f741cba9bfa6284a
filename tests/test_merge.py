"""Parts of one genome, joined: the bytes of one run over all of it."""

from __future__ import annotations

import gzip
import random
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from command import fasta, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstmhmm_bio.features import Annotation, Gene, Record
from lstmhmm_bio.io import WRITERS, open_output, write_cds_fasta, write_protein_fasta
from lstmhmm_bio.io.merge import shard_mark
from lstmhmm_bio.sequence import encode
from lstmhmm_bio.simulate import simulate_genome

PROVENANCE = "lstmhmm 0.1.0 model=bacteria version=1"
FORMATS = [*WRITERS, "proteins", "cds"]
MARKED = ("gff3", "gtf", "bed")


def some_annotations() -> list[Annotation]:
    """Records with and without genes, of no bases, and with names that formats write differently."""
    names = ["chr", "a_1", "a", "odd;=,%name", "plasmid:1-9", "é", "last"]
    found = []
    for i, name in enumerate(names):
        record, genes = simulate_genome(3000, seed=5, record=i, contig=True)
        found.append(Annotation(Record(name, record.codes), tuple(replace(g, seqid=name) for g in genes)))
    spliced = Gene("spliced", 0, 60, "+", 0.5, introns=((9, 21),), intronic=True)
    circular = Gene("spliced", 2700, 3300, "-", 0.5, start_codon="GTG")
    found.append(Annotation(Record("spliced", found[0].record.codes, circular=True), (spliced, circular)))
    nothing = Annotation(Record("nothing", encode("")))
    random_bases = Annotation(Record("no_genes", encode("ACGT" * 20)))
    return [found[0], nothing, *found[1:5], random_bases, *found[5:]]


ANNOTATIONS = some_annotations()


def write(path: Path, kind: str, annotations: list[Annotation], shard: tuple[int, int] | None = None) -> Path:
    with open_output(str(path)) as handle:
        if kind in WRITERS:
            mark = shard_mark(*shard) if shard and kind in MARKED else ""
            write_record = WRITERS[kind](handle, provenance=PROVENANCE + mark).write
        else:
            function = {"proteins": write_protein_fasta, "cds": write_cds_fasta}[kind]
            write_record = lambda annotation: function(handle, annotation)  # noqa: E731
        for annotation in annotations:
            write_record(annotation)
    return path


def genome_of(folder: Path, annotations: list[Annotation]) -> Path:
    path = folder / "genome.fa"
    path.write_text(fasta(*(a.record for a in annotations)))
    return path


def refuse(folder: Path, parts: list[Path], *words: str, genome: Path | None = None) -> None:
    """One line that says what is wrong, and no file."""
    options = ["--genome", genome] if genome else []
    result = run("merge", *parts, "-o", folder / "refused", *options)
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(r"lstmhmm: error: [^\n]+\n", result.err), result.err
    for word in words:
        assert word in result.err
    assert not [path for path in folder.iterdir() if path.name == "refused" or path.name.startswith(".")]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("packed", [False, True])
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(cuts=st.lists(st.integers(0, len(ANNOTATIONS)), max_size=4), shuffle=st.randoms(use_true_random=False))
def test_shards_are_the_whole(tmp_path, kind, packed, cuts, shuffle):
    end = ".gz" if packed else ""
    whole = write(tmp_path / f"whole{end}", kind, ANNOTATIONS)
    edges = [0, *sorted(cuts), len(ANNOTATIONS)]
    shards = [
        write(tmp_path / f"shard{i}{end}", kind, ANNOTATIONS[a:b], (i, len(edges) - 1))
        for i, (a, b) in enumerate(pairwise(edges), 1)
    ]
    if kind in MARKED:
        shuffle.shuffle(shards)
    result = run("merge", *shards, "-o", tmp_path / f"all{end}")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert (tmp_path / f"all{end}").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_single_records_take_the_order_of_a_genome(tmp_path, kind):
    whole = write(tmp_path / "whole", kind, ANNOTATIONS)
    genome = genome_of(tmp_path, ANNOTATIONS)
    parts = [write(tmp_path / f"part{i}", kind, ANNOTATIONS[i::3]) for i in range(3)]
    random.Random(1).shuffle(parts)
    result = run("merge", *parts, "--genome", genome)
    assert (result.code, result.err) == (0, "")
    assert result.out == whole.read_text()


def test_one_part_is_itself(tmp_path):
    part = write(tmp_path / "part", "gff3", ANNOTATIONS)
    assert run("merge", part).out == part.read_text()
    assert run("merge", "-", stdin=gzip.compress(part.read_bytes())).out == part.read_text()


def test_empty_shards_are_no_problem(tmp_path):
    for kind in FORMATS:
        parts = [write(tmp_path / f"{kind}{i}", kind, [], (i, 2)) for i in (1, 2)]
        assert run("merge", *parts).out == write(tmp_path / "none", kind, []).read_text()


def test_incomplete_shards_are_refused(tmp_path):
    one, two, three = (write(tmp_path / f"s{i}", "gff3", ANNOTATIONS[i : i + 1], (i, 3)) for i in (1, 2, 3))
    refuse(tmp_path, [one, three], "shard 2 is missing")
    refuse(tmp_path, [one, two, three, two], "both shard 2")
    other = write(tmp_path / "other", "gff3", ANNOTATIONS[3:4], (1, 2))
    refuse(tmp_path, [one, two, three, other], "both shard 1")
    refuse(tmp_path, [two, three, other], "2 and 3 shards")
    plain = write(tmp_path / "plain", "gff3", ANNOTATIONS[3:4])
    refuse(tmp_path, [one, two, three, plain], str(plain), "is no shard")


def test_what_does_not_belong_together_is_refused(tmp_path):
    files = {kind: write(tmp_path / kind, kind, ANNOTATIONS[:1]) for kind in FORMATS}
    for kind in FORMATS:
        for other in FORMATS:
            same = kind == other or {kind, other} == {"proteins", "cds"}
            if not same:
                refuse(tmp_path, [files[kind], files[other]], "merge whole files of one format")
    with open_output(str(tmp_path / "newer")) as handle:
        WRITERS["bed"](handle, provenance="lstmhmm 9.0.0")
    refuse(tmp_path, [files["bed"], tmp_path / "newer"], "different versions or models")
    empty = tmp_path / "empty"
    empty.touch()
    refuse(tmp_path, [empty, files["gff3"]], "is empty")
    assert run("merge", empty, files["cds"]).code == 0


def test_repeated_records_are_refused(tmp_path):
    for kind in FORMATS:
        part = write(tmp_path / kind, kind, ANNOTATIONS[:1])
        refuse(tmp_path, [part, part], "'chr' is in the parts twice")


def test_a_genome_finds_what_is_missing(tmp_path):
    genome = genome_of(tmp_path, ANNOTATIONS)
    for kind in ("gff3", "genbank"):
        part = write(tmp_path / kind, kind, ANNOTATIONS[:-2])
        refuse(tmp_path, [part], "is in none of the parts", genome=genome)
    strange = write(
        tmp_path / "strange", "bed", [Annotation(Record("x", ANNOTATIONS[0].record.codes), ANNOTATIONS[0].genes)]
    )
    assert run("merge", strange).code == 0
    small = tmp_path / "small.fa"
    small.write_text(">other\nACGT\n")
    refuse(tmp_path, [strange], "'chr' is not in the genome", genome=small)
    backwards = write(tmp_path / "backwards", "gff3", ANNOTATIONS[::-1])
    refuse(tmp_path, [backwards], "not in the genome's order", genome=genome)


def test_cut_off_files_are_refused(tmp_path):
    part = write(tmp_path / "part", "gtf", ANNOTATIONS[:1])
    part.write_bytes(part.read_bytes()[:-5])
    refuse(tmp_path, [part], "cut off")
    part.write_bytes(gzip.compress(part.read_bytes())[:-20])
    refuse(tmp_path, [part], "truncated")
    part.write_bytes(b"\xff\xfe\0\n" * 9)
    refuse(tmp_path, [part], "is no text")
    part.write_text("gene\t1\t2\n")
    refuse(tmp_path, [part], "none of the formats")
    refuse(tmp_path, [tmp_path / "missing"], "no such file")
    assert run("merge").code == 2
    assert run("merge", part, "-o", part).code == 2
