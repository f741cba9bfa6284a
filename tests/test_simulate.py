"""Simulated genomes are what their annotation says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmhmm_bio.cli.simulate import simulate
from lstmhmm_bio.errors import UsageError
from lstmhmm_bio.features import Gene, Record
from lstmhmm_bio.io.reference import read_reference
from lstmhmm_bio.io.sequences import read_records
from lstmhmm_bio.sequence import GeneticCode, decode, kmer_indices, reverse_complement
from lstmhmm_bio.simulate import MIN_FRAGMENT, MIN_GENE, simulate_genome

CODES = st.sampled_from([1, 4, 11, 14, 25])


def check_gene(record: Record, gene: Gene) -> None:
    """A gene begins with a start, ends with a stop and has none inside, under its code, as far as its ends exist."""
    code = GeneticCode.from_number(gene.genetic_code)
    bases = record.codes[gene.start : gene.end]
    if gene.strand == "-":
        bases = reverse_complement(bases)
    assert 0 <= gene.start < gene.end <= len(record)
    assert gene.length % 3 == 0
    codons = kmer_indices(bases, 3)[::3]
    assert not code.is_stop[codons[:-1]].any()
    assert code.is_stop[codons[-1]] == gene.has_stop
    if gene.has_start:
        assert code.is_start[codons[0]]
        assert gene.start_codon == decode(bases[:3])
    if gene.has_start and gene.has_stop:
        assert gene.length >= MIN_GENE
    else:
        assert gene.length >= MIN_FRAGMENT
        assert not gene.partial_left or gene.start < 3
        assert not gene.partial_right or gene.end > len(record) - 3
    assert gene.seqid == record.id


@given(st.integers(1, 30_000), st.floats(0.2, 0.8), st.integers(0, 2**32), CODES, st.booleans())
@settings(max_examples=40)
def test_genes_can_be_read(length: int, gc: float, seed: int, code: int, contig: bool) -> None:
    record, genes = simulate_genome(length, gc=gc, seed=seed, genetic_code=code, contig=contig)
    assert len(record) == length
    assert record.codes.max() < 4
    for gene in genes:
        check_gene(record, gene)
        assert contig or not (gene.partial_left or gene.partial_right)
    assert [g.start for g in genes] == sorted(g.start for g in genes)


def test_a_genome_has_the_expected_shape() -> None:
    record, genes = simulate_genome(1_000_000, gc=0.4, seed=7)
    assert 850 < len(genes) < 1100
    assert 700 < np.mean([g.length for g in genes]) < 1100
    assert abs(np.isin(record.codes, (1, 2)).mean() - 0.4) < 0.02
    assert 0.8 < sum(g.length for g in genes) / len(record) < 0.95
    assert 0.3 < np.mean([g.strand == "+" for g in genes]) < 0.7
    starts = {c: np.mean([g.start_codon == c for g in genes]) for c in ("ATG", "GTG", "TTG")}
    assert starts["ATG"] > 0.6
    assert min(starts.values()) > 0.01
    overlaps = [(a.strand + b.strand, a.end - b.start) for a, b in pairwise(genes) if b.start < a.end]
    same = [n for strands, n in overlaps if strands in ("++", "--")]
    assert same.count(4) > 50
    assert same.count(1) > 20
    assert sum(n > 4 for n in same) > 5
    assert all(n % 3 for n in same)
    assert sum(strands == "+-" for strands, _ in overlaps) > 3
    assert not any(strands == "-+" for strands, _ in overlaps)
    # intergenic sequence is poorer in GC
    coding = np.zeros(len(record), bool)
    for g in genes:
        coding[g.start : g.end] = True
    assert np.isin(record.codes[~coding], (1, 2)).mean() < np.isin(record.codes[coding], (1, 2)).mean() - 0.03


def test_starts_have_binding_sites() -> None:
    record, genes = simulate_genome(300_000, seed=2)
    upstream = [
        decode(
            record.codes[g.start - 16 : g.start]
            if g.strand == "+"
            else reverse_complement(record.codes[g.end : g.end + 16])
        )
        for g in genes
        if g.start >= 16 and g.end + 16 <= len(record)
    ]
    assert np.mean(["GGA" in x or "AGG" in x or "GAG" in x for x in upstream]) > 0.7


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    first, genes = simulate_genome(20_000, seed=5)
    again, same_genes = simulate_genome(20_000, seed=5)
    assert first.codes.tobytes() == again.codes.tobytes()
    assert genes == same_genes
    assert first.codes.tobytes() != simulate_genome(20_000, seed=6)[0].codes.tobytes()
    assert first.codes.tobytes() != simulate_genome(20_000, seed=5, record=1)[0].codes.tobytes()


def test_contigs_cut_genes() -> None:
    cut = [simulate_genome(3000, seed=3, record=i, contig=True)[1] for i in range(40)]
    assert sum(g.partial_left for genes in cut for g in genes) > 15
    assert sum(g.partial_right for genes in cut for g in genes) > 15
    assert {g.strand for genes in cut for g in genes if g.partial_left} == {"+", "-"}


@pytest.mark.parametrize(
    "arguments", [{"length": 0}, {"gc": 0.1}, {"gc": float("nan")}, {"genetic_code": 7}, {"seed": -1}]
)
def test_impossible_requests(arguments: dict) -> None:
    with pytest.raises(UsageError):
        simulate_genome(**{"length": 1000, **arguments})


@pytest.mark.parametrize(("gc", "code"), [(0.3, 4), (0.45, 11), (0.68, 11)])
def test_an_independent_gene_finder_finds_the_genes(gc: float, code: int) -> None:
    pyrodigal = pytest.importorskip("pyrodigal")
    record, genes = simulate_genome(300_000, gc=gc, seed=11, genetic_code=code)
    sequence = decode(record.codes)
    finder = pyrodigal.GeneFinder()
    finder.train(sequence, translation_table=code)
    found = {("+", g.end) if g.strand == 1 else ("-", g.begin - 1) for g in finder.find_genes(sequence)}
    true = {("+", g.end) if g.strand == "+" else ("-", g.start) for g in genes}
    assert len(true & found) >= 0.95 * len(true)
    assert len(true & found) >= 0.9 * len(found)


def test_command_writes_what_the_library_draws(tmp_path: Path) -> None:
    fasta, gff = tmp_path / "g.fa", tmp_path / "g.gff3.gz"
    arguments = ["-o", str(fasta), "--annotation", str(gff), "--length", "5000", "--records", "2", "--contigs"]
    result = CliRunner().invoke(simulate, [*arguments, "--gc", "0.4", "--seed", "9"], catch_exceptions=False)
    assert result.exit_code == 0
    reference = read_reference(gff)
    drawn = [simulate_genome(5000, gc=0.4, seed=9, record=i, contig=True) for i in range(2)]
    for record, (expected, _) in zip(read_records(str(fasta)), drawn, strict=True):
        assert record.id == expected.id
        assert np.array_equal(record.codes, expected.codes)
    assert [(t.seqid, t.segments[0], t.strand, t.partial) for t in reference.transcripts] == [
        (g.seqid, (g.start, g.end), g.strand, g.partial_left or g.partial_right) for _, genes in drawn for g in genes
    ]
