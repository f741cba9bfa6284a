"""Long records in parts: what is found must be what is found in the whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmhmm_bio import parts
from lstmhmm_bio.annotate import Annotator
from lstmhmm_bio.calibration import Calibration
from lstmhmm_bio.features import Gene, Record
from lstmhmm_bio.model import load_model
from lstmhmm_bio.parts import by_record, joined_genes, parts_of
from lstmhmm_bio.segment import label_runs, regions
from lstmhmm_bio.simulate import simulate_genome
from lstmhmm_bio.windows import CORE


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WHOLE", 2 * CORE), ("STEP", 2 * CORE), ("OVERLAP", CORE)):
        monkeypatch.setattr(parts, name, value)


def of_length(length: int, *, circular: bool = False) -> Record:
    return Record("r", np.zeros(length, np.uint8), circular=circular)


@given(st.integers(0, 2_000), st.integers(-2, 2))
def test_parts_of_any_length(thousands: int, more: int) -> None:
    """They answer for every base once, overlap by `OVERLAP`, and begin where a window of the whole does."""
    length = max(10_000 * thousands + more, 0)
    record = of_length(length)
    found = list(parts_of(record))
    assert [p.first for p in found] == [0, *(p.end for p in found[:-1])]
    assert found[-1].end == length
    assert (len(found) == 1) == (length <= parts.WHOLE)
    for part in found:
        assert part.start % CORE == 0
        assert len(part.piece) <= max(parts.WHOLE, parts.STEP + parts.OVERLAP)
        assert np.shares_memory(part.piece.codes, record.codes) or not length
        inside = part.inner
        assert 0 <= inside.start <= inside.stop <= len(part.piece)
    for left, right in pairwise(found):
        assert left.start + len(left.piece) - right.start == parts.OVERLAP


@pytest.mark.parametrize("length", [parts.WHOLE, parts.WHOLE + 1])
def test_the_longest_that_stays_whole(length: int) -> None:
    (part, *others) = parts_of(of_length(length))
    assert (part.piece is part.record) == (length == parts.WHOLE) == (not others)


def test_circular_records_stay_whole() -> None:
    (part,) = parts_of(of_length(2 * parts.WHOLE, circular=True))
    assert part.piece is part.record


def gene(start: int, end: int, **more: object) -> Gene:
    return replace(Gene("r", start, end, "+", 0.9), **more)


def test_genes_are_joined_between_genes(small_parts: None) -> None:
    length = 4 * CORE
    left, right = parts_of(of_length(length))
    at, middle = right.start, right.start + CORE // 2
    crossing = (middle - 100, middle + 50)  # the nearest place without a gene is behind it
    behind = (middle + 60, middle + 90)
    in_left = [gene(30, 90), gene(*crossing), gene(*behind), gene(at + CORE - 40, at + CORE, partial_right=True)]
    of_right = [
        gene(at, at + 60, partial_left=True),
        gene(*crossing, introns=((middle, middle + 10),), score=0.8),
        gene(*behind, score=0.8),
        gene(length - 50, length, partial_right=True),
    ]
    found = joined_genes([(left, in_left), (right, [g.moved(-at) for g in of_right])])
    assert found == [*in_left[:2], *of_right[2:]]


def test_no_gene_is_joined_to_half_of_another(small_parts: None) -> None:
    """A gene of one part over all of the overlap, where the other one has others: one of them stays."""
    left, right = parts_of(of_length(4 * CORE))
    at, middle = right.start, right.start + CORE // 2
    over = gene(at - 500, at + CORE - 10)
    others = [gene(middle - 90, middle + 90), gene(middle + 120, middle + 300), gene(at + CORE, at + CORE + 300)]
    found = joined_genes([(left, [over]), (right, [g.moved(-at) for g in others])])
    assert found == [over, others[2]]


def test_parts_of_several_records_stay_apart(small_parts: None) -> None:
    records = [of_length(100), of_length(5 * CORE), of_length(0)]
    found = list(by_record((part, part.first) for record in records for part in parts_of(record)))
    assert [record is given for (record, _), given in zip(found, records, strict=True)] == [True] * 3
    assert [len(values) for _, values in found] == [1, 2, 1]


def test_found_as_in_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Genes, coding probability and regions of a genome in four parts."""
    record, truth = simulate_genome(7 * CORE, gc=0.5, seed=3, record=0)
    annotator = Annotator(load_model(), coding=True, alternative_starts=True)
    calibration = Calibration.expected(0.5, 11)

    def found() -> tuple[list[Gene], np.ndarray, list]:
        (annotation,) = annotator.annotate([record], calibration)
        ((_, runs),) = by_record((p, label_runs(d, p.inner)) for p, d in annotator.decode([record], calibration))
        assert annotation.coding is not None
        return list(annotation.genes), annotation.coding, regions(r for _, r in runs)

    genes, coding, segments = found()
    for name, value in (("WHOLE", CORE), ("STEP", 2 * CORE), ("OVERLAP", CORE)):
        monkeypatch.setattr(parts, name, value)
    assert len(list(parts_of(record))) >= 3
    genes_again, coding_again, segments_again = found()
    assert len(genes) > len(truth) / 2
    assert [(g.start, g.end, g.strand) for g in genes] == [(g.start, g.end, g.strand) for g in genes_again]
    np.testing.assert_allclose([g.score for g in genes], [g.score for g in genes_again], atol=1e-3)
    # segments that posteriors are computed on begin elsewhere
    assert np.abs(coding - coding_again).mean() < 1e-4
    np.testing.assert_allclose(coding, coding_again, atol=0.03)
    assert [(s.start, s.end, s.forward, s.reverse) for s in segments] == [
        (s.start, s.end, s.forward, s.reverse) for s in segments_again
    ]
