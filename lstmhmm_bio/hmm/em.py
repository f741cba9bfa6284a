"""Learning hidden Markov models without labels: Baum-Welch, that is expectation maximisation on forward-backward.

The data are pieces of sequence side by side, each independent of the others and with the same initial distribution.
One round computes the posteriors of the states and the expected numbers of transitions under the present model, and
sets every parameter to its most likely value given these; the likelihood of the data never falls (Baum et al. 1970).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .densities import Family, Floats, Parameters, Values
from .graph import NEG, Edge, Graph, Scores
from .kernels import kernel_of
from .recursions import close, filter_block, smooth_block, start, time_major

#: pieces that are computed side by side
_BATCH = 64
#: chance to stay in a state to start from; segments are expected to be longer than one bin
_STAY = 0.98
#: no allowed transition is less likely than this
_RAREST = 1e-12


class Pieces(NamedTuple):
    """Observations to learn from.

    Attributes:
        values: [pieces, time, channels] float32; nan is missing.
        lengths: [pieces] int32; what lies beyond is padding.
    """

    values: Values
    lengths: NDArray[np.int32]

    @property
    def total(self) -> int:
        """Number of observations."""
        return int(self.lengths.sum())

    @property
    def inside(self) -> NDArray[np.bool_]:
        """[pieces, time] what is not padding."""
        return np.arange(self.values.shape[1]) < self.lengths[:, None]


@dataclass(frozen=True)
class Hmm:
    """A hidden Markov model whose states emit by a family of densities.

    Attributes:
        graph: the topology.
        scores: log probabilities of the transitions; paths may end anywhere at no cost.
        family: of the emissions.
        parameters: of the emissions.
    """

    graph: Graph
    scores: Scores
    family: Family
    parameters: Parameters

    def log_emissions(self, values: jax.Array) -> jax.Array:
        """[..., channels] observations to [..., states] log densities."""
        return self.family.log_density(self.family.tables(self.parameters), values)

    def reordered(self, order: NDArray[np.intp]) -> Hmm:
        """The same model with its states renumbered: the new state i is the old `order[i]`.

        The graph must be `fully_connected`.
        """
        states = len(order)
        edges = np.asarray(self.scores.edges).reshape(states, states)[np.ix_(order, order)].ravel()
        scores = Scores(*map(jnp.asarray, (edges, self.scores.initial[order], self.scores.final[order])))
        return replace(self, scores=scores, parameters={k: v[order] for k, v in self.parameters.items()})

    @property
    def transitions(self) -> Floats:
        """[states, states] probabilities, from row to column; the graph must be `fully_connected`."""
        states = len(self.graph.states)
        return np.exp(np.asarray(self.scores.edges, np.float64)).reshape(states, states)


@dataclass(frozen=True)
class Fit:
    """A model and the log likelihood [rounds] of the data before each round; the last is the model's own."""

    model: Hmm
    log_likelihoods: tuple[float, ...]

    @property
    def log_likelihood(self) -> float:
        return self.log_likelihoods[-1]


class Expectations(NamedTuple):
    """What the E-step finds.

    Attributes:
        log_likelihood: of all pieces.
        posteriors: [observations, states] float32, padding left out.
        transitions: [edges] expected numbers of uses.
        initial: [states] expected numbers of pieces that begin in them.
    """

    log_likelihood: float
    posteriors: Values
    transitions: Floats
    initial: Floats


def fully_connected(states: int) -> Graph:
    """A graph of `states` states "state1", "state2", ..., edges in the order of source, then target."""
    names = tuple(f"state{i + 1}" for i in range(states))
    edges = tuple(Edge(a, b, f"{a}>{b}") for a in names for b in names)
    return Graph(names, edges, tuple((s, f">{s}") for s in names), tuple((s, "end") for s in names))


def initial_model(family: Family, pieces: Pieces, states: int, rng: Generator | None = None) -> Hmm:
    """A model to start from; without `rng` the one that the data's quantiles suggest."""
    graph = fully_connected(states)
    leave = (1 - _STAY) / max(states - 1, 1)
    edges = np.where(np.eye(states, dtype=bool), _STAY if states > 1 else 1.0, leave)
    scores = Scores(
        jnp.asarray(np.log(edges).ravel(), jnp.float32),
        jnp.full(states, -np.log(states), jnp.float32),
        jnp.zeros(states, jnp.float32),
    )
    return Hmm(graph, scores, family, family.initial(pieces.values[pieces.inside], states, rng))


def baum_welch(
    model: Hmm,
    pieces: Pieces,
    *,
    rounds: int = 200,
    tolerance: float = 1e-6,
    watch: Callable[[float], None] | None = None,
) -> Fit:
    """Expectation maximisation from a given model.

    Args:
        model: where to start.
        pieces: the data.
        rounds: at most so many.
        tolerance: stop when a round gains less than this, in nat per observation.
        watch: called with the log likelihood of every round.

    Raises:
        ValueError: no observations.
    """
    if not pieces.total:
        raise ValueError("there are no observations to learn from")
    values = pieces.values[pieces.inside]
    history: list[float] = []
    while True:
        found = expectations(model, pieces)
        history.append(found.log_likelihood)
        if watch:
            watch(found.log_likelihood)
        converged = len(history) > 1 and history[-1] - history[-2] < tolerance * pieces.total
        if converged or len(history) > rounds:
            return Fit(model, tuple(history))
        model = maximise(model, values, found)


def expectations(model: Hmm, pieces: Pieces) -> Expectations:
    """The E-step."""
    log_likelihood = 0.0
    transitions, initial = np.zeros(len(model.graph.edges)), np.zeros(len(model.graph.states))
    posteriors = []
    for values, lengths in _batches(pieces):
        log_z, states, counts = _forward_backward(
            model.graph, model.family, model.scores, model.family.tables(model.parameters), values, lengths
        )
        log_likelihood += float(np.asarray(log_z, np.float64).sum())
        transitions += np.asarray(counts, np.float64).sum(1)
        by_piece = np.asarray(states)
        initial += by_piece[:, 0].sum(0, dtype=np.float64)
        posteriors.append(by_piece[np.arange(by_piece.shape[1]) < lengths[:, None]])
    return Expectations(log_likelihood, np.concatenate(posteriors), transitions, initial)


def log_likelihood(model: Hmm, pieces: Pieces) -> float:
    """Log likelihood of data, in nat."""
    return expectations(model, pieces).log_likelihood


def maximise(model: Hmm, values: Values, found: Expectations) -> Hmm:
    """The M-step, for observations [observations, channels] in the order of `found.posteriors`."""
    edges = np.asarray(model.scores.edges).copy()
    for arcs in model.graph.successors:
        of_state = [arc.edge for arc in arcs]
        total = found.transitions[of_state].sum()
        if total > 0:
            edges[of_state] = np.log(np.maximum(found.transitions[of_state] / total, _RAREST))
    allowed = np.asarray(model.scores.initial) > NEG / 2
    start_shares = found.initial / found.initial.sum()
    initial = np.where(allowed, np.log(np.maximum(start_shares, _RAREST)), NEG)
    scores = Scores(jnp.asarray(edges), jnp.asarray(initial, jnp.float32), model.scores.final)
    return replace(model, scores=scores, parameters=model.family.update(model.parameters, values, found.posteriors))


def _batches(pieces: Pieces) -> list[tuple[Values, NDArray[np.int32]]]:
    """Pieces in batches of one size, padded with empty pieces."""
    count = min(_BATCH, len(pieces.lengths))
    lacking = -len(pieces.lengths) % count
    values = np.pad(pieces.values, ((0, lacking), (0, 0), (0, 0)))
    lengths = np.pad(pieces.lengths, (0, lacking))
    return [(values[i : i + count], lengths[i : i + count]) for i in range(0, len(lengths), count)]


@partial(jax.jit, static_argnums=(0, 1))
def _forward_backward(
    graph: Graph,
    family: Family,
    scores: Scores,
    tables: Mapping[str, jax.Array],
    values: jax.Array,
    lengths: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log likelihoods [batch], posteriors [batch, time, states] and expected transitions [edges, batch]."""
    kernel = kernel_of(graph)
    emissions = time_major(family.log_density(tables, values))
    last, history = filter_block(kernel, scores, start(graph, len(values)), emissions, lengths)
    at_end, log_z = close(scores, last, lengths)
    _, posteriors, counts = smooth_block(kernel, scores.edges, history, at_end, jnp.int32(0), lengths)
    return log_z, jnp.transpose(posteriors, (2, 0, 1)), counts
