"""Grammars of a user's own labels: every base of a strand carries exactly one.

A description says which labels there are, how short their regions may be, which may follow which, and whether they
belong to a strand. It comes from the names in a label file alone, or from a TOML file::

    background = "other"        # what bases without a region are; without it nothing is known of them
    symmetric = false           # true: a region lies on both strands at once
    coding = "CDS"              # label whose regions are read in frame and teach the codon tables

    [states.CDS]
    min_length = 60             # bases; default 1
    colour = "31,119,180"       # in BED
    next = ["other"]            # labels that may follow; default: all

    [states.other]

A region of a label, the background's apart, has its first base, bases inside, and its last base as states, so that what
the border models say counts once. Decoding expands the inside into a chain where a shortest length is given; the
weights are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ...sequence import PROKARYOTIC_STARTS
from ..graph import Edge, Graph
from ..viterbi import MAX_STATES
from .grammar import Array, Grammar

#: bit sets of labels are int32
MAX_LABELS = 31
#: a region of this name is masked: nothing is known of its bases, whatever the background
MASK = "mask"
#: log weight of a change of label before training; staying is 0
_CHANGE = -5.0


@dataclass(frozen=True)
class Label:
    """One label.

    Attributes:
        name: of the regions.
        min_length: of a region inside a record, in bases.
        colour: "red,green,blue"; "" for one of the default scale.
        next: labels that may follow; None for all.
    """

    name: str
    min_length: int = 1
    colour: str = ""
    next: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Labels:
    """A grammar's description.

    Attributes:
        labels: at least two; their order is that of the network's classes.
        background: label of bases without a region; "" if nothing is known of them.
        symmetric: a region lies on both strands at once.
        coding: label whose regions teach the codon tables; "" for none.

    Raises:
        ValueError: names that are not unique or not known, too many labels, or lengths that make too many states.
    """

    labels: tuple[Label, ...]
    background: str = ""
    symmetric: bool = False
    coding: str = ""

    def __post_init__(self) -> None:
        names = self.names
        if len(set(names)) < len(names):
            raise ValueError("a label appears twice")
        if MASK in names:
            raise ValueError(f"{MASK!r} is no label: regions of this name are left out")
        if not 2 <= len(names) <= MAX_LABELS:
            raise ValueError(f"{len(names)} label(s); there must be 2 to {MAX_LABELS}, the background included")
        for name in (*filter(None, (self.background, self.coding)), *(x for a in self.labels for x in a.next or ())):
            if name not in names:
                raise ValueError(f"there is no label {name!r} among {', '.join(names)}")
        if min(a.min_length for a in self.labels) < 1 or sum(max(a.min_length, 3) for a in self.labels) > MAX_STATES:
            raise ValueError(f"minimum lengths must be at least 1 (counted as 3) and together at most {MAX_STATES}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    @property
    def bordered(self) -> tuple[int, ...]:
        """Numbers of the labels whose regions' ends have models: all but the background."""
        return tuple(i for i, name in enumerate(self.names) if name != self.background)

    @cached_property
    def changes(self) -> tuple[tuple[str, str], ...]:
        """Ordered pairs of labels of which the second may follow the first."""
        return tuple((a.name, b) for a in self.labels for b in self.names if b != a.name and _may_follow(a, b))

    @staticmethod
    def of_names(names: Sequence[str], *, background: str = "", coding: str = "") -> Labels:
        """All transitions, any length."""
        extra = [background] if background and background not in names else []
        return Labels(tuple(Label(name) for name in (*names, *extra)), background, coding=coding)

    @staticmethod
    def from_table(table: Mapping[str, Any]) -> Labels:
        """From the content of a TOML file.

        Raises:
            ValueError: unknown keys, wrong types, or what `Labels` refuses.
        """
        _check_keys("the grammar", table, {"states": dict, "background": str, "symmetric": bool, "coding": str})
        labels = []
        for name, row in table.get("states", {}).items():
            if not isinstance(row, Mapping):
                raise ValueError(f"states.{name} must be a table")
            _check_keys(f"states.{name}", row, {"min_length": int, "colour": str, "next": list})
            following = tuple(row["next"]) if "next" in row else None
            labels.append(Label(name, row.get("min_length", 1), row.get("colour", ""), following))
        background, coding = table.get("background", ""), table.get("coding", "")
        return Labels(tuple(labels), background, table.get("symmetric", False), coding)

    def to_table(self) -> dict[str, Any]:
        """The reverse of `from_table`."""
        rows = {
            a.name: {
                "min_length": a.min_length,
                **({"colour": a.colour} if a.colour else {}),
                **({} if a.next is None else {"next": list(a.next)}),
            }
            for a in self.labels
        }
        return {"background": self.background, "symmetric": self.symmetric, "coding": self.coding, "states": rows}


def training_grammar(labels: Labels) -> Grammar:
    """Regions of any length."""
    return _grammar(labels, [1] * len(labels.labels))


def decoding_grammar(labels: Labels) -> Grammar:
    """A chain of states per label, at least as long as its shortest region; weights are those of `training_grammar`."""
    lengths = [a.min_length for a in labels.labels]
    simple = training_grammar(labels)
    return simple if max(lengths) == 1 else _grammar(labels, lengths, for_posteriors=simple)


def lattice(length: int, regions: Sequence[tuple[int, int, str, str]], labels: Labels) -> NDArray[np.uint32]:
    """The labels that each base may have.

    Args:
        length: bases of the record.
        regions: (start, end, name, strand "+", "-" or ".") on it; those of other names than the labels' are ignored,
            but for `MASK`.
        labels: the grammar.

    Returns:
        [2, length] bit sets over the labels; row 1 in the reverse complement's own coordinates.
    """
    allowed, masked = np.zeros((2, length), np.uint32), np.zeros((2, length), bool)
    index = {name: i for i, name in enumerate(labels.names)}
    for start, end, name, strand in regions:
        both = labels.symmetric or strand not in "+-"
        for row, span in ((0, slice(start, end)), (1, slice(length - end, length - start))):
            if both or strand == "+-"[row]:
                if name == MASK:
                    masked[row, span] = True
                elif name in index:
                    allowed[row, span] |= np.uint32(1 << index[name])
    anything = np.uint32((1 << len(index)) - 1)
    nothing_said = allowed == 0
    allowed[nothing_said] = 1 << index[labels.background] if labels.background else anything
    allowed[masked] = anything
    return allowed


def forbidden_steps(allowed: NDArray[np.uint32], labels: Labels) -> list[tuple[int, str, str]]:
    """Steps between certain labels that the grammar does not have: position of the second base on its strand, and the
    two names.
    """
    index = {name: i for i, name in enumerate(labels.names)}
    possible = np.eye(len(index), dtype=bool)
    for a, b in labels.changes:
        possible[index[a], index[b]] = True
    found = []
    for row in allowed:
        at = np.flatnonzero((row[1:] != row[:-1]) & _is_single(row[1:]) & _is_single(row[:-1]))
        first, second = (np.log2(row[at + i]).astype(int) for i in (0, 1))
        wrong = ~possible[first, second]
        found += [
            (int(p) + 1, labels.names[a], labels.names[b])
            for p, a, b in zip(at[wrong], first[wrong], second[wrong], strict=True)
        ]
    return found


def _grammar(labels: Labels, lengths: Sequence[int], for_posteriors: Grammar | None = None) -> Grammar:
    """The grammar whose regions of label i have at least `lengths[i]` bases, where they lie inside a record."""
    chains = [
        _chain(label.name, n, i in labels.bordered)
        for i, (label, n) in enumerate(zip(labels.labels, lengths, strict=True))
    ]
    states = tuple(state for chain in chains for state in chain)
    first = {label.name: chain[0] for label, chain in zip(labels.labels, chains, strict=True)}
    edges, leaving, interior = [], {}, []
    for i, (label, n, chain) in enumerate(zip(labels.labels, lengths, chains, strict=True)):
        edges += [Edge(a, b, "stay") for a, b in pairwise(chain)] + [Edge(label.name, label.name, "stay")]
        interior.append((label.name, "stay"))
        leaving[label.name] = [chain[-1]]
        if i in labels.bordered:
            interior += [(chain[0], "stay"), (chain[-1], "stay")]
            if n <= 2:
                edges.append(Edge(chain[0], chain[-1], "stay"))
            if n == 1:
                leaving[label.name].append(chain[0])
    edges += [Edge(state, first[b], f"{a}>{b}") for a, b in labels.changes for state in leaving[a]]
    # a record may begin in the middle of a region, and end in one
    graph = Graph(states, tuple(edges), tuple(interior), tuple((state, "stay") for state in states))
    label_of_state = np.array([i for i, chain in enumerate(chains) for _ in chain])
    begins = [graph.index[chains[i][0]] for i in labels.bordered]
    ends = [graph.index[chains[i][-1]] for i in labels.bordered]

    def emissions(classes: Array, sites: Array, marks: Array, *, impossible: float, axis: int = -1) -> Array:
        scores = jnp.asarray(classes)[..., label_of_state]
        if sites is not None and sites.shape[-1]:  # a model with border models
            scores = scores.at[..., begins].add(sites[..., 0::2]).at[..., ends].add(sites[..., 1::2])
        return jnp.moveaxis(scores, -1, axis)

    bits = np.array([1 << i for i in range(len(chains))], np.int32)
    members = np.eye(len(chains), dtype=np.float32)[label_of_state]
    return Grammar(
        kind="labels",
        name=f"labels {lengths} {labels}",
        graph=graph,
        initial_weights={"stay": 0.0, **{f"{a}>{b}": _CHANGE for a, b in labels.changes}},
        class_bits=bits,
        label_bits=bits[label_of_state],
        site_bits={},
        site_marks={},
        class_groups=tuple(range(len(labels.names))),
        start_codons=PROKARYOTIC_STARTS,
        marks=_no_marks,
        emissions=emissions,
        groups={name: members[:, i] for i, name in enumerate(labels.names)},
        whole=lambda bits: [],
        for_posteriors=for_posteriors,
    )


def _chain(name: str, length: int, bordered: bool) -> list[str]:
    """States of a label's regions in order; the one of the label's name repeats."""
    if not bordered:
        return [f"{name}/{i}" for i in range(1, length)] + [name]
    return [f"{name}<", *(f"{name}/{i}" for i in range(2, length - 1)), name, f"{name}>"]


def _no_marks(codes: Array, code: Any) -> Array:
    return codes.__array_namespace__().zeros(codes.shape, dtype=np.uint16)


def _may_follow(label: Label, name: str) -> bool:
    return label.next is None or name in label.next


def _is_single(bits: NDArray[np.uint32]) -> NDArray[np.bool_]:
    return (bits & (bits - 1)) == 0


def _check_keys(what: str, table: Mapping[str, Any], known: Mapping[str, type]) -> None:
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"{what} has an unknown key {key!r}; known are {', '.join(known)}")
        if not isinstance(value, known[key]) or (known[key] is int and isinstance(value, bool)):
            raise ValueError(f"{what}: {key} must be a {known[key].__name__}")
