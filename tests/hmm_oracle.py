"""Random small graphs and answers by enumerating every path, in float64, for the tests of `lstmhmm_bio.hmm`."""

from __future__ import annotations

import itertools

import numpy as np

from lstmhmm_bio.hmm.graph import NEG, Edge, Graph, Scores


def random_graph(rng: np.random.Generator, states: int, density: float = 0.5) -> Graph:
    """A random sparse graph in which a ring keeps every state alive; weights are tied at random."""
    names = [f"s{i}" for i in range(states)]
    ring = {(i, (i + 1) % states) for i in range(states)}
    pairs = [p for p in itertools.product(range(states), repeat=2) if p in ring or rng.random() < density]
    rng.shuffle(pairs)
    edges = tuple(Edge(names[i], names[j], f"w{rng.integers(4)}") for i, j in pairs)
    some = [names[i] for i in sorted(rng.choice(states, rng.integers(1, states + 1), replace=False))]
    ends = [names[i] for i in sorted(rng.choice(states, rng.integers(1, states + 1), replace=False))]
    return Graph(tuple(names), edges, tuple((s, "w1") for s in some), tuple((s, "end") for s in ends))


def random_scores(rng: np.random.Generator, graph: Graph, *, whole: bool = False) -> Scores:
    """Scores with a value of its own on every edge; small integers if `whole`."""
    draw = (lambda n: rng.integers(-2, 2, n)) if whole else (lambda n: rng.normal(size=n))
    index = graph.index
    initial, final = np.full((2, len(graph.states)), NEG)
    for table, pairs in ((initial, graph.initial), (final, graph.final)):
        table[[index[s] for s, _ in pairs]] = draw(len(pairs))
    return Scores(*(np.asarray(x, np.float32) for x in (draw(len(graph.edges)), initial, final)))


def random_emissions(
    rng: np.random.Generator, batch: int, time: int, states: int, *, masked: float = 0.0, whole: bool = False
) -> np.ndarray:
    """[batch, time, states] float32 with a share of hard masks."""
    shape = (batch, time, states)
    values = rng.integers(-2, 2, shape) if whole else 2 * rng.normal(size=shape)
    return np.where(rng.random(shape) < masked, NEG, values).astype(np.float32)


def enumerate_paths(graph: Graph, scores: Scores, emissions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All paths [paths, time] through one sequence's emissions [time, states] and their scores [paths]."""
    edge = {(graph.index[e.source], graph.index[e.target]): float(scores.edges[k]) for k, e in enumerate(graph.edges)}
    paths, totals = [], []
    for path in itertools.product(range(len(graph.states)), repeat=len(emissions)):
        steps = list(itertools.pairwise(path))
        if all(step in edge for step in steps):
            paths.append(path)
            total = float(scores.initial[path[0]]) + float(scores.final[path[-1]]) + sum(edge[s] for s in steps)
            totals.append(total + sum(float(emissions[t, s]) for t, s in enumerate(path)))
    return np.array(paths), np.array(totals)


def best_path(paths: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """The best path; of equals the one whose last state is lowest, then the one before it, and so on."""
    ties = paths[totals >= totals.max() - 1e-9]
    return min(ties, key=lambda path: tuple(path[::-1]))


def viterbi_reference(graph: Graph, scores: Scores, emissions: np.ndarray) -> tuple[float, np.ndarray]:
    """Viterbi over one sequence [time, states] in plain 64-bit integers of 1/1024 nat: score in nat and path."""

    def fixed(x: np.ndarray) -> np.ndarray:
        return np.round(np.clip(np.asarray(x, np.float32), -1e4, 1e4) * np.float32(1024)).astype(np.int64)

    edges, initial, final = (fixed(x) for x in scores)
    values = fixed(emissions)
    transition = np.full((len(graph.states),) * 2, -(10**15))
    for k, e in enumerate(graph.edges):
        transition[graph.index[e.source], graph.index[e.target]] = edges[k]
    best = initial + values[0]
    back = []
    for row in values[1:]:
        candidates = best[:, None] + transition
        back.append(candidates.argmax(axis=0))
        best = candidates.max(axis=0) + row
    path = [int((best + final).argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return float((best + final).max()) / 1024, np.array(path[::-1])
