"""Labels of genes with introns from FASTA and annotation, and the counts that go with them."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_eukaryote_grammar import expected_roles, joined, names_of
from tiny import random_codes

from lstmhmm_bio import calibration
from lstmhmm_bio.calibration import Counts
from lstmhmm_bio.hmm.grammars import bacteria, eukaryote
from lstmhmm_bio.hmm.grammars.grammar import Segments
from lstmhmm_bio.sequence import GeneticCode, decode, encode, reverse_complement
from lstmhmm_bio.training.dataset import LabeledGenome
from lstmhmm_bio.training.labelling import AT_AC, load_genome


class Genome:
    """A FASTA and a GFF3 written gene by gene."""

    def __init__(self) -> None:
        self.text, self.rows = "", ["##gff-version 3"]

    def add(self, exons: list[str], introns: list[str], strand: str = "+") -> Segments:
        """More sequence with a gene on it; its CDS segments, ascending on the forward strand."""
        text, chain = joined(exons, introns)
        if strand == "-":
            text = decode(reverse_complement(encode(text)))
            chain = tuple((len(text) - e, len(text) - s) for s, e in reversed(chain))
        moved = tuple((s + len(self.text), e + len(self.text)) for s, e in chain)
        self.text += text
        return moved

    def annotate(self, gene: str, isoform: str, segments: Segments, strand: str = "+", more: str = "") -> None:
        def row(kind: str, start: int, end: int, attributes: str) -> str:
            return f"s\tx\t{kind}\t{start + 1}\t{end}\t.\t{strand}\t.\t{attributes}"

        span = segments[0][0], segments[-1][1]
        self.rows.append(row("gene", *span, f"ID={gene}"))
        self.rows.append(row("mRNA", *span, f"ID={isoform};Parent={gene}{more}"))
        self.rows += [row("CDS", s, e, f"ID=c_{isoform};Parent={isoform}") for s, e in segments]

    def load(self, folder: Path, kind: str) -> LabeledGenome:
        (folder / "g.fa").write_text(f">s\n{self.text}\n")
        (folder / "g.gff3").write_text("\n".join(self.rows) + "\n")
        return load_genome(folder / "g.fa", folder / "g.gff3", name="g", clade="c", kind=kind)


def own(segments: Segments, length: int) -> Segments:
    """The same segments in the other strand's coordinates."""
    return tuple((length - e, length - s) for s, e in reversed(segments))


def reasons(genome: LabeledGenome) -> dict[str, int]:
    return {why: n for why, n in genome.unrepresentable.items() if n}


@pytest.mark.parametrize(("intron", "why"), [("ATATCCTTCCTTAACCCCCCCCAC", AT_AC), ("ATATCCAC", "not in the grammar")])
@pytest.mark.parametrize("strand", "+-")
def test_genes_with_at_ac_introns_are_told_apart(tmp_path: Path, intron: str, why: str, strand: str) -> None:
    g = Genome()
    g.annotate("a", "a1", g.add(["ATGGCC", "GCCTAA"], [intron], strand), strand)
    g.annotate("b", "b1", g.add(["ATGGCC", "GCCTAA"], ["GTCCCAG"], strand), strand)
    found = g.load(tmp_path, "eukaryote")
    assert found.genes == 1
    assert reasons(found) == {why: 1}


@pytest.fixture
def genome() -> tuple[Genome, dict[str, Segments]]:
    """Genes of every kind, in this order."""
    g, places = Genome(), {}
    places["isoforms"] = g.add(["ATGGCCGCC", "GCCGCC", "GCCTAA"], ["GTCCCCAG", "GTAACAG"])
    places["reverse"] = g.add(["ATGGC", "CGCCTGA"], ["GTCCCAG"], "-")
    places["odd splice site"] = g.add(["ATGGCC", "GCCTAA"], ["ATATCCAC"])
    places["doubted"] = g.add(["ATGGCC", "GCCTAG"], ["GTCCCAG"])
    places["single"] = g.add(["ATGGCCGCCTAA"], [])
    a = places["isoforms"]
    # the shorter isoform comes first and skips the second exon
    g.annotate("isoforms", "short", (a[0], a[2]))
    g.annotate("isoforms", "long", a)
    g.annotate("reverse", "r", places["reverse"], "-")
    g.annotate("odd", "o", places["odd splice site"])
    g.annotate("doubted", "d", places["doubted"], more=";check=no_start")
    g.annotate("single", "s", places["single"])
    return g, places


def test_labels_of_genes_with_introns(genome: tuple[Genome, dict[str, Segments]], tmp_path: Path) -> None:
    written, places = genome
    found = written.load(tmp_path, "eukaryote")
    length = len(written.text)
    assert (found.name, found.clade, found.genetic_code, found.bases) == ("g", "c", 1, length)
    assert found.genes == 3
    assert found.introns == (7, 7, 8)
    assert reasons(found) == {"flagged": 1, "not in the grammar": 1}
    (record,) = found.records
    assert record.allowed.dtype == np.uint32
    any_state = set(eukaryote.TRAINING.graph.states)
    forward = expected_roles(length, [places["isoforms"], places["single"]])
    for s, e in [places["isoforms"][1]]:  # intron or exon: who knows
        forward[s:e] = [any_state] * (e - s)
    for name in ("odd splice site", "doubted"):
        s, e = places[name][0][0], places[name][-1][1]
        forward[s:e] = [any_state] * (e - s)
    assert names_of(record.allowed[0]) == forward
    assert names_of(record.allowed[1]) == expected_roles(length, [own(places["reverse"], length)])


def test_counts_of_genes_with_introns(genome: tuple[Genome, dict[str, Segments]], tmp_path: Path) -> None:
    """On the spliced genes that are labels, of their own strand."""
    written, places = genome
    found = written.load(tmp_path, "eukaryote").counts
    assert found.starts == 3
    codes, code = encode(written.text), GeneticCode.from_number(1, ("ATG",))
    expected = np.zeros(4096)
    for name in ("isoforms", "reverse", "single"):
        strand = codes if name != "reverse" else reverse_complement(codes)
        segments = places[name] if name != "reverse" else own(places[name], len(codes))
        text = "".join(decode(strand[s:e]) for s, e in segments)
        for i in range(0, len(text) - 8, 3):
            expected[int(text[i : i + 6].translate(str.maketrans("ACGT", "0123")), 4)] += 1
        assert code.translate(encode(text)).endswith("*")
    np.testing.assert_array_equal(found.coding, expected)
    np.testing.assert_array_equal(found.background, calibration.background_counts(codes))


def test_bacterial_labels_of_the_same_files(genome: tuple[Genome, dict[str, Segments]], tmp_path: Path) -> None:
    """Its grammar has no introns: everything in several rows is open."""
    written, places = genome
    found = written.load(tmp_path, "bacteria")
    assert (found.genes, found.genetic_code, found.introns) == (1, 11, ())
    assert reasons(found) == {"several rows": 5}
    (record,) = found.records
    expected = np.full((2, len(written.text)), 1, np.uint16)
    for name in ("isoforms", "odd splice site", "doubted"):
        expected[0, places[name][0][0] : places[name][-1][1]] = bacteria.ANY
    ((s, e), *_, (_, end)) = own(places["reverse"], len(written.text))
    expected[1, s:end] = bacteria.ANY
    s, e = places["single"][0]
    expected[0, s:e] = [1 << bacteria.INDEX[x] for x in "S23123123" + "12T"]
    np.testing.assert_array_equal(record.allowed, expected)


def test_isoforms_with_other_ends_and_frames(tmp_path: Path) -> None:
    g = Genome()
    # the second isoform begins later and reads on through the intron
    (first, last) = g.add(["ATGGCCATGGCCG", "CCGCCGCCTAA"], ["GTAAATAACAG"])
    g.annotate("a", "a1", (first, last))
    g.annotate("a", "a2", ((first[0] + 6, last[0] - 3),))
    assert g.text[first[0] + 6 : last[0] - 3] == "ATGGCCGGTAAATAA"
    found = g.load(tmp_path, "eukaryote")
    assert found.genes == 1
    names = names_of(found.records[0].allowed[0])
    expected = expected_roles(len(g.text), [(first, last)])
    for t in (*range(first[0], first[0] + 6), *range(first[1], last[1])):
        expected[t] = set(eukaryote.TRAINING.graph.states)
    assert names == expected


def test_the_annotations_genetic_code(tmp_path: Path) -> None:
    g = Genome()
    place = g.add(["ATGTAAGCC", "GCCTGA"], ["GTCCCAG"])
    g.annotate("a", "a1", place)
    g.rows[-2:] = [row + ";transl_table=6" for row in g.rows[-2:]]
    found = g.load(tmp_path, "eukaryote")
    assert (found.genes, found.genetic_code) == (1, 6)
    assert names_of(found.records[0].allowed[0]) == expected_roles(len(g.text), [place])


# ---- counts


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_without_introns_the_counts_are_those_of_the_strand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.integers(0, 60, 4)) + np.arange(4) * 120
    ends = starts + 3 * rng.integers(4, 40, 4)
    codes = random_codes(rng, int(ends.max()) + int(rng.integers(0, 9)), unknown=0.02)
    has_start = rng.random(4) < 0.7
    code = GeneticCode.from_number(1, ("ATG",))
    expected = calibration.count(codes, starts, ends, has_start, code)
    chains = [((s, e),) for s, e in zip(starts.tolist(), ends.tolist(), strict=True)]
    assert_same(calibration.count_spliced([(codes, chain) for chain in chains], has_start, code), expected)


def assert_same(found: Counts, expected: Counts) -> None:
    for field in fields(Counts):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), err_msg=field.name)


@pytest.mark.parametrize("seed", range(5))
def test_introns_count_as_nothing_else(seed: int) -> None:
    """The same genes with their introns taken out of the sequence."""
    rng = np.random.default_rng(seed)
    pieces, chains, spliced, at, out = [], [], [], 0, 0
    for _ in range(3):
        gap = int(rng.integers(40, 60))
        exons = [int(rng.integers(1, 40)) for _ in range(int(rng.integers(1, 4)))]
        exons[-1] += 12 + -sum(exons) % 3
        pieces.append((gap, True))
        at, out = at + gap, out + gap
        chain, first = [], out
        for i, exon in enumerate(exons):
            if i:
                intron = int(rng.integers(3, 30))
                pieces.append((intron, False))
                at += intron
            chain.append((at, at + exon))
            pieces.append((exon, True))
            at, out = at + exon, out + exon
        chains.append(tuple(chain))
        spliced.append((first, out))
    codes = random_codes(rng, at, unknown=0.01)
    edges = np.cumsum([0, *(size for size, _ in pieces)])
    kept = np.concatenate([codes[a:b] for (a, b), (_, keep) in zip(pairwise(edges), pieces, strict=True) if keep])
    has_start = np.array([True, False, True])
    code = GeneticCode.from_number(1, ("ATG",))
    starts, ends = (np.array(x) for x in zip(*spliced, strict=True))
    found = calibration.count_spliced([(codes, chain) for chain in chains], has_start, code)
    introns = sum(len(chain) - 1 for chain in chains)
    assert found.introns[0] == introns
    found.introns[0] = 0  # they count as introns alone
    assert_same(found, calibration.count(kept, starts, ends, has_start, code))
