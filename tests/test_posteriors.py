"""Scaled posteriors against those in log space, which tests/test_hmm_recursions.py holds against enumeration."""

from __future__ import annotations

import hmm_oracle as oracle
import jax.numpy as jnp
import numpy as np
import pytest

from lstmhmm_bio.hmm.graph import NEG, Edge, Graph, Scores
from lstmhmm_bio.hmm.posteriors import group_posteriors
from lstmhmm_bio.hmm.recursions import forward_backward

LENGTHS = np.array([60, 1, 33, 0, 59], np.int32)


def grouped(graph: Graph, scores: Scores, emissions: np.ndarray, lengths: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """[batch, time, groups] of `group_posteriors`, from emissions [batch, time, states] as they are."""
    by_time = jnp.asarray(emissions.swapaxes(0, 1))
    found = group_posteriors(graph, scores, lambda x: x.T, by_time, jnp.asarray(lengths), groups)
    return np.asarray(found).transpose(2, 0, 1)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("spread", "masked"), [(0.1, 0.0), (1.0, 0.02), (10.0, 0.0)])
def test_equal_to_log_space(seed: int, spread: float, masked: float) -> None:
    rng = np.random.default_rng(seed)
    graph = oracle.random_graph(rng, 3 + seed % 4)
    scores = oracle.random_scores(rng, graph)
    emissions = spread * oracle.random_emissions(rng, len(LENGTHS), 60, len(graph.states), masked=masked)
    groups = rng.random((3, len(graph.states))) < 0.5
    groups[:, 0] = True  # none is empty
    log_z, posteriors = forward_backward(graph, scores, emissions, LENGTHS)
    possible = np.asarray(log_z) > NEG / 2
    found = grouped(graph, scores, emissions, LENGTHS, groups)
    assert possible.sum() >= 2  # the empty one, and others
    assert np.isfinite(found).all()
    expected = np.einsum("bts,gs->btg", posteriors, groups)
    np.testing.assert_allclose(found[possible], expected[possible], atol=3e-5)


@pytest.mark.parametrize("dip", [50.0, 68.0, 400.0])
def test_a_path_that_fell_far_behind_comes_back(dip: float) -> None:
    """In float32 a probability would be lost that is 88 nat smaller than another; here it is held."""
    loops = [Edge(s, s, f"stay {s}") for s in "ab"]
    graph = Graph(("a", "b"), tuple(loops), (("a", "in a"), ("b", "in b")), (("a", "out a"), ("b", "out b")))
    scores = graph.scores(dict.fromkeys(graph.weights, 0.0))
    emissions = np.zeros((1, 40, 2), np.float32)
    emissions[0, :10, 1] = -dip / 10
    emissions[0, 30:, 1] = (dip + 5) / 10  # in the end better by 5 nat
    found = grouped(graph, scores, emissions, np.array([40]), np.eye(2, dtype=bool))
    share = 1 / (1 + np.exp(-5.0))
    if dip < 69:
        np.testing.assert_allclose(found[0], np.tile([1 - share, share], (40, 1)), atol=1e-5)
    else:  # further behind than it is let fall: it comes back too strong, never as nothing
        np.testing.assert_allclose(found[0, :, 1], 1.0, atol=1e-5)


def test_no_overflow() -> None:
    graph = oracle.random_graph(np.random.default_rng(1), 3)
    scores = oracle.random_scores(np.random.default_rng(2), graph)
    emissions = np.full((1, 20, 3), 93.0, np.float32)
    found = grouped(graph, scores, emissions, np.array([20]), np.ones((1, 3), bool))
    np.testing.assert_allclose(found, 1.0, atol=1e-5)
