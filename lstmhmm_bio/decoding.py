"""From score tracks to paths and posteriors, for any grammar.

Both strands are decoded side by side. Records of similar length share a batch; long ones are decoded in overlapping
segments. A grammar with constraints is decoded without them first, then again around introns that are too unsure, and
with the constraints only around the genes that break one (see `constraints`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .constraints import forbidden_ends, slices_of
from .features import Record
from .hmm.grammars.grammar import Grammar, Transitions
from .hmm.graph import NEG, Scores
from .hmm.posteriors import group_posteriors
from .hmm.recursions import forward
from .hmm.segmented import joined, segment_paths, spans_of
from .hmm.viterbi import UNITS, ViterbiDecoder, to_fixed_scores, viterbi
from .nn.network import CodeMasks
from .programs import kept
from .runtime import call_devices
from .scoring import Tracks
from .sequence import GeneticCode, reverse_complement
from .windows import LONG, SHORT

#: the best path of a long record is found on segments of this size, see `hmm.segmented`: they proved it for all strands
#: of 44 genomes of bacteria, archaea and phages, three yeasts, and parts of fly and Arabidopsis
PATH_SEGMENT, PATH_FLANK = 2 * LONG, 8192
#: and if they do not prove it block by block
BLOCK = 1 << 16
#: posteriors of a long record are computed on segments of this core with this much context at both ends, side by side;
#: on real genomes more context changed them by less than 1e-3 at most
SEGMENT_FLANK = 2048
SEGMENT_CORE = LONG - 2 * SEGMENT_FLANK
#: positions of both strands in one batch of short records
_BATCH_BASES = 16 * LONG
#: strands in one batch of segments, a multiple of what processors add at once: for posteriors, and for paths
_SEGMENT_ROWS, _PATH_ROWS = 32, 16
#: positions in one batch of slices that are decoded again: mostly there are few, and empty rows cost as much
_AGAIN_BASES = 2 * LONG

#: score of a site that is forbidden
_FORBIDDEN = -np.iinfo(np.int16).max

#: posteriors are kept in units of 1 / FULL, as uint16
FULL = 65535


@dataclass(frozen=True)
class Decoded:
    """The best path of a record and the posteriors along it; each strand in its own 5' to 3' orientation.

    Attributes:
        record: the sequence.
        grammar: that its states belong to.
        paths: [2, length] uint8 states.
        posteriors: [2, length, groups] uint16 in units of 1 / `FULL`, of `Grammar.groups`.
    """

    record: Record
    grammar: Grammar
    paths: NDArray[np.uint8]
    posteriors: NDArray[np.uint16]

    def posterior(self, group: str) -> NDArray[np.float32]:
        """[2, length] posterior probability of a group of states."""
        return _share(self.posteriors[..., self._column(group)])

    def posterior_at(self, group: str, row: int, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Posterior probability of a group of states at some positions of one strand."""
        return _share(self.posteriors[row, positions, self._column(group)])

    def _column(self, group: str) -> int:
        return list(self.grammar.groups).index(group)

    @property
    def coding(self) -> NDArray[np.float32]:
        """[length] probability that a base is coding on at least one strand; these are decoded apart."""
        own = self.posterior("coding") if "coding" in self.grammar.groups else 1 - self.posterior("none")
        return 1 - (1 - own[0]) * (1 - own[1, ::-1])


def _share(units: NDArray[np.uint16]) -> NDArray[np.float32]:
    return units.astype(np.float32) / np.float32(FULL)


class _Strands(NamedTuple):
    """What decoding reads of a record: scores and marks of both strands, each in its own orientation, or of one."""

    classes: NDArray[np.int16]
    sites: NDArray[np.int16]
    marks: NDArray[np.uint16]

    @staticmethod
    def of(record: Record, tracks: Tracks, code: GeneticCode, grammar: Grammar) -> _Strands:
        masks = CodeMasks.of(code)
        marks = grammar.marks(np.stack([record.codes, reverse_complement(record.codes)]), masks)
        return _Strands(tracks.classes, tracks.sites, marks)

    def strand(self, row: int) -> _Strands:
        one = slice(row, row + 1)
        return _Strands(self.classes[one], self.sites[one], self.marks[one])


class _Part(NamedTuple):
    """A stretch of some strands: positions begin, end in each strand's own orientation."""

    strands: _Strands
    begin: int
    end: int


def _stack(parts: Sequence[_Part], rows: int, size: int) -> tuple[_Strands, NDArray[np.int32]]:
    """Parts of up to `size` positions and up to `rows` strands as one, [rows, size, ...], and their lengths [rows]."""
    lengths = np.zeros(rows, np.int32)
    stacked = [np.zeros((rows, size, *x.shape[2:]), x.dtype) for x in parts[0].strands]
    first = 0
    for strands, begin, end in parts:
        these = slice(first, first + len(strands.marks))
        first = these.stop
        lengths[these] = end - begin
        for target, source in zip(stacked, strands, strict=True):
            target[these, : end - begin] = source[:, begin:end]
    return _Strands._make(stacked), lengths


def _batch(grammar: Grammar, parts: Sequence[_Part], rows: int, size: int) -> tuple[jax.Array, jax.Array]:
    """Emissions [rows, size, states] and lengths [rows] of parts, as `_stack`."""
    stacked, lengths = _stack(parts, rows, size)
    return _emissions(grammar, stacked), jnp.asarray(lengths)


def _emissions_of(grammar: Grammar, strands: _Strands, axis: int = -1) -> jax.Array:
    scale = jnp.float32(1 / UNITS)
    return grammar.emissions(strands.classes * scale, strands.sites * scale, strands.marks, impossible=NEG, axis=axis)


_emissions = kept(0)(_emissions_of)


def _by_position(strands: _Strands) -> _Strands:
    """What is read position by position, [size, ..., rows]: every number of a position is then a vector over rows."""
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), strands)


def _emissions_at(grammar: Grammar, position: _Strands) -> jax.Array:
    """Emissions [states, rows] at one position of `_by_position`."""
    return _emissions_of(grammar, jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), position), axis=0)


class Weights(NamedTuple):
    """Transition scores of a grammar, of the one that it computes posteriors with and of its relaxed one."""

    path: Scores
    posteriors: Scores
    relaxed: Scores

    @staticmethod
    def of(grammar: Grammar, transitions: Transitions) -> Weights:
        """From transition weights by name."""
        return Weights(*(g.scores(transitions) for g in (grammar, grammar.smaller, _relaxed(grammar))))


def _relaxed(grammar: Grammar) -> Grammar:
    return grammar.relaxed.grammar if grammar.relaxed else grammar


def decode_records(
    records: Sequence[Record], tracks: Sequence[Tracks], code: GeneticCode, grammar: Grammar, weights: Weights
) -> list[Decoded]:
    """Best paths and posteriors of records.

    Args:
        records: sequences.
        tracks: their scores.
        code: genetic code.
        grammar: to decode with.
        weights: of the grammar.
    """
    kept: dict[int, _Strands] = {}  # for decoding again, if that may be
    found = [(np.zeros((2, 0), np.uint8), np.zeros((2, 0, len(grammar.groups)), np.uint16))] * len(records)
    short: dict[int, list[int]] = {}
    for i, record in enumerate(records):
        size = _padded(len(record))
        if size is None:
            strands = _Strands.of(record, tracks[i], code, grammar)
            found[i] = _decode_long(grammar, strands, weights)
            if grammar.relaxed:
                kept[i] = strands
        elif len(record):
            short.setdefault(size, []).append(i)
    for size, members in sorted(short.items()):
        # posteriors of the longest by the program of segments
        rows = _SEGMENT_ROWS if size == LONG else _batch_bases(_relaxed(grammar)) // size
        per_call = max(1, rows // 2)

        def call(k: int, size: int = size, members: list[int] = members, per_call: int = per_call) -> None:
            part = members[k : k + per_call]
            strands = [_Strands.of(records[i], tracks[i], code, grammar) for i in part]
            for i, of_record in zip(part, _decode_short(grammar, size, per_call, strands, weights), strict=True):
                found[i] = of_record
            if grammar.relaxed:
                kept.update(zip(part, strands, strict=True))

        _side_by_side([partial(call, k) for k in range(0, len(members), per_call)])
    members = sorted(kept)
    relaxed = [(kept[i], found[i][0]) for i in members]
    if grammar.least_intron:
        relaxed = _without_unsure_introns(relaxed, [found[i][1] for i in members], grammar, weights)
    paths = _constrained(relaxed, grammar, weights)
    for i, of_record in zip(members, paths, strict=True):
        found[i] = (of_record, found[i][1])
    return [Decoded(record, grammar, *of_record) for record, of_record in zip(records, found, strict=True)]


def _padded(length: int) -> int | None:
    """The size that so many bases are padded to; None if they are decoded block by block."""
    return next((size for size in (*SHORT, LONG) if length <= size), None)


#: strands of a record and their paths [2, length] in the states of the relaxed grammar
_Relaxed = tuple[_Strands, NDArray[np.uint8]]


def _constrained(found: Sequence[_Relaxed], grammar: Grammar, weights: Weights) -> list[NDArray[np.uint8]]:
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
                again.append((target[row], _Part(strands.strand(row), begin, end)))
    _decode_again(again, grammar, weights.path, relaxation.outside)
    return out


def _without_unsure_introns(
    found: Sequence[_Relaxed], posteriors: Sequence[NDArray[np.uint16]], grammar: Grammar, weights: Weights
) -> list[_Relaxed]:
    """Strands without the donors and acceptors whose posterior is below `Grammar.least_intron`, and their paths of the
    relaxed grammar, decoded again around introns that used one.
    """
    relaxation, columns = grammar.relaxed, list(grammar.groups)
    assert relaxation is not None
    out, again = [], []
    for (given, old), values in zip(found, posteriors, strict=True):
        strands, paths = given._replace(sites=given.sites.copy()), old.copy()
        unsure = {s: values[..., columns.index(s)] < grammar.least_intron * FULL for s in ("donor", "acceptor")}
        for site, where in unsure.items():
            strands.sites[..., grammar.sites.index(site)][where] = _FORBIDDEN
        for row, path in enumerate(paths):
            faults = forbidden_ends(path, relaxation.grammar, {site: where[row] for site, where in unsure.items()})
            slices = slices_of(path, faults, relaxation)
            again += [(path, _Part(strands.strand(row), begin, end)) for begin, end in slices]
        out.append((strands, paths))
    _decode_again(again, relaxation.grammar, weights.relaxed, relaxation.outside)
    return out


def _decode_again(
    slices: Sequence[tuple[NDArray[np.uint8], _Part]], grammar: Grammar, weights: Scores, outside: str
) -> None:
    """Decodes slices of single strands into the paths [length] that they are of. They begin and end in the state
    `outside`, or as records do where they begin or end with one.
    """
    # by padded size and by which ends are the record's, open as these are
    again: dict[tuple[int | None, bool, bool], list[tuple[NDArray[np.uint8], _Part]]] = {}
    for path, part in slices:
        key = (_padded(part.end - part.begin), part.begin == 0, part.end == len(path))
        again.setdefault(key, []).append((path[part.begin : part.end], part))
    is_outside = np.arange(len(grammar.graph.states)) == grammar.graph.index[outside]
    only_outside: Any = np.where(is_outside, np.float32(0), np.float32(NEG))

    def call(size: int | None, scores: Scores, chosen: list[tuple[NDArray[np.uint8], _Part]], rows: int) -> None:
        if size is None:
            paths = np.concatenate([_long_path(grammar, scores, part) for _, part in chosen])
        else:
            paths = viterbi(grammar.graph, scores, *_batch(grammar, [part for _, part in chosen], rows, size))[1]
        for i, (target, _) in enumerate(chosen):
            target[:] = paths[i, : len(target)]

    tasks = []
    for (size, at_begin, at_end), chosen in again.items():
        scores = weights._replace(
            initial=weights.initial if at_begin else only_outside, final=weights.final if at_end else only_outside
        )
        rows = 1 if size is None else _AGAIN_BASES // size
        tasks += [partial(call, size, scores, chosen[k : k + rows], rows) for k in range(0, len(chosen), rows)]
    _side_by_side(tasks)


def log_partitions(
    records: Sequence[Record], tracks: Sequence[Tracks], code: GeneticCode, grammar: Grammar, weights: Weights
) -> NDArray[np.float64]:
    """Log odds of "any genes" against "no genes", summed over both strands, in nat: [records].

    Args:
        records: sequences of at most `LONG` bases.
        tracks: their scores.
        code: genetic code.
        grammar: to decode with.
        weights: of the grammar.
    """
    smaller = grammar.smaller
    per_call = _batch_bases(smaller) // LONG // 2
    out = []
    for k in range(0, len(records), per_call):
        batch = list(zip(records[k : k + per_call], tracks[k : k + per_call], strict=True))
        parts = [_Part(_Strands.of(r, t, code, smaller), 0, len(r)) for r, t in batch]
        log_z = _log_partition(smaller.graph, weights.posteriors, *_batch(smaller, parts, 2 * per_call, LONG))
        out += np.asarray(log_z, np.float64).reshape(-1, 2).sum(1)[: len(parts)].tolist()
    return np.array(out)


_log_partition = kept(0)(forward)


def _side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Runs tasks side by side, on the devices in turn."""
    devices = call_devices()

    def run(n: int) -> None:
        with jax.default_device(devices[n % len(devices)]):
            tasks[n]()

    with ThreadPoolExecutor(len(devices)) as pool:
        list(pool.map(run, range(len(tasks))))


#: of a record: paths [2, length] of the relaxed grammar, and posteriors as in `Decoded`
_Found = tuple[NDArray[np.uint8], NDArray[np.uint16]]


def _decode_long(grammar: Grammar, strands: _Strands, weights: Weights) -> _Found:
    """The exact path, and posteriors from overlapping segments."""
    smaller, length = grammar.smaller, strands.marks.shape[1]
    path = _SegmentedPath(grammar, weights, strands)
    posteriors = np.empty((2, length, len(grammar.groups)), np.uint16)
    cores = [(a, min(a + SEGMENT_CORE, length)) for a in range(0, length, SEGMENT_CORE)]
    per_call = _SEGMENT_ROWS // 2

    def find_posteriors(k: int) -> None:
        part = cores[k : k + per_call]
        spans = [_Part(strands, max(a - SEGMENT_FLANK, 0), min(b + SEGMENT_FLANK, length)) for a, b in part]
        values = _posteriors(smaller, weights, *_stack(spans, 2 * per_call, LONG))
        for i, ((a, b), (_, first, _)) in enumerate(zip(part, spans, strict=True)):
            posteriors[:, a:b] = values[2 * i : 2 * i + 2, a - first : b - first]

    _side_by_side([*path.tasks(), *(partial(find_posteriors, k) for k in range(0, len(cores), per_call))])
    return path.result(), posteriors


class _SegmentedPath:
    """The best path of both strands of a long record in the states of the relaxed grammar, by `hmm.segmented`."""

    def __init__(self, grammar: Grammar, weights: Weights, strands: _Strands) -> None:
        self._grammar, self._scores, self._strands = _relaxed(grammar), weights.relaxed, strands
        self._fixed = to_fixed_scores(self._scores)
        self._length = strands.marks.shape[1]
        self._spans = spans_of(self._length, PATH_SEGMENT, PATH_FLANK)
        self._paths = np.empty((2, len(self._spans), PATH_SEGMENT), np.uint8)
        self._borders = np.empty((2, len(self._spans), 2, len(self._grammar.graph.states)), np.int32)

    def tasks(self) -> list[Callable[[], None]]:
        """What has to be done first, in any order."""
        per_call = _PATH_ROWS // 2
        return [partial(self._find, k, k + per_call) for k in range(0, len(self._spans), per_call)]

    def _find(self, first: int, end: int) -> None:
        spans = self._spans[first:end]
        parts, lengths = _stack([_Part(self._strands, *span) for span in spans], _PATH_ROWS, PATH_SEGMENT)
        begins, ends = np.zeros((2, _PATH_ROWS), bool)
        for i, (a, b) in enumerate(spans):
            begins[2 * i : 2 * i + 2], ends[2 * i : 2 * i + 2] = a == 0, b == self._length
        paths, borders = _paths(self._grammar, self._fixed, parts, lengths, begins, ends, PATH_FLANK)
        rows = 2 * len(spans)
        self._paths[:, first:end] = np.asarray(paths)[:rows].reshape(-1, 2, PATH_SEGMENT).swapaxes(0, 1)
        self._borders[:, first:end] = np.asarray(borders)[:rows].reshape(-1, 2, *self._borders.shape[2:]).swapaxes(0, 1)

    def result(self) -> NDArray[np.uint8]:
        """[2, length]."""
        found = []
        for row, (paths, borders) in enumerate(zip(self._paths, self._borders, strict=True)):
            path = joined(self._spans, paths, borders, PATH_FLANK)
            if path is None:
                path = _long_path(self._grammar, self._scores, _Part(self._strands.strand(row), 0, self._length))[0]
            found.append(path)
        return np.stack(found)


@kept(0, 6)
def _paths(
    grammar: Grammar,
    fixed: Scores,
    strands: _Strands,
    lengths: jax.Array,
    begins: jax.Array,
    ends: jax.Array,
    flank: int,
) -> tuple[jax.Array, jax.Array]:
    """Paths [rows, size] and scores at the borders [rows, 2, states]."""
    emissions, positions = partial(_emissions_at, grammar), _by_position(strands)
    paths, borders = segment_paths(grammar.graph, fixed, emissions, positions, lengths, begins, ends, flank)
    return paths.T, borders.transpose(2, 0, 1)


def _long_path(grammar: Grammar, scores: Scores, part: _Part) -> NDArray[np.uint8]:
    """The best path of each strand of a part of any length, found block by block: [strands, length]."""
    strands, begin, end = part
    rows, size = len(strands.marks), min(BLOCK, _batch_bases(grammar) // 2)

    def block(i: int) -> jax.Array:
        start = begin + i * size
        return _batch(grammar, [_Part(strands, start, min(start + size, end))], rows, size)[0]

    decoder = ViterbiDecoder(grammar.graph, scores, batch=rows, recompute=block)
    pieces = [decoder.push(block(i), min(size, end - begin - i * size)) for i in range(-(-(end - begin) // size))]
    return np.concatenate([*pieces, decoder.finish()[1]], axis=1)


def _batch_bases(grammar: Grammar) -> int:
    """Positions of both strands in one call: fewer for grammars of many states, whose emissions are large."""
    return _BATCH_BASES >> max(0, (len(grammar.graph.states) // 32).bit_length() - 1)


def _decode_short(grammar: Grammar, size: int, records: int, strands: list[_Strands], weights: Weights) -> list[_Found]:
    """Records of at most `size` bases as one batch of up to so many `records`."""
    relaxed, smaller = _relaxed(grammar), grammar.smaller
    lengths = [s.marks.shape[1] for s in strands]
    parts = [_Part(s, 0, n) for s, n in zip(strands, lengths, strict=True)]
    stacked, padded = _stack(parts, 2 * records, size)
    whole, fixed = np.ones(len(padded), bool), to_fixed_scores(weights.relaxed)
    paths = np.asarray(_paths(relaxed, fixed, stacked, padded, whole, whole, 0)[0])
    posteriors = _posteriors(smaller, weights, stacked, padded)
    return [(paths[2 * i : 2 * i + 2, :n], posteriors[2 * i : 2 * i + 2, :n]) for i, n in enumerate(lengths)]


def _posteriors(
    grammar: Grammar, weights: Weights, strands: _Strands, lengths: NDArray[np.int32]
) -> NDArray[np.uint16]:
    """[rows, size, groups] in units of 1 / `FULL`."""
    return np.asarray(_grouped_posteriors(grammar, weights.posteriors, strands, lengths))


@kept(0)
def _grouped_posteriors(grammar: Grammar, scores: Scores, strands: _Strands, lengths: jax.Array) -> jax.Array:
    groups = np.stack(list(grammar.groups.values())) > 0
    emissions, positions = partial(_emissions_at, grammar), _by_position(strands)
    found = group_posteriors(grammar.graph, scores, emissions, positions, lengths, groups)
    return jnp.round(jnp.clip(found, 0, 1) * FULL).astype(jnp.uint16).transpose(2, 0, 1)
