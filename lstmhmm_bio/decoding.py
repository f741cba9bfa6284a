"""From score tracks to paths and posteriors, for any grammar.

Both strands are decoded side by side. Records of similar length share a batch; long ones are decoded in overlapping
segments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .features import Record
from .hmm.grammars.grammar import Grammar
from .hmm.graph import Scores
from .hmm.posteriors import group_posteriors
from .hmm.recursions import forward
from .hmm.viterbi import to_fixed_scores
from .paths import SegmentedPaths, Weights, constrained, find_paths, relaxed_of, without_unsure_introns
from .programs import kept
from .scoring import Tracks
from .sequence import GeneticCode
from .strands import Part, Strands, batch, batch_bases, by_position, emissions_at, padded, side_by_side, stack
from .windows import LONG

#: posteriors of a long record are computed on segments of this core with this much context at both ends, side by side;
#: on real genomes more context changed them by less than 1e-3 at most
SEGMENT_FLANK = 2048
SEGMENT_CORE = LONG - 2 * SEGMENT_FLANK
#: strands in one batch of these segments, a multiple of what processors add at once
_SEGMENT_ROWS = 32

#: posteriors are kept in units of 1 / FULL, as uint16
FULL = 65535


@dataclass(frozen=True)
class Decoded:
    """The best path of a record and the posteriors along it; each strand in its own 5' to 3' orientation.

    Attributes:
        record: the sequence.
        grammar: that its states belong to.
        paths: [2, length] uint8 states.
        posteriors: [2, length, groups] uint16 in units of 1 / `FULL`.
        groups: names of the groups of states that these are of, some of `Grammar.groups`.
    """

    record: Record
    grammar: Grammar
    paths: NDArray[np.uint8]
    posteriors: NDArray[np.uint16]
    groups: tuple[str, ...]

    def posterior(self, group: str) -> NDArray[np.float32]:
        """[2, length] posterior probability of a group of states."""
        return _share(self.posteriors[..., self._column(group)])

    def posterior_at(self, group: str, row: int, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Posterior probability of a group of states at some positions of one strand."""
        return _share(self.posteriors[row, positions, self._column(group)])

    def _column(self, group: str) -> int:
        return self.groups.index(group)

    @property
    def coding(self) -> NDArray[np.float32]:
        """[length] probability that a base is coding on at least one strand; these are decoded apart."""
        own = self.posterior("coding") if "coding" in self.groups else 1 - self.posterior("none")
        return 1 - (1 - own[0]) * (1 - own[1, ::-1])


def _share(units: NDArray[np.uint16]) -> NDArray[np.float32]:
    return units.astype(np.float32) / np.float32(FULL)


def decode_records(
    records: Sequence[Record],
    tracks: Sequence[Tracks],
    code: GeneticCode,
    grammar: Grammar,
    weights: Weights,
    groups: Sequence[str] = (),
) -> list[Decoded]:
    """Best paths and posteriors of records.

    Args:
        records: sequences.
        tracks: their scores.
        code: genetic code.
        grammar: to decode with.
        weights: of the grammar.
        groups: whose posteriors are wanted, of `Grammar.groups`; all of them if none is named. A grammar with
            `Grammar.least_intron` needs all.
    """
    groups = tuple(groups or grammar.groups)
    kept: dict[int, Strands] = {}  # for decoding again, if that may be
    found = [(np.zeros((2, 0), np.uint8), np.zeros((2, 0, len(groups)), np.uint16))] * len(records)
    long: dict[int, Strands] = {}
    short: dict[int, list[int]] = {}
    for i, record in enumerate(records):
        size = padded(len(record))
        if size is None:
            long[i] = Strands.of(record, tracks[i], code, grammar)
        elif len(record):
            short.setdefault(size, []).append(i)
    if long:
        for i, pair in zip(long, _decode_long(grammar, list(long.values()), weights, groups), strict=True):
            found[i] = pair
        if grammar.relaxed:
            kept |= long
    tasks: list[Callable[[], None]] = []
    for size, members in sorted(short.items()):
        # posteriors of the longest by the program of segments
        rows = _SEGMENT_ROWS if size == LONG else batch_bases(relaxed_of(grammar)) // size
        per_call = max(1, rows // 2)

        def call(k: int, size: int = size, members: list[int] = members, per_call: int = per_call) -> None:
            part = members[k : k + per_call]
            strands = [Strands.of(records[i], tracks[i], code, grammar) for i in part]
            for i, of_record in zip(
                part, _decode_short(grammar, size, per_call, strands, weights, groups), strict=True
            ):
                found[i] = of_record
            if grammar.relaxed:
                kept.update(zip(part, strands, strict=True))

        tasks += [partial(call, k) for k in range(0, len(members), per_call)]
    side_by_side(tasks)
    members = sorted(kept)
    relaxed = [(kept[i], found[i][0]) for i in members]
    if grammar.least_intron:
        least = grammar.least_intron * FULL
        relaxed = without_unsure_introns(relaxed, [found[i][1] for i in members], least, grammar, weights)
    paths = constrained(relaxed, grammar, weights)
    for i, of_record in zip(members, paths, strict=True):
        found[i] = (of_record, found[i][1])
    return [Decoded(record, grammar, *of_record, groups) for record, of_record in zip(records, found, strict=True)]


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
    per_call = batch_bases(smaller) // LONG // 2
    out = []
    for k in range(0, len(records), per_call):
        pairs = list(zip(records[k : k + per_call], tracks[k : k + per_call], strict=True))
        parts = [Part(Strands.of(r, t, code, smaller), 0, len(r)) for r, t in pairs]
        log_z = _log_partition(smaller.graph, weights.posteriors, *batch(smaller, parts, 2 * per_call, LONG))
        out += np.asarray(log_z, np.float64).reshape(-1, 2).sum(1)[: len(parts)].tolist()
    return np.array(out)


_log_partition = kept(0)(forward)


#: of a record: paths [2, length] of the relaxed grammar, and posteriors as in `Decoded`
_Found = tuple[NDArray[np.uint8], NDArray[np.uint16]]


def _decode_long(
    grammar: Grammar, strands: Sequence[Strands], weights: Weights, groups: tuple[str, ...]
) -> list[_Found]:
    """The exact paths of long records, and posteriors from overlapping segments; batches hold segments of them all."""
    lengths = [s.marks.shape[1] for s in strands]
    paths = SegmentedPaths(grammar, weights, strands)
    posteriors = [np.empty((2, n, len(groups)), np.uint16) for n in lengths]
    cores = [(i, a, min(a + SEGMENT_CORE, n)) for i, n in enumerate(lengths) for a in range(0, n, SEGMENT_CORE)]
    per_call = _SEGMENT_ROWS // 2

    def find_posteriors(k: int) -> None:
        part = cores[k : k + per_call]
        spans = [Part(strands[i], max(a - SEGMENT_FLANK, 0), min(b + SEGMENT_FLANK, lengths[i])) for i, a, b in part]
        values = _posteriors(grammar.smaller, groups, weights, *stack(spans, 2 * per_call, LONG))
        for row, ((i, a, b), (_, first, _)) in enumerate(zip(part, spans, strict=True)):
            posteriors[i][:, a:b] = values[2 * row : 2 * row + 2, a - first : b - first]

    side_by_side([*paths.tasks(), *(partial(find_posteriors, k) for k in range(0, len(cores), per_call))])
    return list(zip(paths.results(), posteriors, strict=True))


def _decode_short(
    grammar: Grammar, size: int, records: int, strands: list[Strands], weights: Weights, groups: tuple[str, ...]
) -> list[_Found]:
    """Records of at most `size` bases as one batch of up to so many `records`."""
    relaxed, smaller = relaxed_of(grammar), grammar.smaller
    lengths = [s.marks.shape[1] for s in strands]
    parts = [Part(s, 0, n) for s, n in zip(strands, lengths, strict=True)]
    stacked, padded = stack(parts, 2 * records, size)
    whole, fixed = np.ones(len(padded), bool), to_fixed_scores(weights.relaxed)
    paths = np.asarray(find_paths(relaxed, fixed, stacked, padded, whole, whole, 0)[0])
    posteriors = _posteriors(smaller, groups, weights, stacked, padded)
    return [(paths[2 * i : 2 * i + 2, :n], posteriors[2 * i : 2 * i + 2, :n]) for i, n in enumerate(lengths)]


def _posteriors(
    grammar: Grammar, groups: tuple[str, ...], weights: Weights, strands: Strands, lengths: NDArray[np.int32]
) -> NDArray[np.uint16]:
    """[rows, size, groups] in units of 1 / `FULL`."""
    return np.asarray(_grouped_posteriors(grammar, groups, weights.posteriors, strands, lengths))


@kept(0, 1)
def _grouped_posteriors(
    grammar: Grammar, groups: tuple[str, ...], scores: Scores, strands: Strands, lengths: jax.Array
) -> jax.Array:
    members = np.stack([grammar.groups[group] for group in groups]) > 0
    emissions, positions = partial(emissions_at, grammar), by_position(strands)
    found = group_posteriors(grammar.graph, scores, emissions, positions, lengths, members)
    return jnp.round(jnp.clip(found, 0, 1) * FULL).astype(jnp.uint16).transpose(2, 0, 1)
