"""Untranslated regions from read depth: against brute force, on simulated transcripts, and in every output format."""

from __future__ import annotations

import io
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysam
import pytest
from Bio import SeqIO
from command import run
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_model

from lstmhmm_bio import annotate, untranslated
from lstmhmm_bio.cli.session import Source, untranslated_of
from lstmhmm_bio.errors import InputError
from lstmhmm_bio.evidence import CLASSES, IntronEvidence, SupportWeights
from lstmhmm_bio.features import Annotation, Gene, Record
from lstmhmm_bio.io import WRITERS
from lstmhmm_bio.io.journal import Journal
from lstmhmm_bio.io.reference import read_reference
from lstmhmm_bio.model import save_model
from lstmhmm_bio.sequence import decode
from lstmhmm_bio.untranslated import Depths, Reach, UntranslatedRegions, apart, follow, gaps, stretches

CARD = {"untranslated": {"five_prime": 150.0, "three_prime": 250.0}}
LENGTH = 8000
#: a gene on each strand, with an intron; and what of their transcripts lies outside the CDS, over two introns
FORWARD = Gene("r", 1000, 2500, "+", 0.9, start_score=0.9, introns=((1400, 1500),), intronic=True, supported_introns=1)
REVERSE = Gene("r", 5000, 6200, "-", 0.8, start_score=0.9, introns=((5500, 5600),), intronic=True, supported_introns=0)
FORWARD_UTR = ((600, 700), (820, 1000), (2500, 2790))
REVERSE_UTR = ((4700, 5000), (6200, 6290), (6400, 6480))


def reads_of(gene: Gene, utr: tuple[tuple[int, int], ...], number: int, seed: int) -> list[list[tuple[int, int]]]:
    """Aligned blocks of reads of 80 bases, begun anywhere on a gene's transcript."""
    exons = np.concatenate([np.arange(s, e) for s, e in replace(gene, untranslated=utr).exons])
    starts = np.random.default_rng(seed).integers(0, len(exons) - 80 + 1, number)
    return [stretches(exons[s : s + 80]) for s in sorted(starts.tolist())]


def write_bam(path: Path, reads: list[list[tuple[int, int]]], strand: str, name: str = "r") -> str:
    header = {"HD": {"VN": "1.6", "SO": "unsorted"}, "SQ": [{"SN": name, "LN": LENGTH}]}
    with pysam.AlignmentFile(str(path), "wb", header=header) as out:
        for number, blocks in enumerate(reads):
            read = pysam.AlignedSegment(out.header)
            read.query_name, read.reference_id, read.reference_start = f"r{number}", 0, blocks[0][0]
            read.mapping_quality = 60
            gaps_between = [b[0] - a[1] for a, b in pairwise(blocks)]
            sizes = [f"{e - s}M" for s, e in blocks]
            read.cigarstring = "".join(
                x + y for x, y in zip(sizes, [*(f"{gap}N" for gap in gaps_between), ""], strict=True)
            )
            read.query_sequence = "A" * sum(e - s for s, e in blocks)
            read.set_tags([("XS", strand)])
            out.write(read)
    return str(path)


@pytest.fixture(scope="module")
def bams(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("bams")
    return [
        write_bam(folder / "forward.bam", reads_of(FORWARD, FORWARD_UTR, 1200, 1), "+"),
        write_bam(folder / "reverse.bam", reads_of(REVERSE, REVERSE_UTR, 300, 2), "-"),
    ]


def record() -> Record:
    return Record("r", np.random.default_rng(0).integers(0, 4, LENGTH).astype(np.uint8))


def found_with(bams: list[str], genes: tuple[Gene, ...], card: dict = CARD) -> tuple[Gene, ...]:
    introns = IntronEvidence.read(bams, sequences={"r": record().codes})
    [annotation] = UntranslatedRegions(Depths.read(bams), introns, card).annotate([Annotation(record(), genes)])
    return annotation.genes


# ---- the records


def test_exons_join_what_touches_the_cds():
    gene = replace(FORWARD, untranslated=FORWARD_UTR)
    assert gene.exons == ((600, 700), (820, 1400), (1500, 2790))
    assert gene.extent == (600, 2790)
    assert gene.moved(10).exons == ((610, 710), (830, 1410), (1510, 2800))
    assert (FORWARD.exons, FORWARD.extent) == (FORWARD.segments, (1000, 2500))


# ---- following the reads


def test_depths_are_those_of_samtools(bams):
    total = Depths.read(bams).by_record["r"]
    expected = np.zeros(LENGTH)
    for path in bams:
        pysam.sort("-o", f"{path}.sorted.bam", path)
        for line in pysam.depth("-a", f"{path}.sorted.bam").splitlines():
            _, position, depth = line.split("\t")
            expected[int(position) - 1] += int(depth)
    np.testing.assert_array_equal(total, expected)


def test_transcripts_are_found_again(bams):
    forward, reverse = found_with(bams, (FORWARD, REVERSE))
    for gene, truth in ((forward, FORWARD_UTR), (reverse, REVERSE_UTR)):
        assert len(gene.untranslated) == len(truth)
        known = np.array(truth).ravel()
        places = np.array(gene.untranslated).ravel()
        # ends of introns exactly, those of the transcripts to the reads that happen to be there
        np.testing.assert_array_equal(places[1:-1], known[1:-1])
        assert abs(places - known).max() <= 25
    assert (forward.supported_introns, reverse.supported_introns) == (2, 1)
    assert (forward.segments, reverse.segments) == (FORWARD.segments, REVERSE.segments)


def test_of_genes_without_reads_and_of_open_ends_nothing_is_known(bams):
    silent = Gene("r", 3000, 3300, "+", 0.9, start_score=0.9, intronic=True)
    cut = replace(FORWARD, partial_left=True)
    found, same, _ = found_with(bams, (cut, silent, REVERSE))
    assert same == silent
    assert found.untranslated[0][0] == FORWARD.end
    none = UntranslatedRegions(Depths({}), IntronEvidence({}, 0.0), CARD)
    [annotation] = none.annotate([Annotation(record(), (FORWARD,))])
    assert annotation.genes == (FORWARD,)


def test_neighbours_do_not_overlap():
    depth = np.full(LENGTH, 50, np.float32)
    depth[3900:] = 9
    genes = (replace(FORWARD, introns=()), replace(REVERSE, introns=()))
    regions = UntranslatedRegions(Depths({"r": depth}), IntronEvidence({}, 0.0), CARD)
    [annotation] = regions.annotate([Annotation(record(), genes)])
    left, right = annotation.genes
    assert left.extent[1] == right.extent[0] == 3900  # where the depth is the other gene's


def test_where_reads_span_an_intron_of_the_other_strand_a_transcript_ends():
    depth = np.full(500, 20.0, np.float32)
    reach = follow(depth, [(100, 200, False, 30)], 20.0, 200.0)
    assert reach.places.tolist() == list(range(100))
    assert len(follow(depth, [(100, 200, False, 5)], 20.0, 200.0).places) == 500  # most reads do not
    spliced = follow(depth, [(100, 200, True, 30), (100, 250, True, 25)], 20.0, 200.0)
    assert stretches(spliced.places) == [(0, 100), (200, 500)]


def test_it_ends_before_another_transcript():
    depth = np.concatenate([np.full(300, 30.0), np.zeros(400), np.full(3000, 900.0)]).astype(np.float32)
    assert len(follow(depth, [], 30.0, 200.0).places) == 300


@given(st.integers(0, 10_000))
def test_the_end_is_where_the_sum_is_largest(seed):
    rng = np.random.default_rng(seed)
    depth = rng.poisson(rng.choice([0, 1, 30]), 60).astype(np.float32)
    level, mean = float(rng.choice([1, 20, 400])), 100.0
    background = untranslated.BACKGROUND_SHARE * level + untranslated.BACKGROUND
    means = [max(share * level, untranslated.CLEAR * background) for share in untranslated.SHARES]
    best, total, peak, n = 0.0, 0.0, 0.0, 0
    for i, reads in enumerate(depth.tolist()):
        seen = [(m / (1 + m)) ** reads / (1 + m) for m in means]
        unseen = (background / (1 + background)) ** reads / (1 + background)
        total += np.log(np.mean(seen) / unseen) / untranslated.READ + np.log(1 - 1 / mean)
        peak = max(peak, total)
        if peak - total > untranslated.OTHER:
            break
        if total > best + 1e-12:
            best, n = total, i + 1
    assert len(follow(depth, [], level, mean).places) == n


@given(st.integers(0, 10_000))
def test_the_cut_is_the_likeliest(seed):
    rng = np.random.default_rng(seed)
    size = 30

    def reach() -> Reach:
        places = np.flatnonzero(rng.random(size) < 0.7)[: rng.integers(1, size)]
        return Reach(places, np.concatenate([[0.0], np.cumsum(rng.normal(size=len(places)))]))

    right, left = reach(), reach()
    depth = rng.integers(0, 4, size).astype(np.float32)
    ahead, back = apart(right, left, depth)
    mirrored = size - 1 - left.places
    score = {}
    for cut in range(size + 1):
        a, b = int((right.places < cut).sum()), int((mirrored >= cut).sum())
        beside = min(depth[max(cut - 1, 0)], depth[min(cut, size - 1)])
        score[cut] = right.odds[a] + left.odds[b] + beside * np.log(1 / 11)  # of 0.1 reads
    if not len(right.places) or not len(left.places) or right.places[-1] < mirrored[-1]:
        assert (len(ahead), len(back)) == (len(right.places), len(left.places))
    else:
        within = {cut: score[cut] for cut in range(mirrored[-1], right.places[-1] + 2)}
        best = max(within, key=within.get)
        assert (len(ahead), len(back)) == (int((right.places < best).sum()), int((mirrored >= best).sum()))
        assert not len(ahead) or not len(back) or ahead[-1] < size - 1 - back[-1]


@given(st.integers(0, 10_000))
def test_gaps_are_what_no_gene_spans(seed):
    rng = np.random.default_rng(seed)
    length = 60
    starts = np.sort(rng.integers(0, length, rng.integers(0, 7))).tolist()
    genes = [Gene("r", s, s + int(rng.integers(1, 20)), "+", 1.0) for s in starts]
    genes = [g if g.end <= length else replace(g, end=length) for g in genes]
    if genes and rng.random() < 0.5:
        genes[-1] = replace(genes[-1], end=length + 5)  # over the origin
    covered = np.zeros(2 * length, bool)
    for gene in genes:
        covered[gene.start : gene.end] = True
    covered = covered[:length] | covered[length:]
    free = np.zeros(length, bool)
    for start, end, left, right in gaps(genes, length):
        assert not free[start:end].any()
        free[start:end] = True
        assert left is None or genes[left].end == start
        assert right is None or genes[right].start == end
        assert left is not None or start == 0 or covered[start - 1]
    np.testing.assert_array_equal(free, ~covered)


def test_alignments_to_another_sequence_are_refused(bams):
    regions = UntranslatedRegions(Depths.read(bams), IntronEvidence({}, 0.0), CARD)
    other = Record("r", np.zeros(LENGTH - 1, np.uint8))
    with pytest.raises(InputError, match="made with another 'r', of 8,000 bases instead of 7,999"):
        list(regions.annotate([Annotation(other, (FORWARD,))]))


def test_a_region_has_the_depths_that_lie_in_it(tmp_path, bams):
    genome = tmp_path / "genome.fa"
    genome.write_text(f">r\n{decode(record().codes)}\n")
    annotator = type("Annotator", (), {"model": random_model(3, "eukaryote")})
    depth = Depths.read(bams).by_record["r"]
    for region, expected in (
        ("r", {"r": depth}),
        ("r:101-4000", {"r:101-4000": depth[100:4000]}),
        (None, {"r": depth}),
    ):
        regions = untranslated_of(bams, IntronEvidence({}, 0.0), Source(str(genome), region), annotator)
        assert regions._depths.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(regions._depths[name], values)


# ---- output


def both_genes() -> Annotation:
    genes = (replace(FORWARD, untranslated=FORWARD_UTR), replace(REVERSE, untranslated=REVERSE_UTR))
    return Annotation(record(), genes)


def written(name: str) -> str:
    handle = io.StringIO()
    WRITERS[name](handle, "lstmhmm").write(both_genes())
    return handle.getvalue()


def test_gff3_has_whole_exons_and_utr_rows():
    rows = [line.split("\t") for line in written("gff3").splitlines() if not line.startswith("#")]
    assert [" ".join(row[2:8]) for row in rows[:12]] == [
        "gene 601 2790 0.9000 + .",
        "mRNA 601 2790 0.9000 + .",
        "exon 601 700 . + .",
        "exon 821 1400 0.9000 + .",
        "exon 1501 2790 0.9000 + .",
        "CDS 1001 1400 0.9000 + 0",
        "CDS 1501 2500 0.9000 + 2",
        "five_prime_UTR 601 700 . + .",
        "five_prime_UTR 821 1000 . + .",
        "three_prime_UTR 2501 2790 . + .",
        "gene 4701 6480 0.8000 - .",
        "mRNA 4701 6480 0.8000 - .",
    ]
    assert rows[1][8] == "ID=r_1.t1;Parent=r_1;introns_supported=1/2"
    assert {row[8] for row in rows[7:9]} == {"ID=r_1.t1.five_prime_UTR;Parent=r_1.t1"}
    assert [" ".join(row[2:5]) for row in rows[-3:]] == [
        "five_prime_UTR 6201 6290", "five_prime_UTR 6401 6480", "three_prime_UTR 4701 5000",
    ]  # fmt: skip


def test_gtf_names_them_as_its_specification():
    rows = [line.split("\t") for line in written("gtf").splitlines() if not line.startswith("#")]
    found = [" ".join(row[2:6]) for row in rows if row[2].endswith("UTR")]
    assert found == [
        "5UTR 601 700 .", "5UTR 821 1000 .", "3UTR 2501 2790 .",
        "5UTR 6201 6290 .", "5UTR 6401 6480 .", "3UTR 4701 5000 .",
    ]  # fmt: skip


def test_bed_draws_them_thin():
    row = written("bed").splitlines()[1].split("\t")
    assert row[1:3] == ["600", "2790"]
    assert row[6:8] == ["1000", "2500"]
    assert row[9:] == ["3", "100,580,1290", "0,220,900"]


def test_genbank_has_an_mrna():
    entry = SeqIO.read(io.StringIO(written("genbank")), "genbank")
    assert [feature.type for feature in entry.features] == ["gene", "mRNA", "CDS"] * 2
    gene, transcript = entry.features[:2]
    assert (int(gene.location.start), int(gene.location.end)) == (600, 2790)
    parts = [(int(part.start), int(part.end)) for part in transcript.location.parts]
    assert parts == [(600, 700), (820, 1400), (1500, 2790)]


@pytest.mark.parametrize("name", ["gff3", "gtf"])
def test_what_is_written_is_read_again(tmp_path, name):
    path = tmp_path / f"genes.{name}"
    path.write_text(written(name))
    forward, reverse = read_reference(path).transcripts
    for gene, transcript in zip(both_genes().genes, (forward, reverse), strict=True):
        assert (transcript.segments, transcript.exons) == (gene.segments, gene.exons)
    assert forward.untranslated == (280, 290)
    assert reverse.untranslated == (170, 300)


def test_the_journal_keeps_them(tmp_path):
    path = str(tmp_path / "genes.resume")
    with suppress(KeyboardInterrupt), Journal(path, {"a": 1}) as journal:
        next(journal.resume([record()], lambda _: iter([both_genes()])))
        raise KeyboardInterrupt
    with Journal(path, {"a": 1}) as journal:
        [again] = journal.resume([record()], lambda _: iter(()))
    assert again.genes == both_genes().genes


# ---- the command


@pytest.fixture(scope="module")
def command(tmp_path_factory) -> list[str]:
    """`annotate` on the simulated record, with a model of its own imagination."""
    folder = tmp_path_factory.mktemp("command")
    model = random_model(3, "eukaryote")
    ones = ((1.0,) * CLASSES,)
    model.card["evidence"] = SupportWeights((1.0,), ones, ones).card()
    (folder / "genome.fa").write_text(f">r\n{decode(record().codes)}\n")
    return ["annotate", str(folder / "genome.fa"), "--model", str(save_model(model, folder)), "--utr"]


def test_annotate_extends_genes(tmp_path, monkeypatch, command, bams):
    monkeypatch.setattr(annotate, "genes_of", lambda *_: [FORWARD, REVERSE])
    evidence = [word for bam in bams for word in ("--evidence", bam)]
    result = run(*command, *evidence, "-o", tmp_path / "with.gff3")
    assert result.code == 0, result.err
    assert "untranslated regions of 2 of 2 genes" in result.err
    assert run(*command[:-1], *evidence, "-o", tmp_path / "without.gff3").code == 0
    extended, plain = (read_reference(tmp_path / f"{x}.gff3").transcripts for x in ("with", "without"))
    assert [t.segments for t in extended] == [t.segments for t in plain]
    known = found_with(bams, (FORWARD, REVERSE))
    assert [t.exons for t in extended] == [g.exons for g in known]
    assert all(t.untranslated == (0, 0) for t in plain)


def test_annotate_needs_alignments_for_it(tmp_path, command):
    result = run(*command)
    assert (result.code, result.out) == (2, "")
    assert "--utr needs RNA-seq alignments; give them with --evidence" in result.err
    gff = tmp_path / "introns.gff3"
    gff.write_text("r\tx\tintron\t1401\t1500\t7\t+\t.\tID=a\n")
    result = run(*command, "--evidence", gff)
    assert result.code == 2
    assert "--utr needs alignments (BAM, CRAM, SAM) as --evidence" in result.err


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_any_depths_give_valid_genes(seed):
    """Exons ascend and are disjoint, the CDS stays, and no two genes that did not overlap do."""
    rng = np.random.default_rng(seed)
    genes, at = [], int(rng.integers(0, 100))
    while at < 5000:
        end = at + int(rng.integers(60, 900))
        genes.append(Gene("r", at, end, "+-"[rng.integers(2)], 1.0, intronic=True, partial_left=bool(at < 3)))
        at = end + int(rng.integers(0, 600))
    blocks = np.repeat(rng.choice([0, 0, 1, 5, 200], LENGTH // 50), 50)
    depth = rng.poisson(blocks).astype(np.float32)
    introns = Counter(
        {
            (s, s + int(rng.integers(20, 300)), "+-"[rng.integers(2)]): int(rng.integers(1, 40))
            for s in rng.integers(0, LENGTH - 300, 60).tolist()
        }
    )
    regions = UntranslatedRegions(Depths({"r": depth}), IntronEvidence({"r": introns}, 1.0), {})
    [annotation] = regions.annotate([Annotation(record(), tuple(genes))])
    before = 0
    for gene, old in zip(annotation.genes, genes, strict=True):
        edges = np.array(gene.exons).ravel()
        assert (np.diff(edges) > 0).all()
        assert edges[0] >= before
        assert edges[-1] <= LENGTH
        before = edges[-1]
        assert gene.segments == old.segments
        assert not gene.partial_left or gene.extent[0] == gene.start
