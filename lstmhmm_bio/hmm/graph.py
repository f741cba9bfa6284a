"""Sparse state graphs with named states and tied, named transition weights.

A `Graph` is topology only: static, hashable, an ordinary static argument of `jax.jit`. The numbers on its edges are
`Scores`, run-time arrays that can be learned; as in a conditional random field they need not be probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

#: log score of what is forbidden; finite, so that gradients stay finite
NEG = -1e4


class Scores(NamedTuple):
    """Log weights of a graph's transitions, in nat.

    Attributes:
        edges: [edges] float32, in the order of `Graph.edges`.
        initial: [states] float32, `NEG` where a path cannot start.
        final: [states] float32, `NEG` where a path cannot end.

    """

    edges: jax.Array
    initial: jax.Array
    final: jax.Array


@dataclass(frozen=True)
class Edge:
    """A transition; `weight` names its log weight, which several edges may share."""

    source: str
    target: str
    weight: str


class Arc(NamedTuple):
    """An edge seen from one of its ends: index of the state at the other end and of the edge."""

    state: int
    edge: int


@dataclass(frozen=True)
class Graph:
    """A sparse directed graph of hidden states. Every state emits.

    Attributes:
        states: names, unique; a state's index is its place here.
        edges: at most one per ordered pair of states.
        initial: (state, weight name) for the states in which a path may start; a mapping is accepted.
        final: (state, weight name) for the states in which a path may end; a mapping is accepted.

    Raises:
        ValueError: a name is unknown or appears twice, or a state lies on no path from an initial to a final state.

    """

    states: tuple[str, ...]
    edges: tuple[Edge, ...]
    initial: tuple[tuple[str, str], ...]
    final: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", tuple(self.states))
        object.__setattr__(self, "edges", tuple(self.edges))
        object.__setattr__(self, "initial", _pairs(self.initial))
        object.__setattr__(self, "final", _pairs(self.final))
        self._check_names()
        ahead, behind = (
            [[arc.state for arc in arcs] for arcs in side] for side in (self.successors, self.predecessors)
        )
        self._check_all_reached([s for s, _ in self.initial], ahead, "unreachable from the initial states")
        self._check_all_reached([s for s, _ in self.final], behind, "a dead end: no final state can be reached")

    @cached_property
    def index(self) -> dict[str, int]:
        """State name to index."""
        return {name: i for i, name in enumerate(self.states)}

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """Sorted names of the tied weights of edges, initial and final states."""
        return tuple(sorted({e.weight for e in self.edges} | {w for _, w in self.initial + self.final}))

    @cached_property
    def predecessors(self) -> tuple[tuple[Arc, ...], ...]:
        """Incoming arcs of each state, in the order of the source's index."""
        return self._arcs(incoming=True)

    @cached_property
    def successors(self) -> tuple[tuple[Arc, ...], ...]:
        """Outgoing arcs of each state, in the order of the target's index."""
        return self._arcs(incoming=False)

    def scores(self, parameters: Mapping[str, jax.Array | float]) -> Scores:
        """Spreads tied log weights, scalars by name, over the graph; differentiable.

        Raises:
            ValueError: a weight of the graph has no parameter. Parameters that the graph does not use are ignored.

        """
        missing = [name for name in self.weights if name not in parameters]
        if missing:
            raise ValueError(f"no value for the transition weight(s) {', '.join(missing)}")
        # numpy where it can be: every operation of jax on its own is a program to compile
        xp = jnp if any(isinstance(value, jax.Array) for value in parameters.values()) else np
        values = xp.stack([xp.asarray(x, np.float32) for x in (*(parameters[name] for name in self.weights), NEG)])
        place = {name: i for i, name in enumerate(self.weights)}

        def at_states(pairs: tuple[tuple[str, str], ...]) -> jax.Array:
            index = np.full(len(self.states), len(place))
            index[[self.index[s] for s, _ in pairs]] = [place[w] for _, w in pairs]
            return values[index]

        edges = values[np.array([place[e.weight] for e in self.edges])]
        return Scores(edges, at_states(self.initial), at_states(self.final))

    def _arcs(self, *, incoming: bool) -> tuple[tuple[Arc, ...], ...]:
        arcs: list[list[Arc]] = [[] for _ in self.states]
        for e, edge in enumerate(self.edges):
            source, target = self.index[edge.source], self.index[edge.target]
            if incoming:
                arcs[target].append(Arc(source, e))
            else:
                arcs[source].append(Arc(target, e))
        return tuple(tuple(sorted(row)) for row in arcs)

    def _check_names(self) -> None:
        _check_unique("state", self.states)
        _check_unique("edge", [f"{e.source} -> {e.target}" for e in self.edges])
        for kind, names in (
            ("edge", [name for e in self.edges for name in (e.source, e.target)]),
            ("initial", [s for s, _ in self.initial]),
            ("final", [s for s, _ in self.final]),
        ):
            unknown = [name for name in names if name not in self.index]
            if unknown:
                raise ValueError(f"unknown state {unknown[0]!r} among the {kind} states")
            if kind != "edge":
                _check_unique(f"{kind} state", names)
                if not names:
                    raise ValueError(f"the graph has no {kind} state")

    def _check_all_reached(self, roots: list[str], neighbours: list[list[int]], fault: str) -> None:
        stack = [self.index[s] for s in roots]
        seen = set(stack)
        while stack:
            fresh = [s for s in neighbours[stack.pop()] if s not in seen]
            seen.update(fresh)
            stack += fresh
        for i, name in enumerate(self.states):
            if i not in seen:
                raise ValueError(f"state {name!r} is {fault}")


def _pairs(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(pairs.items()) if isinstance(pairs, Mapping) else tuple(pairs)


def _check_unique(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{kind} {name!r} appears twice")
        seen.add(name)
