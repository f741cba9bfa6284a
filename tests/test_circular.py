"""Circular records, alternative starts and the choice of a model, with the bundled bacterial model."""

import numpy as np
import pytest
from command import small_batches

from lstmhmm_bio import annotate
from lstmhmm_bio.annotate import Annotator
from lstmhmm_bio.features import Record
from lstmhmm_bio.io.derived import coding_sequence
from lstmhmm_bio.model import load_model
from lstmhmm_bio.model_choice import GENES_AT_HOME, choose
from lstmhmm_bio.simulate import simulate_genome

LENGTH = 20_000


@pytest.fixture(scope="module", autouse=True)
def _small():
    with small_batches(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotate, "AROUND", 6000)
        yield


@pytest.fixture(scope="module")
def annotator():
    return Annotator(load_model("bacteria"), alternative_starts=True)


@pytest.fixture(scope="module")
def genome():
    return simulate_genome(LENGTH, gc=0.45, seed=9)[0]


def genes_of(annotator, record):
    (found,) = annotator.annotate([record], annotator.calibrate([record]))
    assert found.record is record
    return found.genes


@pytest.fixture(scope="module")
def linear(annotator, genome):
    return genes_of(annotator, genome)


def test_a_gene_over_the_origin_is_one_gene(annotator, genome, linear):
    # the network reads the turned record in other windows: of genes with two likely starts the other may win
    inner = [g for g in linear if g.start > 6000 and g.end < LENGTH - 6000 and g.length > 300 and g.start_score > 0.9]
    for gene in (next(g for g in inner if g.strand == strand) for strand in "+-"):
        cut = (gene.start + gene.end) // 2
        turned = Record("turned", np.roll(genome.codes, -cut), circular=True)
        found = genes_of(annotator, turned)
        (over,) = (g for g in found if g.end > LENGTH)
        assert (over.start, over.end, over.strand) == (gene.start - cut + LENGTH, gene.end - cut + LENGTH, gene.strand)
        assert not over.partial_left
        assert not over.partial_right
        np.testing.assert_array_equal(coding_sequence(turned, over), coding_sequence(genome, gene))
        # what lies away from the origin is what the linear record has
        of_linear = {(g.start, g.length, g.strand) for g in linear}
        away = [((g.start + cut) % LENGTH, g.length, g.strand) for g in found if 2000 < g.start < g.end < LENGTH - 2000]
        away = [(start, length, strand) for start, length, strand in away if start + length < LENGTH]
        assert sum(g in of_linear for g in away) > 3


def test_a_circle_has_no_partial_genes(annotator, genome):
    found = genes_of(annotator, Record("c", genome.codes, circular=True))
    assert found
    assert not any(g.partial_left or g.partial_right for g in found)
    assert all(0 <= g.start < LENGTH and g.end - g.start <= LENGTH for g in found)
    assert len({(g.start, g.end, g.strand) for g in found}) == len(found)


def test_short_and_empty_circles(annotator):
    rng = np.random.default_rng(0)
    for length in (0, 1, 500):
        genes_of(annotator, Record("tiny", rng.integers(0, 4, length).astype(np.uint8), circular=True))


def test_alternative_starts_are_start_codons_in_frame(annotator, genome, linear):
    with_others = [g for g in linear if g.alternative_starts]
    assert len(with_others) > 3
    for gene in with_others:
        shares = [share for _, share in gene.alternative_starts]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) + gene.start_score < 1.02
        for at, _ in gene.alternative_starts:
            if gene.strand == "+":
                codon = genome.codes[at : at + 3]
                assert (at - gene.start) % 3 == 0
            else:
                codon = 3 - genome.codes[at - 2 : at + 1][::-1]
                assert (gene.end - 1 - at) % 3 == 0
            assert "".join("ACGT"[c] for c in codon) in ("ATG", "GTG", "TTG")


def test_the_bacterial_model_fits_a_bacterial_genome_best(genome):
    assert [f.model for f in choose(["yeasts", "bacteria"], iter([genome]))] == ["bacteria", "yeasts"]


def test_genes_explain_a_genome_and_not_its_shuffled_bases(annotator, genome):
    shuffled = Record("s", np.random.default_rng(1).permutation(genome.codes))
    (composition, genes), (mixed, none) = (annotator.fit_of_sample(annotate.sample_of([r])) for r in (genome, shuffled))
    assert genes > 0.8 * annotator.model.card[GENES_AT_HOME]
    assert none < genes / 5
    assert abs(composition - mixed) < 300


def test_coding_probability_of_each_base(annotator, genome, linear):
    """High in genes, low elsewhere, the same wherever a circle is cut; only where it is asked for."""
    asked = Annotator(annotator.model, coding=True)
    calibration = asked.calibrate([genome])
    straight, circle = (
        next(asked.annotate([Record("r", codes, circular=circular)], calibration)).coding
        for codes, circular in ((genome.codes, False), (np.roll(genome.codes, -7000), True))
    )
    assert straight.shape == circle.shape == (LENGTH,)
    inside = np.zeros(LENGTH, bool)
    for gene in linear:
        inside[gene.start : gene.end] |= gene.score > 0.9
    assert straight[inside].mean() > 0.95
    assert straight[~inside].mean() < 0.3
    # the network's windows lie elsewhere
    assert np.abs(np.roll(circle, 7000)[6000:-6000] - straight[6000:-6000]).mean() < 0.01
    assert next(annotator.annotate([genome], calibration)).coding is None
