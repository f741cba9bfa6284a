"""Genes from hand-made paths and posteriors."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from test_eukaryote_grammar import DECODING, joined

from lstmhmm_bio.decoding import Decoded
from lstmhmm_bio.features import Gene, Record
from lstmhmm_bio.genes import genes_of
from lstmhmm_bio.hmm.grammars import bacteria
from lstmhmm_bio.hmm.grammars.grammar import Grammar, Segments
from lstmhmm_bio.sequence import GeneticCode, decode, encode, reverse_complement

BACTERIAL, STANDARD = GeneticCode.from_number(11), GeneticCode.from_number(1, ("ATG",))


def decoded(grammar: Grammar, text: str, names: str, strand: str, seed: int = 0) -> Decoded:
    """One strand (given 5' to 3') in states by name, the other one empty; random posteriors."""
    index, row = grammar.graph.index, "+-".index(strand)
    paths = np.zeros((2, len(text)), np.uint8)
    paths[row] = [index[name] for name in names.split()]
    posteriors = np.random.default_rng(seed).integers(1, 65536, (2, len(text), len(grammar.groups))).astype(np.uint16)
    codes = encode(text) if strand == "+" else reverse_complement(encode(text))
    return Decoded(Record("r", codes), grammar, paths, posteriors, tuple(grammar.groups))


def forward(segments: Segments, length: int, strand: str) -> Segments:
    """Segments of a strand's own coordinates, ascending on the forward strand."""
    return segments if strand == "+" else tuple((length - e, length - s) for s, e in reversed(segments))


def ends_of(gene: Gene) -> tuple[bool, bool]:
    return gene.has_start, gene.has_stop


def spliced(record: Record, gene: Gene) -> str:
    codes = np.concatenate([record.codes[s:e] for s, e in gene.segments])
    return decode(codes if gene.strand == "+" else reverse_complement(codes))


# ---- bacteria


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize(
    ("text", "names", "place", "ends", "codon"),
    [
        ("CCGTGGCCTAACC", "I I S 2 3 1 2 3 1 2 T I I", (2, 11), (True, True), "GTG"),
        ("CCATGGCCAA", "I I S 2 3 1 2 3 1 2", (2, 8), (True, False), "ATG"),
        ("GGCCTAAC", "3 1 2 3 1 2 T I", (1, 7), (False, True), ""),
        ("GCCAACA", "1 2 3 1 2 3 1", (0, 6), (False, False), ""),
    ],
)
def test_a_bacterial_gene(
    strand: str, text: str, names: str, place: tuple[int, int], ends: tuple[bool, bool], codon: str
) -> None:
    d = decoded(bacteria.GRAMMAR, text, names, strand)
    (gene,) = genes_of(d, BACTERIAL)
    ((start, end),) = forward((place,), len(text), strand)
    assert (gene.seqid, gene.start, gene.end, gene.strand) == ("r", start, end, strand)
    assert ends_of(gene) == ends
    assert (gene.introns, gene.exon_scores, gene.intronic, gene.genetic_code) == ((), (), False, 11)
    row = d.posteriors["+-".index(strand)] / 65535
    stop, begin, third = (row[:, list(bacteria.GRAMMAR.groups).index(g)] for g in ("stop", "start", "third"))
    assert gene.score == pytest.approx(stop[place[1] - 1] if ends[1] else third[place[1] - 1])
    assert gene.start_codon == codon
    if ends[0]:
        assert gene.start_score == pytest.approx(min(begin[place[0]] / gene.score, 1))
    else:
        assert math.isnan(gene.start_score)


def test_bacterial_genes_of_both_strands_overlap() -> None:
    """ATGA: two genes on one strand, and one on the other, sorted by place."""
    text = "CATGGCCAAATGACCTA"
    d = decoded(bacteria.GRAMMAR, text, "I S 2 3 1 2 3 1 2 S3 12 23 1T 2 3 1 2", "+")
    other = decoded(bacteria.GRAMMAR, text, "I I I S 2 3 1 2 3 1 2 3 1 2 T I I", "-")
    d.paths[1] = other.paths[1]
    genes = genes_of(d, BACTERIAL)
    assert [(g.start, g.end, g.strand) for g in genes] == [(1, 13, "+"), (2, 14, "-"), (9, 15, "+")]


def test_nothing_decoded_is_no_gene() -> None:
    for grammar, code in ((bacteria.GRAMMAR, BACTERIAL), (DECODING, STANDARD)):
        assert genes_of(decoded(grammar, "ACGTA", "I I I I I", "+"), code) == []
        assert genes_of(decoded(grammar, "", "", "-"), code) == []


# ---- eukaryotes

TWO_INTRONS = joined(["ATGGCCG", "CC", "GCCTAA"], ["GTCCCAG", "GTCCCCAG"])
NAMES = "I I S 2s 3 1 2 3 1 D1 C1.0 C1.1 M1 M1 M1 A1 2 3 D0 C0.0 C0.1 N0 N0 N0 N0 A0 1 2 3 1 2 T I I I"
STOP_CUT = joined(["ATGGCCT", "AA"], ["GTCCCAG"])
STOP_CUT_NAMES = "I I S 2s 3 1 2 3 1 D1t C1t.0 C1t.1 N1t N1t N1t A1t 2t Tt I I I"
START_CUT = joined(["AT", "GGCCTAA"], ["GTCCCAG"])
START_CUT_NAMES = "I I S 2s D2 C2.0 C2.1 N2 N2 N2 A2 3 1 2 3 1 2 T I I I"
#: name -> text, states, CDS segments, has start and stop, groups and places of the two ends of every exon
CASES = {
    "whole": (
        *(TWO_INTRONS[0], NAMES, TWO_INTRONS[1], (True, True)),
        [("start", 2), ("donor", 9), ("acceptor", 15), ("donor", 18), ("acceptor", 25), ("stop", 31)],
    ),
    "without its start": (
        *(TWO_INTRONS[0][4:], " ".join(NAMES.split()[4:]), ((1, 5), (12, 14), (22, 28)), (False, True)),
        [("coding", 1), ("donor", 5), ("acceptor", 11), ("donor", 14), ("acceptor", 21), ("stop", 27)],
    ),
    "without its stop": (
        *(TWO_INTRONS[0][:29], " ".join(NAMES.split()[:29]), ((2, 9), (16, 18), (26, 29)), (True, False)),
        [("start", 2), ("donor", 9), ("acceptor", 15), ("donor", 18), ("acceptor", 25), ("coding", 28)],
    ),
    "ending in an intron": (
        *(TWO_INTRONS[0][:14], " ".join(NAMES.split()[:14]), ((2, 8),), (True, False)),
        [("start", 2), ("coding", 7)],
    ),
    "beginning in an intron": (
        *(TWO_INTRONS[0][12:], " ".join(NAMES.split()[12:]), ((14, 20),), (False, True)),
        [("coding", 14), ("stop", 19)],
    ),
    # the posteriors' grammar knows no stop codon cut by an intron
    "with a cut stop codon": (
        *(STOP_CUT[0], STOP_CUT_NAMES, STOP_CUT[1], (True, True)),
        [("start", 2), ("donor", 9), ("acceptor", 15), ("coding", 17)],
    ),
    "with a cut start codon": (
        *(START_CUT[0], START_CUT_NAMES, START_CUT[1], (True, True)),
        [("start", 2), ("donor", 4), ("acceptor", 10), ("stop", 17)],
    ),
}


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize("case", CASES)
def test_a_eukaryotic_gene(case: str, strand: str) -> None:
    text, names, segments, ends, places = CASES[case]
    d = decoded(DECODING, text, names, strand, seed=len(case))
    (gene,) = genes_of(d, STANDARD)
    expected = forward(segments, len(text), strand)
    assert (gene.start, gene.end, gene.strand) == (expected[0][0], expected[-1][1], strand)
    assert gene.segments == expected
    assert gene.introns == tuple((a[1], b[0]) for a, b in pairwise(expected))
    assert ends_of(gene) == ends
    assert spliced(d.record, gene) == "".join(text[s:e] for s, e in segments)
    assert (gene.intronic, gene.genetic_code) == (True, 1)
    row = d.posteriors["+-".index(strand)] / 65535
    values = [row[t, list(DECODING.groups).index(group)] for group, t in places]
    exons = [min(pair) for pair in zip(values[::2], values[1::2], strict=True)]
    assert gene.exon_scores == pytest.approx(exons if strand == "+" else exons[::-1])
    assert gene.score == pytest.approx(min(exons))
    if ends[0]:
        assert gene.start_codon == "ATG"
        assert gene.start_score == pytest.approx(min(values[0] / values[-1], 1))
    else:
        assert gene.start_codon == ""
        assert math.isnan(gene.start_score)


def test_eukaryotic_genes_of_both_strands_are_sorted() -> None:
    text, chain = TWO_INTRONS
    d = decoded(DECODING, text, NAMES, "+")
    d.paths[1] = decoded(DECODING, text, "I " * 20 + "S 2s 3 1 2 T" + " I" * (len(text) - 26), "-").paths[1]
    genes = genes_of(d, STANDARD)
    length = len(text)
    assert [(g.start, g.end, g.strand) for g in genes] == [
        (chain[0][0], chain[-1][1], "+"),
        (length - 26, length - 20, "-"),
    ]
