"""What a grammar is: a state graph, and how the network's outputs and the sequence itself become its emissions.

A new use of the engine is a new `Grammar`. The network gives every base scores of a few classes (codon positions, say)
and of candidate sites (start codons, splice sites); the sequence gives marks, facts such as "a stop codon ends here"
that forbid states. `emissions` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...sequence import Segments
from ..graph import Graph, Scores

#: a numpy or a jax array
Array = Any
#: transition weights by name
Transitions = Mapping[str, Array | float]


class Emissions(Protocol):
    """Scores of the states [..., time, states] from what they are made of.

    Args:
        classes: [..., time, classes] class scores, log ratios of scaled likelihoods to "no class".
        sites: [..., time, sites] scores of the sites that are here.
        marks: [..., time] bit sets of `Grammar.marks`.
        impossible: score of what the sequence forbids.
        axis: of the states in the result.
    """

    def __call__(self, classes: Array, sites: Array, marks: Array, *, impossible: float, axis: int = -1) -> Array: ...


def as_given(transitions: Transitions) -> Transitions:
    """No weight follows from others."""
    return transitions


@dataclass(frozen=True, eq=False, repr=False)
class Grammar:
    """A state graph with its reading of network and sequence; hashable by identity, a static argument of `jax.jit`.

    Attributes:
        kind: name, also in model cards.
        name: what tells it from every other grammar.
        graph: the states and their transitions.
        initial_weights: transition weight by name before training.
        class_bits: [classes] bit sets over the states in which a base belongs to each class.
        site_bits: site name -> bit set over the states that stand on such a site; the order is that of the scores.
        site_marks: site name -> the mark that candidates of the site carry.
        class_groups: [classes] which temperature each class has, from 0.
        start_codons: codons that may begin a gene, where the genetic code allows them.
        marks: (codes [..., time] uint8, code with is_start and is_stop [65]) -> [..., time] uint16 bit sets; takes
            numpy and jax arrays.
        emissions: see `Emissions`.
        groups: name -> [states] 0 or 1: what posteriors are summed to.
        whole: ([time] bit sets of states) -> CDS segments of the genes with both ends, where states are certain.
        for_posteriors: a smaller grammar with the same groups and weights that posteriors are computed with (default:
            this one).
        relaxed: see `Relaxation`; None if the grammar has no constraints that are worth it.
        unknown_base: score that every class has at an unknown base.
        least_intron: lowest posterior of both ends of an intron on a path; needs `relaxed`.
        completed: transition weights by name -> the same with those that follow from others.
        label_bits: [states] the bit of each state in the bit sets of labels; None: bit i is that of state i.
    """

    kind: str
    name: str
    graph: Graph
    initial_weights: Mapping[str, float]
    class_bits: NDArray[np.int32]
    site_bits: Mapping[str, int]
    site_marks: Mapping[str, int]
    class_groups: tuple[int, ...]
    start_codons: tuple[str, ...]
    marks: Callable[[Array, Any], Array]
    emissions: Emissions
    groups: Mapping[str, NDArray[np.float32]]
    whole: Callable[[NDArray[Any]], list[Segments]]
    for_posteriors: Grammar | None = None
    relaxed: Relaxation | None = None
    unknown_base: float = 0.0
    least_intron: float = 0.0
    completed: Callable[[Transitions], Transitions] = as_given
    label_bits: NDArray[np.int32] | None = None

    def __repr__(self) -> str:
        return f"Grammar({self.name})"

    @property
    def bits(self) -> NDArray[np.int32]:
        """[states] the bit of each state in the bit sets of labels."""
        if self.label_bits is not None:
            return self.label_bits
        return np.array([1 << i for i in range(len(self.graph.states))], np.int32)

    def scores(self, transitions: Transitions) -> Scores:
        """Scores of the graph's transitions from trained weights by name.

        Raises:
            ValueError: a weight is missing.
        """
        return self.graph.scores(self.completed(transitions))

    @property
    def smaller(self) -> Grammar:
        """The grammar that posteriors are computed with."""
        return self.for_posteriors or self

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, in the order of their scores."""
        return tuple(self.site_bits)


@dataclass(frozen=True)
class Relaxation:
    """A grammar without its constraints: a smaller one of which every path of the whole grammar is a path too, of the
    same score. Where its best path breaks no constraint, it is the best of all that are in order. It may hold rare
    things that the whole grammar, which is for where constraints are broken, lacks.

    Attributes:
        grammar: the smaller one.
        outside: the state of both between genes, with an edge to itself, in which paths may be cut apart.
        broken: ([length] states of the smaller one, [length] marks) -> ascending (start, end) of where a path breaks a
            constraint, none of which holds a base outside.
        named: the same path in the states of the whole grammar; where it breaks a constraint it is none of that.
    """

    grammar: Grammar
    outside: str
    broken: Callable[[NDArray[np.uint8], NDArray[np.uint16]], Segments]
    named: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def state_bits(graph: Graph, *names: str) -> int:
    """Bit set of some states."""
    return sum(1 << graph.index[name] for name in names)


def bit_set(*conditions: Array) -> Array:
    """uint16 bit sets of boolean arrays, the first as bit 0."""
    total = conditions[0].astype(np.uint16)
    for i, condition in enumerate(conditions[1:], 1):
        total = total | (condition.astype(np.uint16) << np.uint16(i))
    return total
