from __future__ import annotations

import jax
import numpy as np
import pytest

from lstmhmm_bio.hmm.graph import NEG, Edge, Graph


def two_states() -> Graph:
    edges = (Edge("b", "a", "leave"), Edge("a", "a", "stay"), Edge("a", "b", "leave"), Edge("b", "b", "stay"))
    return Graph(("a", "b"), edges, (("a", "begin"),), (("b", "end"),))


def test_scores_spread_tied_weights() -> None:
    graph = two_states()
    assert graph.weights == ("begin", "end", "leave", "stay")
    scores = graph.scores({"begin": -1.0, "end": -2.0, "leave": -3.0, "stay": -4.0, "unused": 7.0})
    np.testing.assert_array_equal(scores.edges, [-3, -4, -3, -4])
    np.testing.assert_array_equal(scores.initial, [-1, NEG])
    np.testing.assert_array_equal(scores.final, [NEG, -2])


def test_gradient_of_a_tied_weight_sums_its_uses() -> None:
    weights = {"begin": -1.0, "end": -2.0, "leave": -3.0, "stay": -4.0}
    gradient = jax.grad(lambda p: two_states().scores(p).edges @ np.array([1.0, 2.0, 4.0, 8.0]))(weights)
    assert gradient == {"begin": 0.0, "end": 0.0, "leave": 5.0, "stay": 10.0}


def test_missing_parameter_is_named() -> None:
    with pytest.raises(ValueError, match="leave, stay"):
        two_states().scores({"begin": 0.0, "end": 0.0})


def test_predecessors_are_sorted_by_state() -> None:
    graph = two_states()
    assert [[tuple(arc) for arc in arcs] for arcs in graph.predecessors] == [[(0, 1), (1, 0)], [(0, 2), (1, 3)]]
    assert [[tuple(arc) for arc in arcs] for arcs in graph.successors] == [[(0, 1), (1, 2)], [(0, 0), (1, 3)]]


def test_equal_graphs_are_one_static_argument() -> None:
    assert two_states() == two_states()
    assert hash(two_states()) == hash(two_states())
    with_mappings = Graph(("a", "b"), two_states().edges, {"a": "begin"}, {"b": "end"})  # type: ignore[arg-type]
    assert with_mappings == two_states()


@pytest.mark.parametrize(
    ("states", "edges", "initial", "final", "message"),
    [
        (("a", "a"), (), ("a",), ("a",), "state 'a' appears twice"),
        (("a",), (("a", "x"),), ("a",), ("a",), "unknown state 'x'"),
        (("a",), (), ("x",), ("a",), "unknown state 'x' among the initial"),
        (("a",), (), ("a",), ("x",), "unknown state 'x' among the final"),
        (("a",), (), ("a", "a"), ("a",), "initial state 'a' appears twice"),
        (("a",), (), (), ("a",), "no initial state"),
        (("a",), (), ("a",), (), "no final state"),
        (("a", "b"), (("a", "b"), ("a", "b")), ("a",), ("b",), "edge 'a -> b' appears twice"),
        (("a", "b"), (("a", "a"), ("b", "a")), ("a",), ("a",), "state 'b' is unreachable"),
        (("a", "b"), (("a", "a"), ("a", "b")), ("a",), ("a",), "state 'b' is a dead end"),
    ],
)
def test_faulty_topology_is_refused(
    states: tuple[str, ...],
    edges: tuple[tuple[str, str], ...],
    initial: tuple[str, ...],
    final: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        Graph(
            states,
            tuple(Edge(source, target, "w") for source, target in edges),
            tuple((s, "w") for s in initial),
            tuple((s, "w") for s in final),
        )
