"""The best path of both strands of a record: of long ones by segments, and again where it must be found anew.

A grammar with constraints is decoded without them first, then again around introns that are too unsure, and with the
constraints only around the genes that break one (see `constraints`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from .constraints import forbidden_ends, slices_of
from .hmm.grammars.grammar import Grammar, Transitions
from .hmm.graph import NEG, Scores
from .hmm.segmented import joined, segment_paths, spans_of
from .hmm.viterbi import ViterbiDecoder, to_fixed_scores, viterbi
from .programs import kept
from .strands import Part, Strands, batch, batch_bases, by_position, emissions_at, padded, side_by_side, stack
from .windows import LONG

#: the best path of a long record is found on segments of this size, see `hmm.segmented`: they proved it for all strands
#: of 44 genomes of bacteria, archaea and phages, three yeasts, and parts of fly and Arabidopsis
PATH_SEGMENT, PATH_FLANK = 2 * LONG, 8192
#: and if they do not prove it block by block
BLOCK = 1 << 16
#: strands in one batch of segments, a multiple of what processors add at once
_PATH_ROWS = 16
#: positions in one batch of slices that are decoded again: mostly there are few, and empty rows cost as much
_AGAIN_BASES = 2 * LONG
#: score of a site that is forbidden
_FORBIDDEN = -np.iinfo(np.int16).max


def relaxed_of(grammar: Grammar) -> Grammar:
    """The grammar without its constraints."""
    return grammar.relaxed.grammar if grammar.relaxed else grammar


class Weights(NamedTuple):
    """Transition scores of a grammar, of the one that it computes posteriors with and of its relaxed one."""

    path: Scores
    posteriors: Scores
    relaxed: Scores

    @staticmethod
    def of(grammar: Grammar, transitions: Transitions) -> Weights:
        """From transition weights by name."""
        return Weights(*(g.scores(transitions) for g in (grammar, grammar.smaller, relaxed_of(grammar))))


class SegmentedPaths:
    """The best paths of both strands of long records in the states of the relaxed grammar, by `hmm.segmented`.

    Segments of all records share batches.
    """

    def __init__(self, grammar: Grammar, weights: Weights, strands: Sequence[Strands]) -> None:
        self._grammar, self._scores, self._strands = relaxed_of(grammar), weights.relaxed, strands
        self._fixed = to_fixed_scores(self._scores)
        self._lengths = [s.marks.shape[1] for s in strands]
        self._spans = [spans_of(n, PATH_SEGMENT, PATH_FLANK) for n in self._lengths]
        self._segments = [(record, n) for record, spans in enumerate(self._spans) for n in range(len(spans))]
        states = len(self._grammar.graph.states)
        self._paths = [np.empty((2, len(spans), PATH_SEGMENT), np.uint8) for spans in self._spans]
        self._borders = [np.empty((2, len(spans), 2, states), np.int32) for spans in self._spans]

    def tasks(self) -> list[Callable[[], None]]:
        """What has to be done first, in any order."""
        per_call = _PATH_ROWS // 2
        return [partial(self._find, self._segments[k : k + per_call]) for k in range(0, len(self._segments), per_call)]

    def _find(self, segments: Sequence[tuple[int, int]]) -> None:
        spans = [self._spans[record][n] for record, n in segments]
        given = [Part(self._strands[record], *span) for (record, _), span in zip(segments, spans, strict=True)]
        parts, lengths = stack(given, _PATH_ROWS, PATH_SEGMENT)
        begins, ends = np.zeros((2, _PATH_ROWS), bool)
        for i, ((record, _), (a, b)) in enumerate(zip(segments, spans, strict=True)):
            begins[2 * i : 2 * i + 2], ends[2 * i : 2 * i + 2] = a == 0, b == self._lengths[record]
        found = find_paths(self._grammar, self._fixed, parts, lengths, begins, ends, PATH_FLANK)
        paths, borders = (np.asarray(x) for x in found)
        for i, (record, n) in enumerate(segments):
            self._paths[record][:, n] = paths[2 * i : 2 * i + 2]
            self._borders[record][:, n] = borders[2 * i : 2 * i + 2]

    def results(self) -> list[NDArray[np.uint8]]:
        """[2, length] of each record."""
        return [np.stack([self._strand(record, row) for row in range(2)]) for record in range(len(self._lengths))]

    def _strand(self, record: int, row: int) -> NDArray[np.uint8]:
        path = joined(self._spans[record], self._paths[record][row], self._borders[record][row], PATH_FLANK)
        if path is None:
            whole = Part(self._strands[record].strand(row), 0, self._lengths[record])
            path = long_path(self._grammar, self._scores, whole)[0]
        return path


@kept(0, 6)
def find_paths(
    grammar: Grammar,
    fixed: Scores,
    strands: Strands,
    lengths: jax.Array,
    begins: jax.Array,
    ends: jax.Array,
    flank: int,
) -> tuple[jax.Array, jax.Array]:
    """Paths [rows, size] and scores at the borders [rows, 2, states]."""
    emissions, positions = partial(emissions_at, grammar), by_position(strands)
    paths, borders = segment_paths(grammar.graph, fixed, emissions, positions, lengths, begins, ends, flank)
    return paths.T, borders.transpose(2, 0, 1)


def long_path(grammar: Grammar, scores: Scores, part: Part) -> NDArray[np.uint8]:
    """The best path of each strand of a part of any length, found block by block: [strands, length]."""
    strands, begin, end = part
    rows, size = len(strands.marks), min(BLOCK, batch_bases(grammar) // 2)

    def block(i: int) -> jax.Array:
        start = begin + i * size
        return batch(grammar, [Part(strands, start, min(start + size, end))], rows, size)[0]

    decoder = ViterbiDecoder(grammar.graph, scores, batch=rows, recompute=block)
    pieces = [decoder.push(block(i), min(size, end - begin - i * size)) for i in range(-(-(end - begin) // size))]
    return np.concatenate([*pieces, decoder.finish()[1]], axis=1)


#: strands of a record and their paths [2, length] in the states of the relaxed grammar
Relaxed = tuple[Strands, NDArray[np.uint8]]


def constrained(found: Sequence[Relaxed], grammar: Grammar, weights: Weights) -> list[NDArray[np.uint8]]:
    """Paths of the whole grammar from those of the relaxed one, decoded again where these break a constraint."""
    relaxation = grammar.relaxed
    if relaxation is None:
        return []
    out = [np.stack([relaxation.named(path) for path in paths]) for _, paths in found]
    again = []
    for (strands, paths), target in zip(found, out, strict=True):
        for row, path in enumerate(paths):
            broken = [start for start, _ in relaxation.broken(path, strands.marks[row])]
            for begin, end in slices_of(path, broken, relaxation):
                again.append((target[row], Part(strands.strand(row), begin, end)))
    _decode_again(again, grammar, weights.path, relaxation.outside)
    return out


def without_unsure_introns(
    found: Sequence[Relaxed],
    posteriors: Sequence[NDArray[np.uint16]],
    least: float,
    grammar: Grammar,
    weights: Weights,
) -> list[Relaxed]:
    """Strands without the donors and acceptors of low posterior, and paths decoded again around introns that used one.

    Args:
        found: of each record.
        posteriors: [2, length, groups] of each record.
        least: lowest posterior, in their units.
        grammar: that they belong to.
        weights: of the grammar.
    """
    relaxation, columns = grammar.relaxed, list(grammar.groups)
    assert relaxation is not None
    out, again = [], []
    for (given, old), values in zip(found, posteriors, strict=True):
        strands, paths = given._replace(sites=given.sites.copy()), old.copy()
        unsure = {s: values[..., columns.index(s)] < least for s in ("donor", "acceptor")}
        for site, where in unsure.items():
            strands.sites[..., grammar.sites.index(site)][where] = _FORBIDDEN
        for row, path in enumerate(paths):
            faults = forbidden_ends(path, relaxation.grammar, {site: where[row] for site, where in unsure.items()})
            slices = slices_of(path, faults, relaxation)
            again += [(path, Part(strands.strand(row), begin, end)) for begin, end in slices]
        out.append((strands, paths))
    _decode_again(again, relaxation.grammar, weights.relaxed, relaxation.outside)
    return out


def _decode_again(
    slices: Sequence[tuple[NDArray[np.uint8], Part]], grammar: Grammar, weights: Scores, outside: str
) -> None:
    """Decodes slices of single strands into the paths [length] that they are of. They begin and end in the state
    `outside`, or as records do where they begin or end with one.
    """
    # by padded size and by which ends are the record's, open as these are
    again: dict[tuple[int | None, bool, bool], list[tuple[NDArray[np.uint8], Part]]] = {}
    for path, part in slices:
        key = (padded(part.end - part.begin), part.begin == 0, part.end == len(path))
        again.setdefault(key, []).append((path[part.begin : part.end], part))
    is_outside = np.arange(len(grammar.graph.states)) == grammar.graph.index[outside]
    only_outside: Any = np.where(is_outside, np.float32(0), np.float32(NEG))

    def call(size: int | None, scores: Scores, chosen: list[tuple[NDArray[np.uint8], Part]], rows: int) -> None:
        if size is None:
            paths = np.concatenate([long_path(grammar, scores, part) for _, part in chosen])
        else:
            paths = viterbi(grammar.graph, scores, *batch(grammar, [part for _, part in chosen], rows, size))[1]
        for i, (target, _) in enumerate(chosen):
            target[:] = paths[i, : len(target)]

    tasks = []
    for (size, at_begin, at_end), chosen in again.items():
        scores = weights._replace(
            initial=weights.initial if at_begin else only_outside, final=weights.final if at_end else only_outside
        )
        rows = 1 if size is None else _AGAIN_BASES // size
        tasks += [partial(call, size, scores, chosen[k : k + rows], rows) for k in range(0, len(chosen), rows)]
    side_by_side(tasks)
