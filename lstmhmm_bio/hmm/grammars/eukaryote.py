"""The grammar of eukaryotic genes on one strand: exons by codon position, introns by phase, splice sites.

``1`` ``2`` ``3`` are codon positions, ``S`` and ``2s`` the first two bases of the start codon, ``T`` the last base of
the stop codon.
An intron of kind k is ``Dk`` (first base, the donor), a chain of ``min_intron`` - 3 bases, a loop of short (``Nk``) or
long (``Mk``) introns, and ``Ak`` (last base, the acceptor): its length is a minimum plus one of two geometric branches.
Kinds are the phases 0 1 2: coding bases of the cut codon before the intron.

No stop codon may hide behind an intron: with `memory` a cut codon that begins with T, TA or TG has introns of its own
kinds (``1t`` ``2a`` ``2g``), and the exon after them resumes in states (``2t 3t``, ``3a``, ``3g``) that know which
bases would complete a stop; the true stop codon may be cut so (``Tt`` ``Ta`` ``Tg``). After any other intron the bases
before a codon are an acceptor's, AG, which no stop codon holds at these places. With memory a
codon that an intron cuts after its T cannot be cut again. Training uses the grammar without memory and minimum: labels
respect both anyway. A path scores the same in all of these grammars: the edges behind the chain carry what as many
bases of the loop would (`short_entry`, `long_entry`).

Strands are decoded side by side, so genes may lie in introns of the other strand.

Two things are rare, and only in the relaxed grammars (and the training's): a start codon that an intron cuts, AT|G,
and, with `at_ac`, introns from AT to AC (see `eukaryote_marks`). These do not know that the base after the former has
to be a G, and that both ends of the latter belong together. Where a best path breaks this, its neighbourhood is decoded
without such introns. A start codon cut after its A is not known: there is no score for such starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ...sequence import EUKARYOTIC_STARTS, Segments
from ..graph import Edge, Graph
from ..viterbi import MAX_STATES, UNITS
from .eukaryote_marks import (
    ACCEPTOR_ENDS_HERE,
    AFTER_T,
    AFTER_TA,
    AFTER_TG,
    AT_AC_ACCEPTOR_ENDS_HERE,
    AT_AC_DONOR_HERE,
    DONOR_HERE,
    START_HERE,
    START_WITH_AT,
    STOP_ENDS_HERE,
    STOP_WITH_T,
    STOP_WITH_TA,
    STOP_WITH_TG,
    marks,
)
from .grammar import Array, Grammar, Relaxation, Transitions, as_given

#: phase of each kind of intron; the first three are all there is without memory
KINDS = {"0": 0, "1": 1, "2": 2, "1t": 1, "2a": 2, "2g": 2}
#: donor, one loop base and acceptor
SHORTEST_INTRON = 3
#: with memory 14 states hold no intron, and each kind of intron takes its minimum and one more
LONGEST_MINIMUM = (MAX_STATES - 14) // len(KINDS) - 1
#: initial values of the tied transition weights (natural log scale); training fits them
INITIAL_WEIGHTS = {
    "stay": 0.0,  # fixed point of reference: every other weight is relative to it
    "start": -6.0,
    "end": 0.0,
    "partial_start": -6.0,
    "partial_end": -6.0,
    "intron0": -6.0,
    "intron1": -6.0,
    "intron2": -6.0,
    "short": -0.5,
    "short_stay": -0.02,
    "short_end": -4.0,
    "long": -1.0,
    "long_stay": -0.001,
    "long_end": -7.0,
}
#: score of an AT-AC intron (nat), in the place of those of its ends: too few are annotated to learn it. In 4.6 Mb of
#: plants and fly it finds four of six, and no other; with 12 one that is not annotated
AT_AC_SCORE = 8.0
#: after an intron that cut a codon which began with T, TA, TG: (next state, its way to a stop)
_RESUME = {"1t": ("2t",), "2a": ("3a", "Ta"), "2g": ("3g", "Tg")}


def _edges(kinds: Iterable[str], chain: int, *, cut_start: bool) -> list[Edge]:
    edges = [Edge("I", "I", "stay"), Edge("I", "S", "start"), Edge("1", "2", "stay")]
    edges += [Edge("S", "2s", "stay"), Edge("2s", "3", "stay")]
    if cut_start:
        edges.append(Edge("2s", "D2", "intron2"))
    edges += [Edge("2", "3", "stay"), Edge("2", "T", "stay"), Edge("3", "1", "stay"), Edge("T", "I", "end")]
    for kind in kinds:
        phase = KINDS[kind]
        before = {0: ["3"], 1: ["1"], 2: ["2"]}[phase]
        edges += [Edge(state, f"D{kind}", f"intron{phase}") for state in before]
        body = [f"D{kind}", *(f"C{kind}.{i}" for i in range(chain))]
        edges += [Edge(a, b, "stay") for a, b in pairwise(body)]
        for loop, name in (("N", "short"), ("M", "long")):
            edges += [
                Edge(body[-1], f"{loop}{kind}", f"{name}_entry" if chain else name),
                Edge(f"{loop}{kind}", f"{loop}{kind}", f"{name}_stay"),
                Edge(f"{loop}{kind}", f"A{kind}", f"{name}_end"),
            ]
        targets = _RESUME.get(kind, ({0: "1", 1: "2", 2: "3"}[phase],))
        edges += [Edge(f"A{kind}", target, "stay") for target in targets]
        if kind == "1t":
            edges += [Edge("2t", "3t", "stay"), Edge("2t", "Tt", "stay")]
        if kind in _RESUME:
            letter = kind[1]
            edges += [Edge(f"3{letter}", "1", "stay"), Edge(f"3{letter}", "D0", "intron0")]
            edges += [Edge(f"T{letter}", "I", "end")]
    return edges


def _with_entries(chain: int, transitions: Transitions) -> Transitions:
    """The weights with those of the edges from a chain into the loops: what the loop alone would take for the chain.

    Rounded like Viterbi's scores one by one, so that paths score exactly the same.
    """

    def rounded(name: str) -> Array:
        return np.round(np.asarray(transitions[name], np.float32) * UNITS) / UNITS

    entries = {f"{name}_entry": rounded(name) + chain * rounded(f"{name}_stay") for name in ("short", "long")}
    return {**transitions, **entries}


def _impossible_introns(graph: Graph, min_intron: int, path: NDArray[np.uint8], marks: NDArray[np.uint16]) -> Segments:
    """The introns of a path that are shorter than the minimum (of those that run off its end without the acceptor),
    whose ends do not belong together, or behind which the start codon that they cut does not go on.
    """
    inside, donor = (np.array([s[0] in of for s in graph.states]) for of in ("DNMA", "D"))
    first, end = np.flatnonzero(np.diff(inside[path].astype(np.int8), prepend=0, append=0)).reshape(-1, 2).T
    begins, ends = donor[path[first]], end < len(path)
    impossible = begins & (end - first + ~ends < min_intron)  # one that the path begins in may be of any length
    last, behind = end - 1, np.minimum(end, len(path) - 1)
    at_ac = (marks[first] & AT_AC_DONOR_HERE != 0), (marks[last] & AT_AC_ACCEPTOR_ENDS_HERE != 0)
    impossible |= begins & ends & (at_ac[0] != at_ac[1])
    cuts_start = begins & (path[np.maximum(first - 1, 0)] == graph.index["2s"])
    impossible |= cuts_start & ends & (marks[behind] & START_WITH_AT == 0)
    return tuple(zip(first[impossible].tolist(), end[impossible].tolist(), strict=True))


def _with_chains(small: Graph, large: Graph, chain: int, path: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A path of the grammar without a minimum in the states of the one with it: chains stand behind the donors."""
    out = np.array([large.index[s] for s in small.states], np.uint8)[path]
    for donor in (s for s in small.states if s[0] == "D"):
        first = np.flatnonzero(path == small.index[donor]) + 1
        for i in range(chain):
            here = first[first + i < len(path)] + i
            out[here] = large.index[f"C{donor[1:]}.{i}"]
    return out


def _states(kinds: Iterable[str], chain: int) -> list[str]:
    states = ["I", "S", "2s", "1", "2", "3", "T"]
    for kind in kinds:
        if kind in _RESUME:
            letter = kind[1]
            states += [*(["2t"] if letter == "t" else []), f"3{letter}", f"T{letter}"]
    for kind in kinds:
        states += [f"D{kind}", *(f"C{kind}.{i}" for i in range(chain)), f"N{kind}", f"M{kind}", f"A{kind}"]
    return states


#: what a state requires of its base: (one of these marks, must it be there), by the state's name
def _requirements(state: str, memory: bool, at_ac: bool) -> list[tuple[int, bool]]:
    fixed = {
        "S": [(START_HERE, True)],
        "3": [(STOP_ENDS_HERE, False)],
        "T": [(STOP_ENDS_HERE, True)],
        "3t": [(STOP_WITH_T, False)],
        "Tt": [(STOP_WITH_T, True)],
        "3a": [(STOP_WITH_TA, False)],
        "Ta": [(STOP_WITH_TA, True)],
        "3g": [(STOP_WITH_TG, False)],
        "Tg": [(STOP_WITH_TG, True)],
    }
    if state in fixed:
        return fixed[state]
    if state[0] == "A":
        return [(ACCEPTOR_ENDS_HERE | AT_AC_ACCEPTOR_ENDS_HERE * at_ac, True)]
    if state[0] == "D":
        cut = {
            "1": [(AFTER_T, False)],
            "1t": [(AFTER_T, True)],
            "2": [(AFTER_TA, False), (AFTER_TG, False)],
            "2a": [(AFTER_TA, True)],
            "2g": [(AFTER_TG, True)],
        }
        return [(DONOR_HERE | AT_AC_DONOR_HERE * at_ac, True), *(cut.get(state[1:], []) if memory else [])]
    return []


def grammar(
    min_intron: int = SHORTEST_INTRON,
    *,
    memory: bool = False,
    relaxed: bool = False,
    at_ac: bool = False,
    least_intron: float = 0.0,
) -> Grammar:
    """The grammar for a shortest intron.

    Args:
        min_intron: bases of the shortest intron.
        memory: keep codons that an intron cuts from completing a stop codon.
        relaxed: with introns in start codons and, if `at_ac`, from AT to AC.
        at_ac: the relaxed grammars of this one are with AT-AC introns.
        least_intron: lowest posterior of both ends of an intron on a path.

    Raises:
        ValueError: `min_intron` below `SHORTEST_INTRON` or above `LONGEST_MINIMUM`.
    """
    return _grammar(
        min_intron, memory, relaxed, at_ac, least_intron
    )  # equal arguments make the same object, however they are given


@cache
def _grammar(min_intron: int, memory: bool, relaxed: bool, at_ac: bool, least_intron: float) -> Grammar:
    if not SHORTEST_INTRON <= min_intron <= LONGEST_MINIMUM:
        raise ValueError(f"min_intron is {min_intron}; it must be {SHORTEST_INTRON} to {LONGEST_MINIMUM}")
    kinds = list(KINDS)[: len(KINDS) if memory else 3]
    chain = min_intron - SHORTEST_INTRON
    states = _states(kinds, chain)
    coding = [s for s in states if s[0] in "S123T"]
    introns = [s for s in states if s[0] in "DCNMA"]
    loops = [s for s in introns if s[0] in "NM"]

    def boundary(partial: str) -> tuple[tuple[str, str], ...]:
        return (("I", "stay"), *((s, partial) for s in ("1", "2", "3", *loops)))

    graph = Graph(
        tuple(states),
        tuple(_edges(kinds, chain, cut_start=relaxed)),
        (*boundary("partial_start"), ("S", "start")),
        (*boundary("partial_end"), ("T", "end")),
    )
    requirements = [_requirements(s, memory, relaxed and at_ac) for s in states]

    def emissions(classes: Array, sites: Array, marks: Array, *, impossible: float, axis: int = -1) -> Array:
        start, stop, donor, acceptor = (sites[..., i] for i in range(4))
        one, two, three, intron = (classes[..., i] for i in range(4))
        of = {"I": jnp.zeros_like(one), "1": one, "2": two, "3": three, "S": one + start, "T": three}
        if relaxed and at_ac:
            donor = donor + jnp.where((marks & AT_AC_DONOR_HERE) != 0, AT_AC_SCORE, 0)
        of |= {"C": intron, "N": intron, "M": intron, "D": intron + donor, "A": intron + acceptor}
        columns = []
        for state, required in zip(states, requirements, strict=True):
            score = of[state[0]] + (stop if state == "T" else 0)
            for mark, wanted in required:
                score = jnp.where(((marks & mark) != 0) == wanted, score, impossible)
            columns.append(jnp.maximum(score, impossible))
        return jnp.stack(columns, axis=axis)

    def bits(members: Iterable[str]) -> int:
        return sum(1 << graph.index[s] for s in members) if len(states) < 32 else 0

    return Grammar(
        kind="eukaryote",
        name=f"eukaryote {min_intron} memory={memory} relaxed={relaxed} at_ac={at_ac} least_intron={least_intron}",
        graph=graph,
        initial_weights=INITIAL_WEIGHTS,
        class_bits=np.array(
            [bits(s for s in coding if s[0] in of) for of in ("1S", "2", "3T")] + [bits(introns)], np.int32
        ),
        site_bits={
            "start": bits("S"),
            "stop": bits("T"),
            "donor": bits(s for s in states if s[0] == "D"),
            "acceptor": bits(s for s in states if s[0] == "A"),
        },
        site_marks={
            "start": START_HERE,
            "stop": STOP_ENDS_HERE,
            "donor": DONOR_HERE,
            "acceptor": ACCEPTOR_ENDS_HERE,
        },
        class_groups=(0, 0, 0, 1),
        start_codons=EUKARYOTIC_STARTS,
        marks=partial(marks, at_ac=True) if at_ac else marks,
        emissions=emissions,
        groups={
            name: np.array([s in members for s in states], np.float32)
            for name, members in {
                "stop": [s for s in states if s[0] == "T"],
                "start": ["S"],
                "donor": [s for s in states if s[0] == "D"],
                "acceptor": [s for s in states if s[0] == "A"],
                "coding": coding,
                "intron": introns,
            }.items()
        },
        whole=partial(_whole, begins=bits("S"), ends=bits("T"), coding=bits(coding), introns=bits(introns)),
        # minimum and memory hardly change what is likely, and cost ten times the states
        for_posteriors=grammar(relaxed=True, at_ac=at_ac) if memory else None,
        relaxed=None if relaxed else _relaxation(graph, min_intron, memory=memory, at_ac=at_ac),
        completed=partial(_with_entries, chain) if chain else as_given,
        least_intron=least_intron,
    )


def _relaxation(graph: Graph, min_intron: int, *, memory: bool, at_ac: bool) -> Relaxation:
    small = grammar(memory=memory, relaxed=True, at_ac=at_ac)
    return Relaxation(
        small,
        "I",
        partial(_impossible_introns, small.graph, min_intron),
        partial(_with_chains, small.graph, graph, min_intron - SHORTEST_INTRON),
    )


def _whole(bits: NDArray[Any], *, begins: int, ends: int, coding: int, introns: int) -> list[Segments]:
    bits = bits.astype(np.int64)
    in_exon, in_intron = ((bits & of != 0) & (bits & ~of == 0) for of in (coding, introns))
    outside = np.cumsum(~(in_exon | in_intron))
    last = np.flatnonzero(bits == ends)
    found = []
    for first in np.flatnonzero(bits == begins).tolist():
        end = last[np.searchsorted(last, first) :][:1]
        if len(end) and outside[end[0]] == outside[first]:
            edges = np.flatnonzero(np.diff(in_exon[first : end[0] + 1].astype(np.int8), prepend=0, append=0)) + first
            found.append(tuple((s, e) for s, e in edges.reshape(-1, 2).tolist()))
    return found


def transcripts(decoding: Grammar, path: NDArray[np.uint8]) -> list[tuple[Segments, bool, bool]]:
    """The genes of a state path of one strand, in its own coordinates.

    Args:
        decoding: the grammar of the path.
        path: [length] states.

    Returns:
        CDS segments (first and last one cut to whole codons where the gene runs off the record), whether it has its
        start codon, whether its stop codon.
    """
    names = decoding.graph.states
    position = np.array(["123".find(s[0].replace("S", "1").replace("T", "3")) for s in names], np.int8)[path]
    outside = path == 0
    edges = np.flatnonzero(np.diff(outside.astype(np.int8), prepend=1, append=1))
    found = []
    for first, end in edges.reshape(-1, 2).tolist():
        coding = position[first:end] >= 0
        exons = np.flatnonzero(np.diff(coding.astype(np.int8), prepend=0, append=0)) + first
        segments = [(s, e) for s, e in exons.reshape(-1, 2).tolist()]
        has_start, has_stop = names[path[first]] == "S", names[path[end - 1]][0] == "T"
        if segments and not has_start:
            segments = _without(segments, (3 - int(position[segments[0][0]])) % 3, front=True)
        if segments and not has_stop:
            segments = _without(segments, (int(position[segments[-1][1] - 1]) + 1) % 3, front=False)
        if segments:
            found.append((tuple(segments), has_start, has_stop))
    return found


def _without(segments: list[tuple[int, int]], bases: int, *, front: bool) -> list[tuple[int, int]]:
    """Segments without some coding bases at one end."""
    segments = list(segments)
    while bases and segments:
        s, e = segments[0 if front else -1]
        cut = min(bases, e - s)
        bases -= cut
        s, e = (s + cut, e) if front else (s, e - cut)
        segments[0 if front else -1] = (s, e)
        if s == e:
            del segments[0 if front else -1]
    return segments


#: what training runs through
TRAINING = grammar(relaxed=True)
