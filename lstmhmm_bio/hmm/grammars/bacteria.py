"""The grammar of prokaryotic genes on one strand.

Every state says which codon positions a base holds: none (``I``), one gene's, or two overlapping genes' at once. In a
name, ``1`` ``2`` ``3`` are codon positions, ``S`` is the first base of a start codon (also position 1) and ``T`` the
last base of a stop codon (also position 3). Two genes can only overlap in different frames, so a pair such as ``13``
is unordered. The graph is decoded once per strand, on the strand's own 5' to 3' scores:

- ``S`` is allowed only where a start codon of the genetic code begins, ``T`` only where a stop codon ends, and ``3``
  only where none does: no decoded gene holds an in-frame stop.
- Any codon position may come first or last: genes that run off either end of a contig.
- Same-strand overlaps of any length are the pair states, the 1-base (``ST``) and 4-base (``S3`` ``12`` ``23`` ``1T``)
  ones of operons among them. Three genes over one base, and a gene inside another of the same frame, cannot be said.
- Overlaps of opposite strands need no states: the strands are decoded side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ...features import Gene
from ...sequence import PROKARYOTIC_STARTS, Segments, codons, shifted
from ..graph import Edge, Graph
from .grammar import Array, Grammar, bit_set, state_bits

STATES = ("I", "S", "1", "2", "3", "T", "12", "S2", "13", "S3", "1T", "ST", "23", "2T")
#: initial values of the tied transition weights (natural log scale); training fits them
INITIAL_WEIGHTS = {
    "stay": 0.0,  # fixed point of reference: every other weight is relative to it
    "start": -4.0,
    "start_adjacent": -4.0,
    "start_overlap": -6.0,
    "end": 0.0,
    "partial_start": -5.0,
    "partial_end": -5.0,
}
INDEX = {s: i for i, s in enumerate(STATES)}
#: states that a base may be in when nothing is known about it
ANY = np.uint16((1 << len(STATES)) - 1)

_NEXT = {"S": ("2",), "1": ("2",), "2": ("3", "T"), "3": ("1",), "T": ("",)}
_NAME = {frozenset(s): s for s in STATES[1:]}


def _edges() -> tuple[Edge, ...]:
    edges = [Edge("I", "I", "stay"), Edge("I", "S", "start"), Edge("T", "I", "end"), Edge("T", "S", "start_adjacent")]
    for state in STATES[1:]:
        if state == "T":
            continue
        members = list(state)
        followers = [_NEXT[members[0]]] if len(members) == 1 else [_NEXT[m] for m in members]
        targets = {frozenset(a) for a in followers[0]}
        for options in followers[1:]:
            targets = {t | frozenset(o) for t in targets for o in options}
        for target in sorted(_NAME[t] for t in targets if t in _NAME):
            edges.append(Edge(state, target, "end" if "T" in state else "stay"))
            # a second gene may begin inside one gene, in another frame
            if len(state) == 1 and state != "S" and frozenset(target) | {"S"} in _NAME and not set(target) & {"1", "S"}:
                edges.append(Edge(state, _NAME[frozenset(target) | {"S"}], "start_overlap"))
    return tuple(edges)


def _boundary(partial: str) -> tuple[tuple[str, str], ...]:
    """Weights of beginning or ending a record in each state."""
    open_ended = ("1", "2", "3", "12", "13", "23")
    return (("I", "stay"), *((s, partial) for s in open_ended))


GRAPH = Graph(
    states=STATES,
    edges=_edges(),
    initial=(*_boundary("partial_start"), ("S", "start")),
    final=(*_boundary("partial_end"), ("T", "end"), ("1T", "partial_end"), ("2T", "partial_end")),
)


#: marks of a base: a start codon begins here, the last base of a stop codon
START_HERE, STOP_ENDS_HERE = 1, 2


def marks(codes: Array, code: Any) -> Array:
    """[..., time] uint16 bit sets of `START_HERE` and `STOP_ENDS_HERE`; arguments as for `Grammar.marks`."""
    codon = codons(codes, shifted(codes, 1), shifted(codes, 2))
    here = bit_set(code.is_start, code.is_stop)[codon]
    return (here & START_HERE) | shifted(here & STOP_ENDS_HERE, -2, fill=0)


def emissions(classes: Array, sites: Array, marks: Array, *, impossible: float | int, axis: int = -1) -> Array:
    """Scores of the states from the scores of what they are made of.

    A state's emission is the log ratio of its scaled likelihood to that of the intergenic state, which is 0 by
    construction; codon positions of two genes over one base add up.

    Args:
        classes: [..., time, 3] score of "codon position 1, 2, 3", tempered scaled-likelihood ratios.
        sites: [..., time, 2] scores of a start codon that begins here and of a stop codon that ends here.
        marks: [..., time] of `marks`.
        impossible: score of what the sequence forbids.
        axis: of the states in the result.

    Returns:
        [..., time, states] in the order of `STATES`, or with the states at another axis.
    """
    one, two, three = classes[..., 0], classes[..., 1], classes[..., 2]
    start, stop = sites[..., 0], sites[..., 1]
    starts_here, stop_ends_here = (marks & START_HERE) != 0, (marks & STOP_ENDS_HERE) != 0
    parts = {
        "1": one,
        "2": two,
        "S": jnp.where(starts_here, one + start, impossible),
        "3": jnp.where(stop_ends_here, impossible, three),
        "T": jnp.where(stop_ends_here, three + stop, impossible),
    }
    columns = [jnp.zeros_like(one)]
    for state in STATES[1:]:
        total = parts[state[0]] if len(state) == 1 else parts[state[0]] + parts[state[1]]
        columns.append(jnp.maximum(total, impossible))
    return jnp.stack(columns, axis=axis)


def lattice(length: int, genes: list[Gene]) -> tuple[NDArray[np.uint16], list[Gene]]:
    """The states that labelled genes allow at each base of one strand.

    Args:
        length: bases of the record.
        genes: genes of ONE strand, in that strand's own 5' to 3' coordinates (strand "+"). One without its start
            (stop) codon runs off the beginning (end).

    Returns:
        [length] bit sets over `STATES` (bit i allows state i), and the genes the grammar cannot represent (three over
        one base, two in one frame, a step that no edge makes); the bases in question allow anything.
    """
    role = np.zeros((2, length), np.uint8)  # of up to two genes: 0 none, 1.. = index into "S123T" + 1
    free = np.zeros(length, bool)
    left_out: list[Gene] = []
    for gene in sorted(genes, key=lambda g: (g.start, g.end)):
        # the cut codon of a gene that runs off the record belongs to it
        first = 0 if gene.start < 3 and not gene.has_start else gene.start
        last = length if gene.end > length - 3 and not gene.has_stop else gene.end
        span = slice(first, last)
        track = next((r for r in role if not r[span].any()), None)
        if track is None or gene.length % 3:
            left_out.append(gene)
            free[span] = True
            continue
        track[span] = 2 + (np.arange(first, last) - gene.start) % 3
        if gene.has_start:
            track[gene.start] = 1
        if gene.has_stop:
            track[gene.end - 1] = 5
    table = np.full((6, 6), ANY, np.uint16)  # pairs without a state are unrepresentable
    letters = "-S123T"
    for a in range(6):
        for b in range(6):
            names = frozenset(letters[a] + letters[b]) - {"-"}
            if not names:
                table[a, b] = 1 << INDEX["I"]
            elif names in _NAME and (a == 0 or b == 0 or a != b):
                table[a, b] = 1 << INDEX[_NAME[names]]
    allowed = table[role[0], role[1]]
    clash = allowed == ANY
    clash |= _free_forbidden_steps(allowed)
    left_out += [g for g in genes if g not in left_out and clash[g.start : g.end].any()]
    allowed[free] = ANY
    return allowed, left_out


def _free_forbidden_steps(allowed: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Allows anything around labelled steps that no edge makes (in place); returns the bases on their two sides."""
    possible = np.zeros((len(STATES), len(STATES)), bool)
    for edge in GRAPH.edges:
        possible[INDEX[edge.source], INDEX[edge.target]] = True
    known = allowed != ANY
    state = np.zeros(len(allowed), np.int64)
    state[known] = np.log2(allowed[known]).astype(np.int64)
    bad = np.flatnonzero(known[:-1] & known[1:] & ~possible[state[:-1], state[1:]])
    for offset in range(-3, 5):  # room for a path to change over
        allowed[np.clip(bad + offset, 0, len(allowed) - 1)] = ANY
    sides = np.zeros(len(allowed), bool)
    sides[bad] = sides[bad + 1] = True
    return sides


class Intervals(NamedTuple):
    """Genes of one strand in its own coordinates, sorted by start: [genes] each.

    `start` and `end` span whole codons; a gene without its start codon (stop codon) runs off the beginning (end).
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    has_start: NDArray[np.bool_]
    has_stop: NDArray[np.bool_]


#: what a state and a codon position say of a gene in that frame: it goes through here, begins here, ends here
_INSIDE, _BEGINS, _ENDS = (np.uint8(1 << i) for i in range(3))


def _members() -> NDArray[np.uint8]:
    """Bit sets of the above for 3 * state + codon position (0..2); the last state is `UNKNOWN_STATE`."""
    table = np.zeros((len(STATES) + 1, 3), np.uint8)
    for i, state in enumerate(STATES):
        for letter in state.replace("I", ""):
            position = {"S": 0, "1": 0, "2": 1, "3": 2, "T": 2}[letter]
            table[i, position] |= _INSIDE | {"S": _BEGINS, "T": _ENDS}.get(letter, 0)
    return table.ravel()


def _steady() -> NDArray[np.uint8]:
    """Of each state the one that follows if the same genes go on and none begins; no state if one ends."""
    table = np.full(len(STATES) + 1, 255, np.uint8)
    table[[INDEX["I"], UNKNOWN_STATE]] = INDEX["I"], UNKNOWN_STATE
    for state in STATES[1:]:
        if "T" not in state:
            table[INDEX[state]] = INDEX[_NAME[frozenset(_NEXT[member][0] for member in state)]]
    return table


#: path value for a base whose state is unknown (in labels)
UNKNOWN_STATE = len(STATES)
_MEMBERS, _STEADY = _members(), _steady()


def intervals(path: NDArray[np.uint8]) -> Intervals:
    """The genes of a state path.

    Args:
        path: [length] state indices; `UNKNOWN_STATE` where nothing is known.
    """
    # genes begin and end only between bases where the path does not just go on
    turns = np.flatnonzero(path[1:] != _STEADY[path[:-1]]) + 1
    turns = np.concatenate([[0], turns, [len(path)]]) if len(path) else turns
    frame = np.arange(3)[:, None]
    before, after = np.zeros((2, 3, len(turns)), np.uint8)
    before[:, 1:] = _MEMBERS[3 * path[turns[1:] - 1] + (turns[1:] - 1 - frame) % 3]
    after[:, :-1] = _MEMBERS[3 * path[turns[:-1]] + (turns[:-1] - frame) % 3]
    goes_on = (before & (_INSIDE | _ENDS)) == _INSIDE
    came = (after & (_INSIDE | _BEGINS)) == _INSIDE
    # a frame's genes begin and end in turn
    same = goes_on & came
    frame, first = (((after & _INSIDE) != 0) & ~same).nonzero()
    last = (((before & _INSIDE) != 0) & ~same).nonzero()[1]
    start = turns[first] + (frame - turns[first]) % 3  # whole codons
    end = turns[last] - (turns[last] - frame) % 3
    has_start, has_stop = (after[frame, first] & _BEGINS) != 0, (before[frame, last] & _ENDS) != 0
    order = np.lexsort((end, start))
    order = order[(end > start)[order]]
    return Intervals(start[order], end[order], has_start[order], has_stop[order])


def labelled_path(allowed: NDArray[Any]) -> NDArray[np.uint8]:
    """State path of label bit sets, `UNKNOWN_STATE` where more than one state is allowed."""
    single = (allowed & (allowed - 1)) == 0
    path = np.full(allowed.shape, UNKNOWN_STATE, np.uint8)
    known = single & (allowed > 0)
    path[known] = np.log2(allowed[known]).astype(np.uint8)
    return path


def _whole(bits: NDArray[Any]) -> list[Segments]:
    found = intervals(labelled_path(bits))
    whole = found.has_start & found.has_stop
    return [((s, e),) for s, e in zip(found.start[whole].tolist(), found.end[whole].tolist(), strict=True)]


def _groups(**members: Callable[[str], bool]) -> dict[str, NDArray[np.float32]]:
    return {name: np.array([member(s) for s in STATES], np.float32) for name, member in members.items()}


GRAMMAR = Grammar(
    kind="bacteria",
    name="bacteria",
    graph=GRAPH,
    initial_weights=INITIAL_WEIGHTS,
    class_bits=np.array(
        [state_bits(GRAPH, *(s for s in STATES if set(s) & set(letters))) for letters in ("1S", "2", "3T")], np.int32
    ),
    site_bits={
        "start": state_bits(GRAPH, *(s for s in STATES if "S" in s)),
        "stop": state_bits(GRAPH, *(s for s in STATES if "T" in s)),
    },
    site_marks={"start": START_HERE, "stop": STOP_ENDS_HERE},
    class_groups=(0, 0, 0),
    start_codons=PROKARYOTIC_STARTS,
    marks=marks,
    emissions=emissions,
    # a gene may hold some unknown bases, but nothing else is no gene
    unknown_base=-0.05,
    groups=_groups(
        stop=lambda s: "T" in s,
        start=lambda s: "S" in s,
        third=lambda s: "3" in s or "T" in s,
        none=lambda s: s == "I",
        two=lambda s: len(s) == 2,
    ),
    whole=_whole,
)
