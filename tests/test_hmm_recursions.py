from __future__ import annotations

import itertools
import time
from functools import partial

import hmm_oracle as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmhmm_bio.hmm.grammars import eukaryote
from lstmhmm_bio.hmm.graph import NEG, Edge, Graph, Scores
from lstmhmm_bio.hmm.kernels import Gathered, Kernel, PointerLayout, Runs, Unrolled, kernel_of
from lstmhmm_bio.hmm.recursions import (
    close,
    filter_block,
    forward,
    forward_backward,
    partition,
    posteriors_blockwise,
    smooth_block,
    start,
)

LENGTHS = np.array([5, 1, 3, 0, 4], np.int32)


def small_case(seed: int, *, masked: float = 0.2) -> tuple[Graph, Scores, np.ndarray]:
    rng = np.random.default_rng(seed)
    graph = oracle.random_graph(rng, int(rng.integers(2, 6)))
    emissions = oracle.random_emissions(rng, len(LENGTHS), 5, len(graph.states), masked=masked)
    return graph, oracle.random_scores(rng, graph), emissions


def naive_log_z(graph: Graph, scores: Scores, emissions: jax.Array, lengths: jax.Array) -> jax.Array:
    """Forward with a dense transition matrix and nothing clever, for automatic differentiation."""
    source, target = ([graph.index[getattr(e, end)] for e in graph.edges] for end in ("source", "target"))
    n = len(graph.states)
    transition = jnp.full((n, n), -1e9).at[jnp.array(source), jnp.array(target)].set(scores.edges)

    def one(emissions: jax.Array, length: jax.Array) -> jax.Array:
        alpha = scores.initial + emissions[0]
        for t in range(1, len(emissions)):
            after = jax.nn.logsumexp(alpha[:, None] + transition, axis=0) + emissions[t]
            alpha = jnp.where(t < length, after, alpha)
        return jnp.where(length > 0, jax.nn.logsumexp(alpha + scores.final), 0.0)

    return jax.vmap(one)(emissions, lengths)


@pytest.mark.parametrize("seed", range(4))
def test_partition_posteriors_and_counts_by_enumeration(seed: int) -> None:
    graph, scores, emissions = small_case(seed)
    log_z, posteriors = forward_backward(graph, scores, emissions, LENGTHS)
    value, gradient = jax.value_and_grad(lambda s: forward(graph, s, emissions, LENGTHS).sum())(
        jax.tree.map(jnp.asarray, scores)
    )
    expected_z, counts = np.zeros(len(LENGTHS)), np.zeros(len(graph.edges))
    place = {(graph.index[e.source], graph.index[e.target]): k for k, e in enumerate(graph.edges)}
    ends = np.zeros((2, len(graph.states)))
    for b, length in enumerate(LENGTHS):
        expected = np.zeros(emissions.shape[1:])
        if length:
            paths, totals = oracle.enumerate_paths(graph, scores, emissions[b, :length])
            expected_z[b] = np.logaddexp.reduce(totals)
            for path, p in zip(paths, np.exp(totals - expected_z[b]), strict=True):
                expected[np.arange(length), path] += p
                ends[0, path[0]] += p
                ends[1, path[-1]] += p
                np.add.at(counts, [place[step] for step in itertools.pairwise(path)], p)
        np.testing.assert_allclose(posteriors[b], expected, atol=2e-3 if expected_z[b] < NEG / 2 else 2e-6)
    np.testing.assert_allclose(log_z, expected_z, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(value, expected_z.sum(), rtol=2e-6)
    np.testing.assert_allclose(gradient.edges, counts, atol=1e-2 if expected_z.min() < NEG / 2 else 5e-6)
    if expected_z.min() > NEG / 2:
        np.testing.assert_allclose(np.stack(gradient[1:]), ends, atol=5e-6)


@pytest.mark.parametrize("seed", [5, 6])
def test_gradient_equals_autodiff_of_a_plain_forward(seed: int) -> None:
    graph, scores, emissions = small_case(seed, masked=0.0)
    weights = np.random.default_rng(seed).normal(size=len(LENGTHS)).astype(np.float32)

    def loss(recursion: object, scores: Scores, emissions: jax.Array) -> jax.Array:
        return recursion(graph, scores, emissions, LENGTHS) @ weights  # type: ignore[operator]

    arguments = jax.tree.map(jnp.asarray, (scores, emissions))
    got, expected = (jax.jit(jax.grad(partial(loss, f), (0, 1)))(*arguments) for f in (forward, naive_log_z))
    jax.tree.map(partial(np.testing.assert_allclose, atol=3e-6), got, expected)


def test_gradient_equals_finite_differences() -> None:
    graph, scores, emissions = small_case(7, masked=0.0)
    loss = jax.jit(lambda s, x: forward(graph, s, x, LENGTHS).sum())
    arguments = jax.tree.map(jnp.asarray, (scores, emissions))
    gradient = jax.grad(loss, (0, 1))(*arguments)
    rng = np.random.default_rng(7)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), arguments)
    h = 1e-2

    def moved(step: float) -> jax.Array:
        return loss(*jax.tree.map(lambda x, d: x + step * d, arguments, direction))

    slope = sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    np.testing.assert_allclose((moved(h) - moved(-h)) / (2 * h), slope, rtol=2e-3)


def test_masks_leave_everything_finite() -> None:
    rng = np.random.default_rng(8)
    graph = oracle.random_graph(rng, 5)
    scores = jax.tree.map(jnp.asarray, oracle.random_scores(rng, graph))
    emissions = oracle.random_emissions(rng, 3, 400, 5, masked=0.5)
    emissions[0] = NEG  # no path at all
    emissions[1, :, 1:] = NEG  # one state for ever, whether it has a loop or not
    lengths = np.full(3, 400, np.int32)

    def loss(s: Scores, x: jax.Array) -> jax.Array:
        return forward(graph, s, x, lengths).sum()

    value, gradients = jax.value_and_grad(loss, (0, 1))(scores, jnp.asarray(emissions))
    assert np.isfinite(value)
    for leaf in jax.tree.leaves(gradients):
        assert np.isfinite(leaf).all()
    # each position is in one state, so its posteriors sum to 1
    np.testing.assert_allclose(gradients[1].sum(axis=2), 1.0, atol=1e-5)


@pytest.mark.parametrize("seed", [10, 11])
def test_padding_before_sequences_and_emissions_of_single_positions(seed: int) -> None:
    """The same log partition and gradients as of sequences that begin at once and of emissions made beforehand."""
    graph, scores, _ = small_case(seed)
    rng = np.random.default_rng(seed)
    states, time, batch = len(graph.states), 5, len(LENGTHS)
    weights = rng.normal(size=(2, states, 1)).astype(np.float32)
    factors = rng.normal(size=(batch, time)).astype(np.float32)
    allowed = rng.random((batch, time)) < 0.7
    cotangent = rng.normal(size=batch).astype(np.float32)

    def emit(factor: jax.Array, allowed: jax.Array) -> jax.Array:
        return jnp.where(allowed, weights[0] * factor, weights[1])

    def beforehand(scores: Scores, factors: jax.Array) -> jax.Array:
        emissions = jax.vmap(emit, (0, 0), 1)(factors, allowed)
        return forward(graph, scores, jnp.moveaxis(emissions, 0, -1), LENGTHS) @ cotangent

    begins = rng.integers(0, 4, batch).astype(np.int32)
    turned, open_ = rng.normal(size=(batch, 9)).astype(np.float32), np.ones((batch, 9), bool)
    for row, (a, n) in enumerate(zip(begins, LENGTHS, strict=True)):
        turned[row, a : a + n], open_[row, a : a + n] = factors[row, :n], allowed[row, :n]

    def inside(scores: Scores, turned: jax.Array) -> jax.Array:
        return partition(graph, emit, scores, turned, open_.T, jnp.asarray(begins), begins + LENGTHS) @ cotangent

    arguments = jax.tree.map(jnp.asarray, (scores, factors))
    value, (of_scores, of_factors) = jax.value_and_grad(beforehand, (0, 1))(*arguments)
    found, (turned_scores, turned_factors) = jax.value_and_grad(inside, (0, 1))(arguments[0], jnp.asarray(turned.T))
    np.testing.assert_allclose(found, value, rtol=1e-6)
    jax.tree.map(partial(np.testing.assert_allclose, atol=3e-6), turned_scores, of_scores)
    expected = np.zeros((batch, 9), np.float32)
    for row, (a, n) in enumerate(zip(begins, LENGTHS, strict=True)):
        expected[row, a : a + n] = of_factors[row, :n]
    np.testing.assert_allclose(turned_factors.T, expected, atol=3e-6)


def test_padding_is_ignored() -> None:
    graph, scores, emissions = small_case(9)
    padded = np.concatenate([emissions, np.full_like(emissions, 50.0)], axis=1)
    log_z, posteriors = forward_backward(graph, scores, emissions, LENGTHS)
    log_z_padded, posteriors_padded = forward_backward(graph, scores, padded, LENGTHS)
    np.testing.assert_array_equal(log_z, log_z_padded)
    np.testing.assert_array_equal(posteriors, posteriors_padded[:, : emissions.shape[1]])
    assert not posteriors_padded[:, emissions.shape[1] :].any()


def test_log_partition_stays_accurate_over_a_long_sequence() -> None:
    """With free transitions the partition factorises over positions: an exact answer for a million of them."""
    states, length = ("a", "b"), 1_000_000
    graph = Graph(
        states,
        tuple(Edge(i, j, "w") for i in states for j in states),
        tuple((s, "w") for s in states),
        tuple((s, "w") for s in states),
    )
    emissions = np.random.default_rng(10).normal(-3, 1, (1, length, 2)).astype(np.float32)
    log_z = jax.jit(forward, static_argnums=0)(graph, graph.scores({"w": 0.0}), emissions, np.array([length]))
    expected = np.logaddexp(*emissions[0].astype(np.float64).T).sum()
    np.testing.assert_allclose(log_z[0], expected, rtol=3e-7)


@pytest.mark.parametrize(("states", "density"), [(1, 1.0), (3, 0.0), (12, 0.2), (40, 0.06)])
def test_kernels_agree(states: int, density: float) -> None:
    """A ring without other edges has one predecessor per state; 40 states need several words of pointers."""
    rng = np.random.default_rng(states)
    graph = oracle.random_graph(rng, states, density)
    scores, emissions = oracle.random_scores(rng, graph), oracle.random_emissions(rng, 3, 20, states, masked=0.1)
    by_time, lengths = np.transpose(emissions, (1, 2, 0)), np.array([20, 7, 13])

    def posteriors(kernel: Kernel) -> tuple[jax.Array, ...]:
        last, history = filter_block(kernel, scores, start(graph, 3), by_time, lengths)
        at_end, log_z = close(scores, last, lengths)
        return log_z, *smooth_block(kernel, scores.edges, history, at_end, jnp.int32(0), lengths)

    gathered, unrolled = Gathered(graph), Unrolled(graph)
    for got, expected in zip(*(jax.jit(posteriors, static_argnums=0)(k) for k in (gathered, unrolled)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    whole = jnp.asarray(rng.integers(-9, 9, (states, 3)), jnp.int32)
    edges = jnp.asarray(rng.integers(-2, 2, len(graph.edges)), jnp.int32)
    choices = (jax.jit(kernel.max_sum)(edges, whole) for kernel in (gathered, unrolled))
    for got, expected in zip(*choices, strict=True):
        np.testing.assert_array_equal(got, expected)
    if states == 40:
        assert PointerLayout(graph).words > 1


def chained_graph(rng: np.random.Generator, hubs: int) -> Graph:
    """A random graph whose states are the heads of chains of 0 to 9 states, in and against their order."""
    heads = oracle.random_graph(rng, hubs, 0.3)
    chains = {name: [name, *(f"{name}.{i}" for i in range(rng.integers(0, 10)))] for name in heads.states}
    order = [chain if rng.random() < 0.8 else chain[::-1] for chain in chains.values()]
    edges = [Edge(a, b, "chain") for chain in chains.values() for a, b in itertools.pairwise(chain)]
    edges += [Edge(chains[e.source][-1], e.target, e.weight) for e in heads.edges]
    rng.shuffle(edges)
    final = tuple((chain[-1], "end") for chain in chains.values())
    return Graph(tuple(itertools.chain(*order)), tuple(edges), heads.initial, final)


@pytest.mark.parametrize("case", ["one head", "four heads", "nine heads", "no chain", "introns"])
def test_runs_agree_with_gathered(case: str) -> None:
    """Exactly in integers, ties and back-pointers too, and to rounding in log sums."""
    rng = np.random.default_rng(len(case))
    graph = {
        "one head": lambda: chained_graph(rng, 1),
        "four heads": lambda: chained_graph(rng, 4),
        "nine heads": lambda: chained_graph(rng, 9),
        "no chain": lambda: oracle.random_graph(rng, 12, 0.2),
        "introns": lambda: eukaryote.grammar(34, memory=True).graph,
    }[case]()
    runs, gathered, states = Runs(graph), Gathered(graph), len(graph.states)
    assert [state for first, end in runs.pieces for state in range(first, end)] == list(range(states))
    if "heads" in case or case == "introns":
        assert len(runs.pieces) < states
    steps = [jax.jit(kernel.max_sum) for kernel in (runs, gathered)]
    for _ in range(5):
        whole = jnp.asarray(rng.integers(-4, 4, (states, 3)), jnp.int32)
        edges = jnp.asarray(rng.integers(-2, 2, len(graph.edges)), jnp.int32)
        for got, expected in zip(*(step(edges, whole) for step in steps), strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)
    scores = jnp.asarray(3 * rng.normal(size=(states, 3)), jnp.float32).at[0, 1].set(NEG)
    weights = jnp.asarray(rng.normal(size=len(graph.edges)), jnp.float32)
    sums = [jax.jit(kernel.log_sum)(weights, scores) for kernel in (runs, gathered)]
    np.testing.assert_allclose(*sums, rtol=1e-6, atol=1e-6)


def test_the_kernel_is_chosen_by_the_graph() -> None:
    assert isinstance(kernel_of(eukaryote.grammar(34, memory=True).graph), Runs)
    assert isinstance(kernel_of(eukaryote.grammar(eukaryote.LONGEST_MINIMUM, memory=True).graph), Runs)
    assert isinstance(kernel_of(eukaryote.TRAINING.graph), Unrolled)
    assert isinstance(kernel_of(oracle.random_graph(np.random.default_rng(0), 120, 0.05)), Gathered)


@pytest.mark.parametrize("block_size", [7, 64])
def test_blockwise_posteriors_equal_those_of_the_whole(block_size: int) -> None:
    rng = np.random.default_rng(11)
    graph = oracle.random_graph(rng, 5, 0.3)
    scores = oracle.random_scores(rng, graph)
    lengths = np.array([200, 131], np.int32)
    emissions = oracle.random_emissions(rng, 2, 200, 5, masked=0.1)
    log_z, expected = forward_backward(graph, scores, emissions, lengths)
    blocks = -(-200 // block_size)
    padded = np.pad(emissions, ((0, 0), (0, blocks * block_size - 200), (0, 0)), constant_values=3.0)

    def block(i: int) -> jax.Array:
        return jnp.asarray(padded[:, i * block_size : (i + 1) * block_size])

    groups = rng.random((5, 2)).astype(np.float32)
    for table, answer in ((None, expected), (groups, expected @ groups)):
        got_z, pieces = posteriors_blockwise(graph, scores, block, blocks, lengths, table)
        indices, arrays = zip(*pieces, strict=True)
        assert indices == tuple(reversed(range(blocks)))
        np.testing.assert_allclose(np.concatenate(arrays[::-1], axis=1)[:, :200], answer, atol=1e-6)
        np.testing.assert_allclose(got_z, log_z, rtol=1e-6)


@pytest.mark.slow
def test_time_is_linear_in_length() -> None:
    """Some XLA releases copy a scan's whole output at every step that writes little."""
    graph = oracle.random_graph(np.random.default_rng(12), 5)
    scores = oracle.random_scores(np.random.default_rng(12), graph)

    def seconds(length: int) -> float:
        emissions, lengths = jnp.zeros((1, length, 5)), jnp.array([length])
        run = jax.jit(forward_backward, static_argnums=0).lower(graph, scores, emissions, lengths).compile()
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            jax.block_until_ready(run(scores, emissions, lengths))
            times.append(time.perf_counter() - begin)
        return min(times)

    assert seconds(200_000) < 25 * seconds(20_000)
