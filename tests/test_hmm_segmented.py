"""Paths joined from segments are those of the whole sequence, or none."""

from __future__ import annotations

from itertools import pairwise

import hmm_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmhmm_bio.hmm.graph import Edge, Graph, Scores
from lstmhmm_bio.hmm.segmented import joined, segment_paths, spans_of
from lstmhmm_bio.hmm.viterbi import to_fixed_scores, viterbi


def in_segments(graph: Graph, scores: Scores, emissions: np.ndarray, size: int, flank: int) -> np.ndarray | None:
    """The path of one sequence [time, states] by way of its segments."""
    spans = spans_of(len(emissions), size, flank)
    batch = np.full((size, len(spans), emissions.shape[1]), 7.0, np.float32)  # padding
    for i, (a, b) in enumerate(spans):
        batch[: b - a, i] = emissions[a:b]
    lengths = np.array([b - a for a, b in spans], np.int32)
    begins, ends = (np.array(x) for x in zip(*((a == 0, b == len(emissions)) for a, b in spans), strict=True))
    fixed = to_fixed_scores(scores)
    paths, borders = segment_paths(graph, fixed, lambda x: x.T, batch, lengths, begins, ends, flank)
    return joined(spans, np.asarray(paths).T, np.asarray(borders).transpose(2, 0, 1), flank)


@given(st.integers(1, 3000), st.integers(2, 60), st.integers(1, 40))
def test_spans_cover_the_sequence(length: int, step: int, flank: int) -> None:
    size = step + 2 * flank
    spans = spans_of(length, size, flank)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    for (a, b), (c, d) in pairwise(spans):
        assert (b - a, c - a) == (size, step)
        assert c + flank == b - flank < d


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 400))
def test_what_is_proven_is_the_path_of_the_whole(seed: int, whole: bool, length: int) -> None:
    """Also with ties and masks; random scores make segments meet within some dozens of positions."""
    rng = np.random.default_rng(seed)
    graph = oracle.random_graph(rng, 5)
    scores = oracle.random_scores(rng, graph, whole=whole)
    emissions = oracle.random_emissions(rng, 1, length, 5, masked=0.1, whole=whole)
    found = in_segments(graph, scores, emissions[0], 100, 20)
    if found is not None:
        np.testing.assert_array_equal(found, viterbi(graph, scores, emissions, np.array([length]))[1][0])


def test_usually_it_is_proven() -> None:
    rng = np.random.default_rng(0)
    graph = oracle.random_graph(rng, 8)
    scores = oracle.random_scores(rng, graph)
    emissions = oracle.random_emissions(rng, 1, 5000, 8)
    found = in_segments(graph, scores, emissions[0], 400, 100)
    assert found is not None
    np.testing.assert_array_equal(found, viterbi(graph, scores, emissions, np.array([5000]))[1][0])


@pytest.mark.parametrize(("better", "at", "proven"), [(0, 2, True), (1, 2, False), (1, 950, False)])
def test_tracks_that_never_meet(better: int, at: int, *, proven: bool) -> None:
    """What decides lies in one segment, and the others cannot know it: but where they chose so anyway, it is proven."""
    edges = (Edge("a", "a", "w"), Edge("b", "b", "w"))
    graph = Graph(("a", "b"), edges, (("a", "w"), ("b", "w")), (("a", "w"), ("b", "w")))
    emissions = np.zeros((1000, 2), np.float32)
    emissions[at, better] = 1.0
    found = in_segments(graph, graph.scores({"w": 0.0}), emissions, 200, 40)
    assert (found is not None) == proven
    if found is not None:
        assert (found == better).all()
