"""The chain kernel against the enumeration of all paths and against a plain recursion in log space."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmhmm_bio.hmm.chain import (
    Chain,
    Flanks,
    forward,
    forward_rows,
    forward_scores,
    length_model,
    pad_length,
    parse,
    posteriors,
)
from lstmhmm_bio.hmm.chain_paths import optimal_accuracy, sample, viterbi
from lstmhmm_bio.hmm.ungapped import ungapped_scores

CODES = 3
PAD = CODES  # a code that nothing emits


def random_chain(rng: np.random.Generator, size: int, *, local: bool = True, width: int = 64) -> Chain:
    """A chain of `size` nodes, padded to `width`."""

    def pad(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - size)]).astype(np.float32)

    out = np.stack(
        [rng.dirichlet([6, 1, 1], size), rng.dirichlet([3, 2, 0.01], size), rng.dirichlet([3, 2, 0.01], size)]
    )
    out[:, -1] = 0
    leave = np.ones(size) if local else np.eye(size)[-1]
    match = np.vstack([rng.gamma(1, 1, (CODES, size)), np.zeros(size)])
    emits = np.append(np.ones(CODES), 0).astype(np.float32)
    mm, mi, md = out[0].T
    (im, ii, _), (dm, dd, _) = out[1].T, out[2].T
    return Chain(
        pad(match), emits, pad(rng.dirichlet(np.ones(size))), pad(leave), *map(pad, (mm, mi, md, im, ii, dm, dd))
    )


def edges(chain: Chain, flanks: Flanks, size: int) -> dict[tuple, float]:
    """All transitions of one sequence's model by (from, to)."""
    loop, move, again, end = (float(x[0]) for x in flanks)
    out: dict[tuple, float] = {("S", "N"): 1.0, ("E", "J"): again, ("E", "C"): end, ("C", "T"): move}
    for x in "NJ":
        out[x, "B"] = move
    for x in "NJC":
        out[x, x] = loop
    for k in range(size):
        out["B", ("M", k)] = chain.enter[k]
        out["M", k], out["I", k] = {}, {}  # type: ignore[assignment]
        for x in "MD":
            out[(x, k), "E"] = chain.leave[k]
        out[("M", k), ("I", k)], out[("I", k), ("I", k)] = chain.mi[k], chain.ii[k]
        if k + 1 < size:
            for x, t in (("M", chain.mm), ("I", chain.im), ("D", chain.dm)):
                out[(x, k), ("M", k + 1)] = t[k]
            for x, t in (("M", chain.md), ("D", chain.dd)):
                out[(x, k), ("D", k + 1)] = t[k]
    return {pair: float(p) for pair, p in out.items() if not isinstance(p, dict) and p > 0}


def all_paths(chain: Chain, flanks: Flanks, size: int, codes: list[int]) -> list[tuple[float, list]]:
    """Odds of every path that emits the sequence, and the states with the number of residues emitted before each."""
    following: dict = {}
    for (a, b), p in edges(chain, flanks, size).items():
        following.setdefault(a, []).append((b, p))
    found = []

    def extend(state: object, used: int, odds: float, path: list) -> None:
        if state == "T":
            if used == len(codes):
                found.append((odds, path))
            return
        for to, p in following.get(state, ()):
            emits = to[0] in "MI" if isinstance(to, tuple) else to in "NJC" and to == state
            emission = 1.0
            if emits:
                if used == len(codes):
                    continue
                if isinstance(to, tuple) and to[0] == "M":
                    emission = float(chain.match[codes[used], to[1]])
            extend(to, used + emits, odds * p * emission, [*path, (to, used + emits)])

    extend("S", 0, 1.0, [])
    return found


def one(codes: list[int], time: int = 8) -> tuple[np.ndarray, np.ndarray]:
    padded = np.full((1, time), PAD, np.uint8)
    padded[0, : len(codes)] = codes
    return padded, np.array([len(codes)], np.int32)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("multihit", [True, False])
def test_every_path(local: bool, multihit: bool) -> None:
    rng = np.random.default_rng(int(local) + 2 * int(multihit))
    size, codes = 3, [0, 2, 1, 1]
    chain = random_chain(rng, size, local=local)
    padded, lengths = one(codes)
    flanks = length_model(lengths, multihit=multihit)
    paths = all_paths(chain, flanks, size, codes)
    assert len(paths) > 20
    odds = np.array([p for p, _ in paths])
    total = np.log(odds.sum())
    np.testing.assert_allclose(forward_scores(chain, flanks, padded, lengths), [total], rtol=1e-5)
    np.testing.assert_allclose(forward(chain, flanks, padded, lengths), [total], rtol=1e-5)

    best = max(paths, key=lambda x: x[0])
    found = viterbi(chain, flanks, padded, lengths)
    np.testing.assert_allclose(found.score, [np.log(best[0])], rtol=1e-5)
    node = np.zeros(8, int)
    inserted = np.zeros(8, bool)
    for state, used in best[1]:
        if isinstance(state, tuple) and state[0] in "MI":
            node[used - 1], inserted[used - 1] = state[1] + 1, state[0] == "I"
    np.testing.assert_array_equal(found.node[0], node)
    np.testing.assert_array_equal(found.inserted[0], inserted)

    begin, end, outside = np.zeros(8), np.zeros(8), np.zeros(8)
    match, insert = np.zeros((8, size)), np.zeros((8, size))
    for p, path in paths:
        previous = "S"
        for state, used in path:
            if state == "B":
                begin[used] += p
            elif state == "E":
                end[used - 1] += p
            elif isinstance(state, tuple):
                if state[0] == "M":
                    match[used - 1, state[1]] += p
                elif state[0] == "I":
                    insert[used - 1, state[1]] += p
            elif state == previous:
                outside[used - 1] += p
            previous = state
    parsed = parse(chain, flanks, padded, lengths)
    for ours, expected in ((parsed.begin, begin), (parsed.end, end), (parsed.outside, outside)):
        np.testing.assert_allclose(ours[0], expected / odds.sum(), atol=1e-5)
    posterior = posteriors(chain, flanks, padded, lengths)
    np.testing.assert_allclose(posterior.match[:, 0, :size], match / odds.sum(), atol=1e-5)
    np.testing.assert_allclose(posterior.insert[:, 0, :size], insert / odds.sum(), atol=1e-5)
    np.testing.assert_allclose(posterior.outside[:, 0].sum(axis=-1), outside / odds.sum(), atol=1e-5)

    # the path of most expected rightly placed residues, by trying all
    def gain(path: list) -> float:
        total, previous = 0.0, "S"
        for state, used in path:
            if isinstance(state, tuple):
                total += {"M": match, "I": insert}.get(state[0], np.zeros((8, size)))[used - 1, state[1]]
            elif state == previous:
                total += float(posterior.outside[used - 1, 0, "NJC".index(state)]) * odds.sum()
            previous = state
        return total / odds.sum()

    accurate = optimal_accuracy(chain, flanks, posterior, lengths)
    np.testing.assert_allclose(accurate.score, [max(gain(path) for _, path in paths)], atol=1e-5)


def slow_forward(chain: Chain, flanks: Flanks, row: int, codes: np.ndarray) -> float:
    """The textbook recursion, float64 in log space, one state after another."""
    with np.errstate(divide="ignore"):
        logs = Chain(*(np.log(np.asarray(x, float)) for x in chain))
        loop, move, again, end = (np.log(np.asarray(x, float))[row] for x in flanks)
    size = len(logs.enter)
    m = i = d = np.full(size, -np.inf)
    n, j, c = 0.0, -np.inf, -np.inf
    for x in codes:
        b = np.logaddexp(n, j) + move
        new_m, new_i, new_d = (np.full(size, -np.inf) for _ in range(3))
        for k in range(size):
            ways = [b + logs.enter[k]]
            if k:
                ways += [m[k - 1] + logs.mm[k - 1], i[k - 1] + logs.im[k - 1], d[k - 1] + logs.dm[k - 1]]
                new_d[k] = np.logaddexp(new_m[k - 1] + logs.md[k - 1], new_d[k - 1] + logs.dd[k - 1])
            new_m[k] = logs.match[x, k] + np.logaddexp.reduce(ways)
            new_i[k] = logs.insert[x] + np.logaddexp(m[k] + logs.mi[k], i[k] + logs.ii[k])
        m, i, d = new_m, new_i, new_d
        e = np.logaddexp.reduce(np.concatenate([m + logs.leave, d + logs.leave]))
        n, j, c = n + loop, np.logaddexp(j + loop, e + again), np.logaddexp(c + loop, e + end)
    return float(c + move)


def test_sampled_paths_have_the_posterior_distribution() -> None:
    """Frequencies of all places as posterior decoding has them; of each sequence as if it were alone."""
    rng, samples = np.random.default_rng(5), 4000
    size, lengths = 9, np.array([30, 0, 17, 5], np.int32)
    chain = random_chain(rng, size)
    codes = np.full((4, 32), PAD, np.uint8)
    for row, length in enumerate(lengths):
        codes[row, :length] = rng.integers(0, CODES, length)
    flanks = length_model(np.array([30, 1, 17, 5]), multihit=True)
    order = rng.permutation(128).astype(np.int32)

    def drawn(rows: slice) -> list[np.ndarray]:
        borders = Flanks(*(x[rows] for x in flanks))
        _, kept = forward_rows(chain, borders, codes[rows], lengths[rows])
        return [np.asarray(x) for x in sample(chain, borders, kept, lengths[rows], order, np.uint32(7), samples)]

    node, inserted, first = drawn(slice(None))
    assert not node[1].any()
    expected = posteriors(chain, flanks, codes, lengths)
    begin = np.asarray(parse(chain, flanks, codes, lengths).begin)

    def close(found: np.ndarray, probability: np.ndarray) -> None:
        spread = np.sqrt(probability * (1 - probability) / samples)
        np.testing.assert_array_less(abs(found - probability), 5 * spread + 1e-3)

    for row, length in enumerate(lengths):
        assert not node[row, :, length:].any()
        for k in range(1, size + 1):
            here = node[row] == k
            close((here & ~inserted[row]).mean(axis=0), np.asarray(expected.match)[:, row, k - 1])
            close((here & inserted[row]).mean(axis=0), np.asarray(expected.insert)[:, row, k - 1])
        close(first[row].mean(axis=0), begin[row])
        if length:
            for together, alone in zip((node, inserted, first), drawn(slice(row, row + 1)), strict=True):
                np.testing.assert_array_equal(together[row], alone[0])


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 60),
    lengths=st.lists(st.integers(1, 70), min_size=4, max_size=4),
    local=st.booleans(),
    multihit=st.booleans(),
)
@settings(max_examples=8)
def test_recursion_in_log_space(seed: int, size: int, lengths: list[int], local: bool, multihit: bool) -> None:
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, size, local=local)
    codes = rng.integers(0, CODES, (4, 70)).astype(np.uint8)  # what lies beyond a length must not matter
    for row, length in enumerate(lengths):
        codes[row, :length] = rng.integers(0, CODES, length)
    flanks = length_model(np.array(lengths), multihit=multihit)
    expected = [slow_forward(chain, flanks, row, codes[row, :n]) for row, n in enumerate(lengths)]
    within = np.array(expected) > -60  # nat: beyond, a glocal alignment is lost among the flanks
    ours = np.asarray(forward_scores(chain, flanks, codes, np.array(lengths)))
    np.testing.assert_allclose(ours[within], np.array(expected)[within], rtol=1e-4, atol=1e-4)


def test_repeats_of_a_strong_match_stay_in_range() -> None:
    """Odds of 1000**2000 and back: exponents are kept apart, and posteriors still add up."""
    size, length = 20, 2000
    chain = random_chain(np.random.default_rng(0), size)
    chain = chain._replace(match=np.where(chain.match > 0, 1000, 0).astype(np.float32))
    codes = np.zeros((1, length), np.uint8)
    lengths = np.array([length], np.int32)
    flanks = length_model(lengths, multihit=True)
    parsed = parse(chain, flanks, codes, lengths)
    assert 10_000 < float(parsed.score[0]) < np.log(1000) * length
    assert np.isfinite(np.asarray(parsed.outside)).all()
    np.testing.assert_allclose(parsed.begin.sum(), parsed.end.sum(), rtol=1e-3)


def test_unread_codes_and_padding_change_nothing() -> None:
    rng = np.random.default_rng(5)
    chain = random_chain(rng, 30)
    codes = rng.integers(0, CODES, (3, 40)).astype(np.uint8)
    lengths = np.array([40, 17, 0], np.int32)
    flanks = length_model(lengths, multihit=True)
    score = np.asarray(forward_scores(chain, flanks, codes, lengths))
    alone = forward_scores(chain, length_model(lengths[1:2], multihit=True), codes[1:2, :17], lengths[1:2])
    np.testing.assert_allclose(score[1], alone[0], rtol=1e-6)
    assert score[2] == -np.inf
    parsed = parse(chain, flanks, codes, lengths)
    assert not np.asarray(parsed.begin)[1, 17:].any()
    assert not np.asarray(parsed.outside)[2].any()


def test_gradient() -> None:
    """d log Z / d log(enter_k) is the expected number of entries at k: they add up to the expected hits."""
    rng = np.random.default_rng(7)
    chain = random_chain(rng, 10)
    codes = rng.integers(0, CODES, (2, 12)).astype(np.uint8)
    lengths = np.array([12, 9], np.int32)
    flanks = length_model(lengths, multihit=True)

    def total(enter: jax.Array) -> jax.Array:
        return forward(chain._replace(enter=enter), flanks, codes, lengths).sum()

    gradient = jax.grad(total)(chain.enter) * chain.enter
    np.testing.assert_allclose(gradient.sum(), parse(chain, flanks, codes, lengths).begin.sum(), rtol=1e-4)


def test_other_parameters_compile_nothing() -> None:
    rng = np.random.default_rng(9)
    codes, lengths = one([0, 1, 2])
    flanks = length_model(lengths, multihit=True)
    forward_scores(random_chain(rng, 5), flanks, codes, lengths)
    compiled = forward_scores._cache_size()
    for size in (1, 17, 64):
        forward_scores(random_chain(rng, size), flanks, codes, lengths)
    assert forward_scores._cache_size() == compiled


@pytest.mark.parametrize(("length", "padded"), [(1, 64), (64, 64), (65, 128), (1024, 1024), (1025, 2048), (2049, 3072)])
def test_padded_lengths(length: int, padded: int) -> None:
    assert pad_length(length) == padded


def test_lengths_of_paths() -> None:
    """The flanks' model emits as many residues as there are, on average."""
    for multihit, visits in ((True, 3), (False, 2)):
        flanks = length_model(np.array([100]), multihit=multihit)
        assert visits * flanks.loop[0] / flanks.move[0] == pytest.approx(100, rel=1e-4)
    assert list(itertools.chain(*length_model(np.array([7]), multihit=False)[2:])) == [0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_ungapped_scores_are_those_of_a_chain_without_gaps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, width, codes_of = 5, 8, 4
    odds = np.zeros((codes_of, width), np.float32)
    odds[:, :size] = np.exp(rng.normal(0, 2, (codes_of, size)))
    zero = np.zeros(width, np.float32)
    linked = np.where(np.arange(width) < size, 1, 0).astype(np.float32)
    enter = linked * np.float32(2 / (size * (size + 1)))
    chain = Chain(odds, np.ones(codes_of, np.float32), enter, linked, linked, *[zero] * 6)  # no gaps
    codes = rng.integers(0, codes_of, (6, 20)).astype(np.uint8)
    lengths = np.array([20, 1, 7, 13, 2, 20], np.int32)
    flanks = length_model(lengths, multihit=True)
    with np.errstate(divide="ignore"):
        log_odds = np.maximum(np.log(odds), -1e4)
    ours = ungapped_scores(log_odds, np.float32(size), flanks, codes, lengths)
    np.testing.assert_allclose(ours, viterbi(chain, flanks, codes, lengths).score, rtol=1e-5, atol=1e-4)
