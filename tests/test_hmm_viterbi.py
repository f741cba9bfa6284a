from __future__ import annotations

import hmm_oracle as oracle
import jax.numpy as jnp
import numpy as np
import pytest

from lstmhmm_bio.hmm.graph import NEG, Edge, Graph, Scores
from lstmhmm_bio.hmm.viterbi import ViterbiDecoder, to_fixed, viterbi


def decode_online(
    graph: Graph, scores: Scores, emissions: np.ndarray, sizes: list[int], shape: int, max_pending: int | None = None
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Decodes blocks of the given sizes, each padded to one shape: scores, path and what every push returned."""
    borders = np.cumsum([0, *sizes])

    def block(i: int) -> jnp.ndarray:
        piece = emissions[:, borders[i] : borders[i + 1]]
        return jnp.asarray(np.pad(piece, ((0, 0), (0, shape - piece.shape[1]), (0, 0)), constant_values=9.0))

    decoder = (
        ViterbiDecoder(graph, scores, len(emissions))
        if max_pending is None
        else ViterbiDecoder(graph, scores, len(emissions), recompute=block, max_pending=max_pending)
    )
    pieces = [decoder.push(block(i), size) for i, size in enumerate(sizes)]
    score, rest = decoder.finish()
    return score, np.concatenate([*pieces, rest], axis=1), [piece.shape[1] for piece in pieces]


def random_sizes(rng: np.random.Generator, total: int, largest: int) -> list[int]:
    sizes: list[int] = []
    while sum(sizes) < total:
        sizes.append(min(int(rng.integers(0, largest + 1)), total - sum(sizes)))
    return sizes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("whole", [False, True], ids=["real scores", "many ties"])
def test_best_path_by_enumeration(seed: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = oracle.random_graph(rng, int(rng.integers(2, 6)))
    scores = oracle.random_scores(rng, graph, whole=whole)
    lengths = np.array([5, 1, 3, 0, 4])
    emissions = oracle.random_emissions(rng, 5, 5, len(graph.states), masked=0.15, whole=whole)
    scores, emissions = Scores(*(np.round(x * 1024) / 1024 for x in scores)), np.round(emissions * 1024) / 1024
    score, path = viterbi(graph, scores, emissions, lengths)
    assert path.dtype == np.uint8
    for b, length in enumerate(lengths):
        assert not path[b, length:].any()
        if not length:
            assert score[b] == 0
            continue
        paths, totals = oracle.enumerate_paths(graph, scores, emissions[b, :length])
        np.testing.assert_allclose(score[b], totals.max(), rtol=0, atol=1e-9)
        if totals.max() > NEG / 2:
            np.testing.assert_array_equal(path[b, :length], oracle.best_path(paths, totals))


@pytest.mark.parametrize("states", [4, 40, 120])
@pytest.mark.parametrize("whole", [False, True], ids=["real scores", "many ties"])
def test_online_equals_at_once_equals_reference(states: int, whole: bool) -> None:
    """120 states take the gathering kernel, 40 and 120 several words of back-pointers."""
    rng = np.random.default_rng(states)
    graph = oracle.random_graph(rng, states, 3 / states)
    scores = oracle.random_scores(rng, graph, whole=whole)
    emissions = oracle.random_emissions(rng, 2, 900, states, masked=0.1, whole=whole)
    score, path = viterbi(graph, scores, emissions, np.array([900, 900]))
    for b in range(2):
        expected_score, expected = oracle.viterbi_reference(graph, scores, emissions[b])
        assert score[b] == expected_score
        np.testing.assert_array_equal(path[b], expected)
    for sizes in ([1] * 40 + [300, 300, 260], random_sizes(rng, 900, 60), random_sizes(rng, 900, 300)):
        online_score, online, decided = decode_online(graph, scores, emissions, sizes, 300)
        np.testing.assert_array_equal(online, path)
        np.testing.assert_array_equal(online_score, score)
    assert sum(decided) > 0


def parallel_tracks() -> Graph:
    """Two loops that never meet: nothing is decided before the end."""
    edges = (Edge("a", "a", "w"), Edge("b", "b", "w"), Edge("a", "end", "w"), Edge("b", "end", "w"))
    return Graph(("a", "b", "end"), edges, (("a", "w"), ("b", "w")), (("end", "w"),))


@pytest.mark.parametrize("max_pending", [None, 1, 3])
def test_what_never_coalesces_is_decided_at_the_end(max_pending: int | None) -> None:
    graph = parallel_tracks()
    scores = graph.scores({"w": 0.0})
    emissions = np.zeros((2, 500, 3), np.float32)
    emissions[1, 3, 1] = 0.5
    score, path, decided = decode_online(graph, scores, emissions, [50] * 10, 50, max_pending)
    assert decided == [0] * 10
    # the first sequence is a tie that the lowest state wins, also for the last state; the second prefers track b
    np.testing.assert_array_equal(path[0], [0] * 499 + [2])
    np.testing.assert_array_equal(path[1], [1] * 499 + [2])
    np.testing.assert_array_equal(score, [0, 0.5])


def test_dropped_pointers_are_recomputed() -> None:
    rng = np.random.default_rng(3)
    graph = oracle.random_graph(rng, 6, 0.2)
    scores = oracle.random_scores(rng, graph)
    emissions = oracle.random_emissions(rng, 2, 600, 6)
    emissions[:, 100:400] = 0.0
    sizes = random_sizes(rng, 600, 12)
    expected = viterbi(graph, scores, emissions, np.array([600, 600]))
    for max_pending in (1, 2):
        score, path, _ = decode_online(graph, scores, emissions, sizes, 12, max_pending)
        np.testing.assert_array_equal(score, expected[0])
        np.testing.assert_array_equal(path, expected[1])


def test_long_masks_neither_overflow_nor_wrap() -> None:
    """One state is masked 30,000 times over, and a million nat are won by the other."""
    graph = Graph(
        ("a", "b"),
        tuple(Edge(i, j, "w") for i in "ab" for j in "ab" if (i, j) != ("a", "b")),
        (("a", "w"), ("b", "w")),
        (("a", "w"), ("b", "w")),
    )
    emissions = np.full((1, 30_000, 2), [NEG, 9000.0], np.float32)
    score, path = viterbi(graph, graph.scores({"w": -1.0}), emissions, np.array([30_000]))
    assert (path == 1).all()
    assert score[0] == 30_000 * 9000 - 30_001


def test_fixed_point_is_rounded_and_clipped() -> None:
    np.testing.assert_array_equal(to_fixed(jnp.array([1.0, -0.5 / 1024, 1.6 / 1024, NEG, -1e9, 1e9])), [
        1024, 0, 2, -10_240_000, -10_240_000, 10_240_000,
    ])  # fmt: skip


def test_an_unfinished_decoder_has_nothing() -> None:
    graph = parallel_tracks()
    score, path = ViterbiDecoder(graph, graph.scores({"w": 0.0}), 2).finish()
    assert path.shape == (2, 0)
    np.testing.assert_array_equal(score, [0, 0])


def test_too_many_states_for_a_byte() -> None:
    graph = oracle.random_graph(np.random.default_rng(0), 257, 0.0)
    with pytest.raises(ValueError, match="256 states"):
        ViterbiDecoder(graph, oracle.random_scores(np.random.default_rng(0), graph))
