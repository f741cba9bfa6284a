from __future__ import annotations

from collections import Counter

import hmm_oracle as oracle
import jax
import numpy as np
import pytest

from lstmhmm_bio.hmm.sampling import sample_paths


@pytest.mark.parametrize("seed", [0, 1])
def test_sample_frequencies_are_posteriors_of_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = oracle.random_graph(rng, 3)
    scores = oracle.random_scores(rng, graph)
    lengths, samples = np.array([4, 2, 0]), 20_000
    emissions = oracle.random_emissions(rng, 3, 4, 3)
    drawn = np.asarray(sample_paths(graph, scores, emissions, lengths, jax.random.key(seed), samples))
    assert drawn.shape == (samples, 3, 4)
    for b, length in enumerate(lengths):
        assert not drawn[:, b, length:].any()
        if not length:
            continue
        paths, totals = oracle.enumerate_paths(graph, scores, emissions[b, :length])
        expected = np.exp(totals - np.logaddexp.reduce(totals))
        counts = Counter(map(tuple, drawn[:, b, :length].tolist()))
        observed = np.array([counts.pop(tuple(path), 0) for path in paths.tolist()])
        assert not counts  # nothing off the graph
        # each count is binomial: five standard deviations and a half
        np.testing.assert_array_less(
            np.abs(observed - samples * expected), 5 * np.sqrt(samples * expected * (1 - expected)) + 0.5 + 1e-3
        )


def test_draws_depend_on_the_key_alone() -> None:
    rng = np.random.default_rng(2)
    graph = oracle.random_graph(rng, 4)
    scores, emissions = oracle.random_scores(rng, graph), oracle.random_emissions(rng, 1, 30, 4)
    first, again, other = (
        np.asarray(sample_paths(graph, scores, emissions, np.array([30]), jax.random.key(k), 2)) for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[0] != first[1]).any()
