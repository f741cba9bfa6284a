"""Densities and Baum-Welch: likelihoods never fall, and planted models are found again."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from lstmhmm_bio.hmm import densities
from lstmhmm_bio.hmm.densities import Categorical, Gaussian, NegativeBinomial, Poisson
from lstmhmm_bio.hmm.em import Hmm, Pieces, baum_welch, expectations, fully_connected, initial_model, maximise
from lstmhmm_bio.hmm.graph import Scores

#: a planted model of each family: parameters, and how far from them its recovery may be
PLANTED = {
    "gaussian": (
        Gaussian(),
        {"mean": [[0.0, 1.0], [2.0, 0.0], [4.0, 3.0]], "sd": [[0.7, 1.0], [1.0, 0.5], [1.5, 1.0]]},
    ),
    "poisson": (Poisson(), {"mean": [[1.0], [5.0], [15.0]]}),
    "negative-binomial": (NegativeBinomial(), {"mean": [[1.0], [12.0], [60.0]], "size": [[2.0], [5.0], [3.0]]}),
    "categorical": (Categorical(1), {"probability": np.random.default_rng(5).dirichlet(np.full(16, 1.5), 2)}),
}


def draw(name: str, length: int, seed: int, stay: float = 0.98) -> tuple[Hmm, np.ndarray, np.ndarray]:
    """A planted model with a path [length] and observations [length, channels] drawn from it."""
    family, raw = PLANTED[name]
    parameters = {key: np.array(value) for key, value in raw.items()}
    states = len(next(iter(parameters.values())))
    rng = np.random.default_rng(seed)
    transition = np.full((states, states), (1 - stay) / (states - 1))
    np.fill_diagonal(transition, stay)
    path = np.empty(length, int)
    path[0] = 0
    for t in range(1, length):
        path[t] = rng.choice(states, p=transition[path[t - 1]])
    if name == "gaussian":
        values = rng.normal(parameters["mean"][path], parameters["sd"][path])
    elif name == "poisson":
        values = rng.poisson(parameters["mean"][path]).astype(float)
    elif name == "negative-binomial":
        mean, size = parameters["mean"][path], parameters["size"][path]
        values = rng.poisson(rng.gamma(size, mean / size)).astype(float)
    else:
        base, words = 0, []
        for state in path:
            row = parameters["probability"][state].reshape(4, 4)[base]
            new = rng.choice(4, p=row / row.sum())
            words.append(4 * base + new)
            base = new
        values = np.array(words, float)[:, None]
        # the words that this chain makes, not only the conditional probabilities
        counts = [np.bincount(values[path == s, 0].astype(int), minlength=16) for s in range(2)]
        parameters["probability"] = np.stack([row / row.sum() for row in counts])
    graph = fully_connected(states)
    scores = Scores(
        jnp.asarray(np.log(transition).ravel(), jnp.float32),
        jnp.full(states, -np.log(states), jnp.float32),
        jnp.zeros(states, jnp.float32),
    )
    return Hmm(graph, scores, family, parameters), path, values.astype(np.float32)


def pieces_of(values: np.ndarray, length: int = 1000) -> Pieces:
    count = len(values) // length
    return Pieces(values[: count * length].reshape(count, length, -1), np.full(count, length, np.int32))


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_likelihood_never_falls(name, seed):
    _, _, values = draw(name, 4000, seed)
    rng = np.random.default_rng(seed)
    values[rng.random(len(values)) < 0.05, 0] = np.nan
    pieces = pieces_of(values, 800)
    pieces = Pieces(pieces.values, pieces.lengths - np.arange(5, dtype=np.int32) * 150)
    fit = baum_welch(initial_model(PLANTED[name][0], pieces, 3, rng), pieces, rounds=40, tolerance=-np.inf)
    gains = np.diff(fit.log_likelihoods)
    assert len(gains) == 40
    assert gains.min() > -1e-6 * abs(fit.log_likelihood)  # rounding in float32
    assert gains[0] > 10


@pytest.mark.parametrize("name", PLANTED)
def test_planted_parameters_are_recovered(name):
    truth, path, values = draw(name, 20_000, 7)
    pieces = pieces_of(values)
    states = len(truth.graph.states)
    family = truth.family
    fits = [
        baum_welch(initial_model(family, pieces, states, rng), pieces, rounds=100)
        for rng in (None, np.random.default_rng(1))
    ]
    model = max(fits, key=lambda fit: fit.log_likelihood).model
    order, true_order = (np.argsort(family.levels(m.parameters)[:, 0]) for m in (model, truth))
    model, truth = model.reordered(order), truth.reordered(true_order)
    for key, found in model.parameters.items():
        np.testing.assert_allclose(found, truth.parameters[key], rtol=0.15, atol=0.05)
    np.testing.assert_allclose(model.transitions, truth.transitions, atol=0.01)
    # and decoding with what was learned is as good as with the truth
    path = np.argsort(true_order)[path]
    right = [(expectations(m, pieces).posteriors.argmax(1) == path).mean() for m in (model, truth)]
    assert right[0] >= 0.98 * right[1]
    assert right[1] > 0.85


def test_expectations_of_one_state_are_the_density():
    values = np.random.default_rng(3).normal(2, 3, (2, 50, 1)).astype(np.float32)
    pieces = Pieces(values, np.array([50, 20], np.int32))
    model = initial_model(Gaussian(), pieces, 1)
    observed = values[pieces.inside]
    found = expectations(model, pieces)
    mean, sd = model.parameters["mean"][0, 0], model.parameters["sd"][0, 0]
    assert found.log_likelihood == pytest.approx(stats.norm.logpdf(observed, mean, sd).sum(), rel=1e-5)
    assert found.posteriors.shape == (70, 1)
    better = maximise(model, observed, found)
    assert better.parameters["mean"][0, 0] == pytest.approx(observed.mean(), rel=1e-5)
    assert better.parameters["sd"][0, 0] == pytest.approx(observed.std(), rel=1e-5)


def test_log_densities_are_those_of_scipy():
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 200, (30, 2)).astype(np.float32)
    mean, size = rng.uniform(1, 90, (3, 2)), rng.uniform(0.2, 50, (3, 2))
    expected = {
        Poisson(): stats.poisson.logpmf(counts[:, None], mean),
        NegativeBinomial(): stats.nbinom.logpmf(counts[:, None], size, size / (size + mean)),
        Gaussian(): stats.norm.logpdf(counts[:, None], mean, size),
    }
    for family, terms in expected.items():
        parameters = {"mean": mean, "size": size, "sd": size}
        found = family.log_density(family.tables(parameters), jnp.asarray(counts))
        np.testing.assert_allclose(found, terms.sum(2), rtol=2e-5, atol=2e-4)
        counts_with_gap = counts.copy()
        counts_with_gap[:, 1] = np.nan
        found = family.log_density(family.tables(parameters), jnp.asarray(counts_with_gap))
        np.testing.assert_allclose(found, terms[..., 0], rtol=2e-5, atol=2e-4)


def test_a_sequence_has_one_likelihood_per_base():
    """Over all continuations the probabilities of a base given the one before sum to 1."""
    family = Categorical(1)
    parameters = {"probability": np.random.default_rng(0).dirichlet(np.ones(16), 3)}
    words = np.arange(16, dtype=np.float32)[:, None]
    found = np.exp(family.log_density(family.tables(parameters), jnp.asarray(words)))
    np.testing.assert_allclose(found.reshape(4, 4, 3).sum(1), 1, rtol=1e-5)


def test_size_of_a_negative_binomial_is_the_most_likely_one():
    rng = np.random.default_rng(6)
    counts = rng.poisson(rng.gamma(3, 4, 2000)).astype(np.float32)
    weights = rng.random((2000, 1)).astype(np.float32)
    found = NegativeBinomial().update({"mean": np.ones((1, 1)), "size": np.ones((1, 1))}, counts[:, None], weights)
    mean = np.average(counts, weights=weights[:, 0])
    best = optimize.minimize_scalar(
        lambda r: -(weights[:, 0] * stats.nbinom.logpmf(counts, r, r / (r + mean))).sum(), (0.5, 10), bounds=(0.1, 100)
    )
    assert found["mean"][0, 0] == pytest.approx(mean, rel=1e-5)
    assert found["size"][0, 0] == pytest.approx(best.x, rel=0.01)


def test_a_state_without_weight_keeps_its_parameters():
    values, weights = np.arange(10, dtype=np.float32)[:, None], np.array([[1.0, 0.0]] * 10, np.float32)
    before = {"mean": np.array([[1.0], [77.0]]), "sd": np.ones((2, 1)), "size": np.ones((2, 1))}
    for family in densities.SIGNAL_FAMILIES.values():
        after = family.update({k: v.copy() for k, v in before.items()}, values, weights)
        assert after["mean"].ravel() == pytest.approx([4.5, 77.0])
        assert all(np.isfinite(x).all() for x in after.values())


def test_renumbering_states_changes_nothing_else():
    truth, _, values = draw("gaussian", 3000, 9, stay=0.9)
    pieces = pieces_of(values)
    turned = truth.reordered(np.array([2, 0, 1]))
    a, b = expectations(truth, pieces), expectations(turned, pieces)
    assert a.log_likelihood == pytest.approx(b.log_likelihood, rel=1e-6)
    np.testing.assert_allclose(a.posteriors[:, [2, 0, 1]], b.posteriors, atol=1e-4)


def test_no_data():
    pieces = Pieces(np.zeros((1, 5, 1), np.float32), np.zeros(1, np.int32))
    model = initial_model(Poisson(), Pieces(np.ones((1, 5, 1), np.float32), np.full(1, 5, np.int32)), 2)
    with pytest.raises(ValueError, match="no observations"):
        baum_welch(model, pieces)
