"""Scores that agree with how often genes are right."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmhmm_bio.confidence import USUAL_LENGTH, Confidence
from lstmhmm_bio.features import Gene
from lstmhmm_bio.model import load_model

LENIENT = Confidence((0.0, 1.0, 0.0), (0.0, 1.0, 0.0))


def gene(score: float, start_score: float, length: int = USUAL_LENGTH) -> Gene:
    return Gene("chr", 100, 100 + length, "+", score=score, start_score=start_score, start_codon="ATG")


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999), st.integers(30, 9000))
def test_the_identity_changes_nothing(score: float, start: float, length: int) -> None:
    same = LENIENT.of(gene(score, start, length))
    assert (same.score, same.start_score) == pytest.approx((score, start))


def test_formula() -> None:
    found = Confidence((1.0, 0.5, 2.0), (0.25, 2.0, -1.0)).of(gene(0.8, 0.6, 300))
    shorter = log(300 / 900)
    assert found.score == pytest.approx(1 / (1 + np.exp(-(1 + 0.5 * log(4) + 2 * shorter))))
    assert found.start_score == pytest.approx(1 / (1 + np.exp(-(0.25 + 2 * log(1.5) - shorter))))


def test_alternative_starts_share_what_the_start_leaves_over() -> None:
    known = replace(gene(0.99, 0.7), alternative_starts=((70, 0.2), (130, 0.1)))
    found = Confidence((0.0, 1.0, 0.0), (0.0, 0.5, 0.0)).of(known)
    shares = [share for _, share in found.alternative_starts]
    assert found.start_score + sum(shares) == pytest.approx(1)
    assert shares[0] == pytest.approx(2 * shares[1])


def test_genes_that_are_cut_keep_their_posteriors() -> None:
    cut = replace(gene(0.6, 0.6), partial_right=True)
    assert Confidence((3.0, 0.1, 0.0), (3.0, 0.1, 0.0)).of(cut) == cut


def test_the_bundled_models() -> None:
    bacteria = Confidence.from_card(load_model("bacteria").card)
    assert bacteria is not None
    scores = [bacteria.of(gene(1.0, 1.0, n)).score for n in (90, 300, 900, 3000)]
    assert scores == sorted(scores)
    assert 0.5 < scores[0] < scores[-1] < 1
    assert Confidence.from_card(load_model("yeasts").card) is None
