from __future__ import annotations

import numpy as np
import pytest

from lstmhmm_bio.features import Annotation, Gene, Record
from lstmhmm_bio.quality import Summary


def annotation(length: int, genes: list[tuple[int, int]], *, score: float = 1.0, unknown: int = 0) -> Annotation:
    codes = np.zeros(length, np.uint8)
    codes[length - unknown :] = 4
    return Annotation(
        Record("r", codes),
        tuple(Gene("r", a, b, "+-"[i % 2], score, partial_left=a == 0) for i, (a, b) in enumerate(genes)),
    )


def row(length: int, gene: int, gap: int, **options: float) -> Summary:
    """A record full of genes of one length."""
    summary = Summary()
    summary.add(annotation(length, [(a, a + gene) for a in range(1, length - gene, gene + gap)], **options))
    return summary


def test_figures():
    summary = Summary()
    summary.add(annotation(1000, [(0, 300), (200, 500), (900, 1000)]))
    summary.add(annotation(500, [], unknown=100))
    assert (summary.records, summary.bases, summary.unknown, summary.genes, summary.partial) == (2, 1500, 100, 3, 1)
    assert summary.coding == 600  # bases in two genes count once
    assert summary.density == pytest.approx(600 / 1400)
    assert summary.line() == "2 records, 1,500 bases: 3 genes (1 partial), coding density 42.9 %, mean gene 233 bases"


def test_singular_and_nothing():
    summary = Summary()
    summary.add(annotation(1000, [(3, 903)]))
    assert summary.line() == "1 record, 1,000 bases: 1 gene, coding density 90.0 %, mean gene 900 bases"
    assert Summary().line() == "0 records, 0 bases: no genes found"
    empty = Summary()
    empty.add(annotation(0, []))
    assert empty.line() == "1 record, 0 bases: no genes found"
    assert empty.density == 0


def spliced(length: int, gap: int, *, exon: int = 600, intron: int = 100, score: float = 1.0) -> Summary:
    """A record full of genes of two exons."""
    genes = tuple(
        Gene("r", a, a + 2 * exon + intron, "+-"[a % 2], score, introns=((a + exon, a + exon + intron),), intronic=True)
        for a in range(0, length - 2 * exon - intron, 2 * exon + intron + gap)
    )
    summary = Summary()
    summary.add(Annotation(Record("r", np.zeros(length, np.uint8)), genes))
    return summary


def test_figures_with_introns():
    summary = Summary()
    genes = (
        Gene("r", 0, 400, "+", 1.0, introns=((90, 130), (200, 300)), intronic=True),
        Gene("r", 230, 290, "-", 1.0, intronic=True),  # in an intron of the other
        Gene("r", 380, 500, "-", 1.0, introns=((400, 440),), intronic=True),
    )
    summary.add(Annotation(Record("r", np.zeros(1000, np.uint8)), genes))
    assert (summary.introns, summary.coding, summary.lengths) == (3, 260 + 60 + 60, 260 + 60 + 80)
    assert summary.line() == "1 record, 1,000 bases: 3 genes, 3 introns, coding density 38.0 %, mean CDS 133 bases"
    alone = Summary()
    alone.add(Annotation(Record("r", np.zeros(1000, np.uint8)), genes[1:2]))
    assert alone.line() == "1 record, 1,000 bases: 1 gene, 0 introns, coding density 6.0 %, mean CDS 60 bases"


def test_gene_over_the_origin_counts_whole():
    summary = Summary()
    summary.add(Annotation(Record("r", np.zeros(1000, np.uint8), circular=True), (Gene("r", 900, 1200, "+", 1.0),)))
    assert (summary.coding, summary.lengths) == (300, 300)


def test_an_ordinary_genome_passes():
    assert row(100_000, 900, 100).warnings() == []


@pytest.mark.parametrize("gap", [400, 5000, 90_000])
def test_genomes_with_introns_may_have_any_share_of_coding_sequence(gap):
    assert spliced(300_000, gap).warnings() == []


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (row(100_000, 900, 2100), ["coding density 31 % is low", "--genetic-code"]),
        (row(400_000, 1500, 0), ["higher than genomes have"]),
        (row(100_000, 300, 50), ["genes are short, 300 bases", "this run: 11"]),
        (row(100_000, 1400, 500), ["genes are long, 1400 bases", "--model auto"]),
        (row(100_000, 900, 700), ["coding density 56 % is low", "--model auto"]),
        (row(100_000, 900, 100, score=0.6), ["mean posterior of a gene is only 0.60"]),
        (row(100_000, 99, 900_000), ["low"]),
        (row(100_000, 200_000, 0), ["no genes in this much sequence"]),
        (spliced(300_000, 50), ["89 % is high for a eukaryote", "bacteria?"]),
        (spliced(300_000, 800, exon=150), ["genes are short, 300 bases", "usually 1200-1600"]),
        (spliced(300_000, 800, score=0.5), ["mean posterior of a gene is only 0.50"]),
    ],
)
def test_what_is_odd_is_said(summary, words):
    said = summary.warnings()
    assert said
    for word in words:
        assert any(word in line for line in said)
    assert all("\n" not in line for line in said)


def test_little_sequence_is_not_judged():
    assert row(49_000, 99, 9000).warnings() == []
    assert row(80_000, 99, 900_000, unknown=40_000).warnings() == []


def test_cut_genes_are_not_called_short():
    summary = Summary()
    for _ in range(300):
        summary.add(annotation(300, [(0, 270)]))
    assert summary.warnings() == []
