"""From score tracks to paths and posteriors, for any grammar.

Both strands are decoded at once as a batch of two. Records of similar length share a batch; long ones are decoded
block by block in bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .features import Record
from .hmm.grammars.grammar import Grammar
from .hmm.graph import NEG, Scores
from .hmm.recursions import forward, forward_backward
from .hmm.viterbi import UNITS, ViterbiDecoder, viterbi
from .nn.network import CodeMasks
from .scoring import Tracks
from .sequence import GeneticCode, reverse_complement
from .windows import LONG, SHORT

#: positions per block of a long record
BLOCK = 1 << 16
#: posteriors of a long record are computed on segments of this core with this much context at both ends, side by side;
#: they differ from those of the whole record by less than 1e-4
SEGMENT_FLANK = 4096
SEGMENT_CORE = LONG - 2 * SEGMENT_FLANK
#: records per batch of short ones, by padded length
_BATCH_BASES = 1 << 19

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
        return self.posteriors[..., list(self.grammar.groups).index(group)].astype(np.float32) / np.float32(FULL)

    @property
    def coding(self) -> NDArray[np.float32]:
        """[length] probability that a base is coding on at least one strand; these are decoded apart."""
        own = self.posterior("coding") if "coding" in self.grammar.groups else 1 - self.posterior("none")
        return 1 - (1 - own[0]) * (1 - own[1, ::-1])


class _Strands:
    """What decoding reads of a record: scores and marks of both strands, each in its own orientation."""

    def __init__(self, record: Record, tracks: Tracks, code: GeneticCode, grammar: Grammar) -> None:
        self.grammar = grammar
        masks = CodeMasks.of(code)
        marks = np.stack([grammar.marks(c, masks) for c in (record.codes, reverse_complement(record.codes))])
        self.arrays = (tracks.classes, tracks.sites, marks)


#: a stretch of both strands of a record: positions begin, end in each strand's own orientation
_Part = tuple[_Strands, int, int]


def _batch(grammar: Grammar, parts: Sequence[_Part], rows: int, size: int) -> tuple[jax.Array, jax.Array]:
    """Emissions [2 rows, size, states] and lengths [2 rows] of up to `rows` parts of up to `size` positions."""
    lengths = np.zeros(2 * rows, np.int32)
    stacked = [np.zeros((2 * rows, size, *x.shape[2:]), x.dtype) for x in parts[0][0].arrays]
    for i, (strands, begin, end) in enumerate(parts):
        two = slice(2 * i, 2 * i + 2)
        lengths[two] = end - begin
        for target, source in zip(stacked, strands.arrays, strict=True):
            target[two, : end - begin] = source[:, begin:end]
    return _emissions(grammar, *stacked), jnp.asarray(lengths)


@partial(jax.jit, static_argnums=0)
def _emissions(grammar: Grammar, classes: jax.Array, sites: jax.Array, marks: jax.Array) -> jax.Array:
    scale = jnp.float32(1 / UNITS)
    return grammar.emissions(classes * scale, sites * scale, marks, impossible=NEG)


class Weights(NamedTuple):
    """Transition scores of a grammar and of the one that it computes posteriors with."""

    path: Scores
    posteriors: Scores

    @staticmethod
    def of(grammar: Grammar, transitions: Mapping[str, jax.Array | float]) -> Weights:
        """From transition weights by name."""
        smaller = grammar.for_posteriors or grammar
        return Weights(grammar.graph.scores(transitions), smaller.graph.scores(transitions))


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
    empty = (np.zeros((2, 0), np.uint8), np.zeros((2, 0, len(grammar.groups)), np.uint16))
    out = [Decoded(record, grammar, *empty) for record in records]
    short: dict[int, list[int]] = {}
    for i, record in enumerate(records):
        size = next((s for s in (*SHORT, LONG) if len(record) <= s), None)
        if size is None:
            out[i] = _decode_long(_Strands(record, tracks[i], code, grammar), record, weights)
        elif len(record):
            short.setdefault(size, []).append(i)
    for size, members in sorted(short.items()):
        per_call = max(1, _batch_bases(grammar) // size // 2)

        def call(k: int, size: int = size, members: list[int] = members, per_call: int = per_call) -> None:
            part = members[k : k + per_call]
            strands = [_Strands(records[i], tracks[i], code, grammar) for i in part]
            found = _decode_short(size, per_call, strands, [len(records[i]) for i in part], weights)
            for i, (paths, posteriors) in zip(part, found, strict=True):
                out[i] = Decoded(records[i], grammar, paths, posteriors)

        _side_by_side([partial(call, k) for k in range(0, len(members), per_call)])
    return out


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
    smaller = grammar.for_posteriors or grammar
    per_call = _batch_bases(smaller) // LONG // 2
    out = []
    for k in range(0, len(records), per_call):
        batch = list(zip(records[k : k + per_call], tracks[k : k + per_call], strict=True))
        parts = [(_Strands(r, t, code, smaller), 0, len(r)) for r, t in batch]
        log_z = _log_partition(smaller.graph, weights.posteriors, *_batch(smaller, parts, per_call, LONG))
        out += np.asarray(log_z, np.float64).reshape(-1, 2).sum(1)[: len(parts)].tolist()
    return np.array(out)


_log_partition = jax.jit(forward, static_argnums=0)


def _side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Runs tasks on the devices in turn, as many at once as there are devices."""
    devices = jax.devices()

    def run(n: int) -> None:
        with jax.default_device(devices[n % len(devices)]):
            tasks[n]()

    with ThreadPoolExecutor(len(devices)) as pool:
        list(pool.map(run, range(len(tasks))))


def _decode_long(strands: _Strands, record: Record, weights: Weights) -> Decoded:
    """The exact path, found block by block, and posteriors from overlapping segments."""
    grammar, length = strands.grammar, len(record)
    smaller = grammar.for_posteriors or grammar
    size = min(BLOCK, _batch_bases(grammar) // 2)

    def block(i: int) -> jax.Array:
        return _batch(grammar, [(strands, i * size, min((i + 1) * size, length))], 1, size)[0]

    paths = np.empty((2, length), np.uint8)
    posteriors = np.empty((2, length, len(grammar.groups)), np.uint16)
    cores = [(a, min(a + SEGMENT_CORE, length)) for a in range(0, length, SEGMENT_CORE)]
    per_call = _batch_bases(smaller) // LONG // 2

    def find_path() -> None:
        decoder = ViterbiDecoder(grammar.graph, weights.path, batch=2, recompute=block)
        pieces = [decoder.push(block(i), min(size, length - i * size)) for i in range(-(-length // size))]
        np.concatenate([*pieces, decoder.finish()[1]], axis=1, out=paths)

    def find_posteriors(k: int) -> None:
        part = cores[k : k + per_call]
        spans = [(strands, max(a - SEGMENT_FLANK, 0), min(b + SEGMENT_FLANK, length)) for a, b in part]
        values = _posteriors(smaller, weights, *_batch(smaller, spans, per_call, LONG))
        for i, ((a, b), (_, first, _)) in enumerate(zip(part, spans, strict=True)):
            posteriors[:, a:b] = values[2 * i : 2 * i + 2, a - first : b - first]

    _side_by_side([find_path, *(partial(find_posteriors, k) for k in range(0, len(cores), per_call))])
    return Decoded(record, grammar, paths, posteriors)


def _batch_bases(grammar: Grammar) -> int:
    """Positions of both strands in one call: fewer for grammars of many states, whose emissions are large."""
    return _BATCH_BASES >> max(0, (len(grammar.graph.states) // 32).bit_length() - 1)


@partial(jax.jit, static_argnums=0)
def _grouped_posteriors(grammar: Grammar, scores: Scores, emissions: jax.Array, lengths: jax.Array) -> jax.Array:
    _, posteriors = forward_backward(grammar.graph, scores, emissions, lengths)
    groups = np.stack(list(grammar.groups.values()), -1)
    return jnp.einsum("bts,sg->btg", posteriors, groups, precision="highest")


def _decode_short(
    size: int, rows: int, strands: list[_Strands], lengths: list[int], weights: Weights
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint16]]]:
    """Paths and posteriors of records of at most `size` bases, as one batch of 2 * rows strands."""
    grammar = strands[0].grammar
    smaller = grammar.for_posteriors or grammar
    parts = [(s, 0, n) for s, n in zip(strands, lengths, strict=True)]
    emissions, padded = _batch(grammar, parts, rows, size)
    _, paths = viterbi(grammar.graph, weights.path, emissions, padded)
    if smaller is not grammar:
        emissions, padded = _batch(smaller, parts, rows, size)
    posteriors = _posteriors(smaller, weights, emissions, padded)
    return [(paths[2 * i : 2 * i + 2, :n], posteriors[2 * i : 2 * i + 2, :n]) for i, n in enumerate(lengths)]


def _posteriors(grammar: Grammar, weights: Weights, emissions: jax.Array, lengths: jax.Array) -> NDArray[np.uint16]:
    values = _grouped_posteriors(grammar, weights.posteriors, emissions, lengths)
    return np.rint(np.clip(np.asarray(values), 0, 1) * FULL).astype(np.uint16)
