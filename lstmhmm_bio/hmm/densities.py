"""What hidden states emit: families of densities, each with its maximum-likelihood update from weighted data.

Parameters are a dictionary of float64 arrays whose first axis is the state. Observations are float32 [..., channels];
channels are independent given the state, and a missing observation (nan) says nothing about the state. Updates take
posteriors of the states as weights, which makes them the M-step of expectation maximisation: none of them lowers the
weighted log likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy  # type: ignore[import-untyped]

Floats = NDArray[np.float64]
Values = NDArray[np.float32]
Parameters = dict[str, Floats]

#: counts that count families tell apart; larger ones are to be cut to it
LARGEST_COUNT = 2**14 - 1
#: no density is narrower than this part of the spread of all data
_NARROWEST = 1e-3
_SMALLEST_MEAN = 1e-3
#: limits of a negative binomial's size, from extreme overdispersion to practically Poisson
_SIZES = (1e-2, 1e4)
#: words never seen count as if seen this often
_UNSEEN = 1e-3


class Family(Protocol):
    """A family of densities."""

    @property
    def name(self) -> str:
        """As written on the command line."""

    def initial(self, values: Values, states: int, rng: Generator | None) -> Parameters:
        """Parameters to start from, for observations [n, channels]: spread over the data's quantiles, or drawn."""

    def tables(self, parameters: Parameters) -> Mapping[str, jax.Array]:
        """What `log_density` needs of the parameters, in float32."""

    def log_density(self, tables: Mapping[str, jax.Array], values: jax.Array) -> jax.Array:
        """Log density of observations [..., channels] in each state [..., states] float32; traceable."""

    def update(self, parameters: Parameters, values: Values, weights: Values) -> Parameters:
        """Maximum-likelihood parameters for observations [n, channels] with weights [n, states].

        What the data do not determine is taken over from `parameters`.
        """

    def levels(self, parameters: Parameters) -> Floats:
        """Expected value of each channel in each state [states, channels], by which states are ordered."""

    def free_parameters(self, states: int, channels: int) -> int:
        """How many numbers are fitted."""


@dataclass(frozen=True)
class Gaussian:
    """Normal density: `mean` and `sd` [states, channels]."""

    name: str = "gaussian"

    def initial(self, values: Values, states: int, rng: Generator | None) -> Parameters:
        spread = np.maximum(np.nanstd(values, axis=0, dtype=np.float64), 1e-6)
        return {"mean": _centres(values, states, rng), "sd": np.tile(spread / np.sqrt(states), (states, 1))}

    def tables(self, parameters: Parameters) -> Mapping[str, jax.Array]:
        sd = parameters["sd"]
        constant = -np.log(sd) - 0.5 * np.log(2 * np.pi)
        return _as_float32({"mean": parameters["mean"], "precision": 1 / sd, "constant": constant})

    def log_density(self, tables: Mapping[str, jax.Array], values: jax.Array) -> jax.Array:
        z = (values[..., None, :] - tables["mean"]) * tables["precision"]
        terms = tables["constant"] - 0.5 * z * z
        return jnp.where(jnp.isnan(terms), 0.0, terms).sum(-1)

    def update(self, parameters: Parameters, values: Values, weights: Values) -> Parameters:
        mean = _weighted_mean(values, weights, parameters["mean"])
        variance = parameters["sd"] ** 2
        for state in range(len(mean)):
            square = (values - mean[state]) ** 2
            variance[state] = _weighted_mean(square, weights[:, state : state + 1], variance[state : state + 1])[0]
        narrowest = _NARROWEST * np.nanstd(values, axis=0, dtype=np.float64) + 1e-9
        return {"mean": mean, "sd": np.maximum(np.sqrt(variance), narrowest)}

    def levels(self, parameters: Parameters) -> Floats:
        return parameters["mean"]

    def free_parameters(self, states: int, channels: int) -> int:
        return 2 * states * channels


class _Tabulated:
    """Families of whole numbers: log densities are looked up in a table [channels, values, states]."""

    def log_density(self, tables: Mapping[str, jax.Array], values: jax.Array) -> jax.Array:
        table = tables["log_density"]
        missing = jnp.isnan(values)
        index = jnp.where(missing, 0.0, values).astype(jnp.int32)
        terms = table[jnp.arange(len(table)), index]
        return jnp.where(missing[..., None], 0.0, terms).sum(-2)


@dataclass(frozen=True)
class Poisson(_Tabulated):
    """Counts of independent events: `mean` [states, channels]."""

    name: str = "poisson"

    def initial(self, values: Values, states: int, rng: Generator | None) -> Parameters:
        return {"mean": np.maximum(_centres(values, states, rng), _SMALLEST_MEAN)}

    def tables(self, parameters: Parameters) -> Mapping[str, jax.Array]:
        x = np.arange(LARGEST_COUNT + 1.0)[:, None]
        mean = parameters["mean"].T[:, None]
        return _as_float32({"log_density": x * np.log(mean) - mean - gammaln(x + 1)})

    def update(self, parameters: Parameters, values: Values, weights: Values) -> Parameters:
        return {"mean": np.maximum(_weighted_mean(values, weights, parameters["mean"]), _SMALLEST_MEAN)}

    def levels(self, parameters: Parameters) -> Floats:
        return parameters["mean"]

    def free_parameters(self, states: int, channels: int) -> int:
        return states * channels


@dataclass(frozen=True)
class NegativeBinomial(_Tabulated):
    """Overdispersed counts, variance mean + mean**2 / size: `mean` and `size` [states, channels]."""

    name: str = "negative-binomial"

    def initial(self, values: Values, states: int, rng: Generator | None) -> Parameters:
        mean = np.maximum(_centres(values, states, rng), _SMALLEST_MEAN)
        return {"mean": mean, "size": np.ones_like(mean)}

    def tables(self, parameters: Parameters) -> Mapping[str, jax.Array]:
        x = np.arange(LARGEST_COUNT + 1.0)[:, None]
        mean, size = (parameters[name].T[:, None] for name in ("mean", "size"))
        return _as_float32({"log_density": _negative_binomial(x, mean, size) - gammaln(x + 1)})

    def update(self, parameters: Parameters, values: Values, weights: Values) -> Parameters:
        mean = np.maximum(_weighted_mean(values, weights, parameters["mean"]), _SMALLEST_MEAN)
        size = parameters["size"].copy()
        for channel in range(values.shape[1]):
            known = np.isfinite(values[:, channel])
            # counts repeat: a histogram holds all that the likelihood needs
            counts, place = np.unique(values[known, channel], return_inverse=True)
            for state in range(len(size)):
                histogram = np.bincount(place, weights[known, state], len(counts)).astype(np.float64)
                size[state, channel] = _best_size(counts, histogram, mean[state, channel], size[state, channel])
        return {"mean": mean, "size": size}

    def levels(self, parameters: Parameters) -> Floats:
        return parameters["mean"]

    def free_parameters(self, states: int, channels: int) -> int:
        return 2 * states * channels


@dataclass(frozen=True)
class Categorical(_Tabulated):
    """A base given the `order` bases before it: `probability` [states, 4**(order + 1)] of the words that they make.

    The one channel holds the index of the word that ends at each base. The density is that of the word's last base
    given the others, so that no base counts twice.
    """

    order: int = 0
    name: str = "categorical"

    def initial(self, values: Values, states: int, rng: Generator | None) -> Parameters:
        counts = self._counts(values, np.ones((len(values), 1), np.float32))
        tilt = np.linspace(-0.5, 0.5, states) if rng is None else rng.normal(0, 0.5, states)
        chance = np.exp(np.outer(tilt, 2 * self._is_gc - 1))
        if rng is not None:
            chance *= rng.gamma(20.0, 1 / 20.0, chance.shape)
        return {"probability": _normalised(np.maximum(counts, _UNSEEN) * chance)}

    def tables(self, parameters: Parameters) -> Mapping[str, jax.Array]:
        joint = parameters["probability"].reshape(-1, self.words // 4, 4)
        return _as_float32(
            {"log_density": np.log(joint / joint.sum(-1, keepdims=True)).reshape(-1, self.words).T[None]}
        )

    def update(self, parameters: Parameters, values: Values, weights: Values) -> Parameters:
        return {"probability": _normalised(np.maximum(self._counts(values, weights), _UNSEEN))}

    def levels(self, parameters: Parameters) -> Floats:
        """The GC content."""
        return (parameters["probability"] @ self._is_gc)[:, None]

    def free_parameters(self, states: int, channels: int) -> int:
        return states * self.words * 3 // 4

    @property
    def words(self) -> int:
        """Number of different words."""
        return 4 ** (self.order + 1)

    @property
    def _is_gc(self) -> Floats:
        """[words] 1 where a word ends in G or C."""
        return np.isin(np.arange(self.words) % 4, (1, 2)).astype(np.float64)

    def _counts(self, values: Values, weights: Values) -> Floats:
        """Weighted counts of words [states, words]."""
        known = np.isfinite(values[:, 0])
        word = values[known, 0].astype(np.int64)
        return np.stack([np.bincount(word, w[known], self.words) for w in weights.T])


#: families of signals, by name
SIGNAL_FAMILIES: dict[str, Family] = {f.name: f for f in (Gaussian(), Poisson(), NegativeBinomial())}


def _as_float32(tables: Mapping[str, Floats]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(table, jnp.float32) for name, table in tables.items()}


def _centres(values: Values, states: int, rng: Generator | None) -> Floats:
    """Means to start from [states, channels]: quantiles of each channel, or observations drawn far from each other."""
    known = values[np.isfinite(values).all(axis=1)].astype(np.float64)
    if not len(known):
        return np.zeros((states, values.shape[1]))
    if rng is None:
        return np.quantile(known, (np.arange(states) + 0.5) / states, axis=0)
    # as k-means++ does (Arthur & Vassilvitskii 2007)
    known = known[rng.integers(len(known), size=min(len(known), 20_000))]
    scale = np.maximum(known.std(axis=0), 1e-9)
    chosen = [known[rng.integers(len(known))]]
    for _ in range(states - 1):
        distance = np.min([(((known - c) / scale) ** 2).sum(1) for c in chosen], axis=0) + 1e-12
        chosen.append(known[rng.choice(len(known), p=distance / distance.sum())])
    return np.array(chosen)


def _weighted_mean(values: Values, weights: Values, otherwise: Floats) -> Floats:
    """Means [states, channels]; `otherwise` where a state has no weight."""
    known = np.isfinite(values)
    by_state = weights.T.astype(np.float64)
    total = by_state @ known
    mean = by_state @ np.where(known, values, 0.0) / np.maximum(total, 1e-12)
    return np.where(total > 1e-6, mean, otherwise)


def _negative_binomial(x: Floats, mean: Floats | float, size: Floats) -> Floats:
    """Log density up to the term of x alone."""
    log_total = np.log(size + mean)
    return gammaln(x + size) - gammaln(size) + size * (np.log(size) - log_total) + xlogy(x, mean) - x * log_total


def _best_size(counts: Values, histogram: Floats, mean: float, before: float) -> float:
    """The most likely size of a negative binomial: a grid over all sizes, then finer ones around the best.

    The value before is among the candidates, so that the likelihood cannot fall.
    """
    x = counts.astype(np.float64)
    low, high = np.log(_SIZES)
    best = before
    for _ in range(4):
        sizes = np.append(np.exp(np.linspace(low, high, 16)), best)
        best = float(sizes[np.argmax(histogram @ _negative_binomial(x[:, None], mean, sizes))])
        step = (high - low) / 15
        low, high = np.clip([np.log(best) - step, np.log(best) + step], *np.log(_SIZES))
    return best


def _normalised(counts: Floats) -> Floats:
    return counts / counts.sum(axis=1, keepdims=True)
