"""From score tracks to paths and genes: exact Viterbi, and posteriors for the scores.

Both strands are decoded at once as a batch of two. Records of similar length share a batch; long ones are decoded
block by block in bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .features import Gene, Record
from .hmm.grammars import bacteria
from .hmm.graph import NEG, Graph, Scores
from .hmm.recursions import forward_backward
from .hmm.viterbi import UNITS, ViterbiDecoder, viterbi
from .scoring import Tracks
from .sequence import GeneticCode, decode, kmer_indices, reverse_complement
from .windows import LONG, SHORT

#: positions per block of a long record
BLOCK = 1 << 16
#: posteriors of a long record are computed on segments of this core with this much context at both ends, side by side;
#: they differ from those of the whole record by less than 1e-4
SEGMENT_FLANK = 4096
SEGMENT_CORE = LONG - 2 * SEGMENT_FLANK
#: records per batch of short ones, by padded length
_BATCH_BASES = 1 << 19

#: what posteriors are summed to: a stop codon ends here, a start codon begins here, third codon position, no gene, two
_GROUPS = np.array(
    [["T" in s, "S" in s, "3" in s or "T" in s, s == "I", len(s) == 2] for s in bacteria.STATES], np.float32
)
_STOP, _START, _THIRD, _NONE, _TWO = range(5)
_FULL = 65535


@dataclass(frozen=True)
class Decoded:
    """The best path of a record and the posteriors along it; each strand in its own 5' to 3' orientation.

    Attributes:
        record: the sequence.
        paths: [2, length] uint8 states of `bacteria.STATES`.
        posteriors: [2, length, 5] uint16 in units of 1 / 65535: P(stop codon ends here), P(start codon begins here),
            P(third codon position of a gene), P(no gene), P(two genes).
    """

    record: Record
    paths: NDArray[np.uint8]
    posteriors: NDArray[np.uint16]

    def genes(self, code: GeneticCode) -> list[Gene]:
        """Genes of both strands, sorted by position, with posterior scores."""
        return _genes(self, code)

    def coverage(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Number of genes over each base and its posterior, [2, length] each, both rows in forward orientation."""
        number = _GENES_OVER[self.paths]
        none, two = (self.posteriors[..., g].astype(np.float32) / _FULL for g in (_NONE, _TWO))
        posterior = np.choose(number, [none, np.clip(1 - none - two, 0, 1), two])
        return (
            np.stack([number[0], number[1, ::-1]]),
            np.stack([posterior[0], posterior[1, ::-1]]).astype(np.float32),
        )


_GENES_OVER = np.array([0 if s == "I" else len(s) for s in bacteria.STATES], np.uint8)


class _Strands:
    """What decoding reads of a record: scores and codon masks of both strands, each in its own orientation."""

    def __init__(self, record: Record, tracks: Tracks, code: GeneticCode) -> None:
        is_start = np.concatenate([code.is_start, [False]])
        is_stop = np.concatenate([code.is_stop, [False]])
        codons = [kmer_indices(c, 3) for c in (record.codes, reverse_complement(record.codes))]
        stop = np.stack([is_stop[c] for c in codons])
        stop_ends_here = np.zeros_like(stop)
        stop_ends_here[:, 2:] = stop[:, :-2]
        starts_here = np.stack([is_start[c] for c in codons])
        self.arrays = (tracks.coding, tracks.start, starts_here, stop_ends_here)


#: a stretch of both strands of a record: positions begin, end in each strand's own orientation
_Part = tuple[_Strands, int, int]


def _batch(parts: Sequence[_Part], rows: int, size: int) -> tuple[jax.Array, jax.Array]:
    """Emissions [2 rows, size, states] and lengths [2 rows] of up to `rows` parts of up to `size` positions."""
    lengths = np.zeros(2 * rows, np.int32)
    stacked = [np.zeros((2 * rows, size, *x.shape[2:]), x.dtype) for x in parts[0][0].arrays]
    for i, (strands, begin, end) in enumerate(parts):
        two = slice(2 * i, 2 * i + 2)
        lengths[two] = end - begin
        for target, source in zip(stacked, strands.arrays, strict=True):
            target[two, : end - begin] = source[:, begin:end]
    return _emissions(*stacked), jnp.asarray(lengths)


@jax.jit
def _emissions(coding: jax.Array, start: jax.Array, starts_here: jax.Array, stop_ends_here: jax.Array) -> jax.Array:
    scale = jnp.float32(1 / UNITS)
    return bacteria.emissions(coding * scale, start * scale, starts_here, stop_ends_here, impossible=NEG)


def decode_records(
    records: Sequence[Record], tracks: Sequence[Tracks], code: GeneticCode, scores: Scores
) -> list[Decoded]:
    """Best paths and posteriors of records.

    Args:
        records: sequences.
        tracks: their scores.
        code: genetic code.
        scores: transition scores of `bacteria.GRAPH`.
    """
    empty = (np.zeros((2, 0), np.uint8), np.zeros((2, 0, _GROUPS.shape[1]), np.uint16))
    out = [Decoded(record, *empty) for record in records]
    short: dict[int, list[int]] = {}
    for i, record in enumerate(records):
        size = next((s for s in (*SHORT, LONG) if len(record) <= s), None)
        if size is None:
            out[i] = _decode_long(record, tracks[i], code, scores)
        elif len(record):
            short.setdefault(size, []).append(i)
    for size, members in sorted(short.items()):
        per_call = _BATCH_BASES // size // 2

        def call(k: int, size: int = size, members: list[int] = members, per_call: int = per_call) -> None:
            part = members[k : k + per_call]
            found = _decode_short(size, per_call, [records[i] for i in part], [tracks[i] for i in part], code, scores)
            for i, decoded in zip(part, found, strict=True):
                out[i] = decoded

        _side_by_side([partial(call, k) for k in range(0, len(members), per_call)])
    return out


def _side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Runs tasks on the devices in turn, as many at once as there are devices."""
    devices = jax.devices()

    def run(n: int) -> None:
        with jax.default_device(devices[n % len(devices)]):
            tasks[n]()

    with ThreadPoolExecutor(len(devices)) as pool:
        list(pool.map(run, range(len(tasks))))


def _decode_long(record: Record, tracks: Tracks, code: GeneticCode, scores: Scores) -> Decoded:
    """The exact path, found block by block, and posteriors from overlapping segments."""
    length = len(record)
    strands = _Strands(record, tracks, code)

    def block(i: int) -> jax.Array:
        return _batch([(strands, i * BLOCK, min((i + 1) * BLOCK, length))], 1, BLOCK)[0]

    paths = np.empty((2, length), np.uint8)
    posteriors = np.empty((2, length, _GROUPS.shape[1]), np.uint16)
    cores = [(a, min(a + SEGMENT_CORE, length)) for a in range(0, length, SEGMENT_CORE)]
    per_call = _BATCH_BASES // LONG // 2

    def find_path() -> None:
        decoder = ViterbiDecoder(bacteria.GRAPH, scores, batch=2, recompute=block)
        pieces = [decoder.push(block(i), min(BLOCK, length - i * BLOCK)) for i in range(-(-length // BLOCK))]
        np.concatenate([*pieces, decoder.finish()[1]], axis=1, out=paths)

    def find_posteriors(k: int) -> None:
        part = cores[k : k + per_call]
        spans = [(strands, max(a - SEGMENT_FLANK, 0), min(b + SEGMENT_FLANK, length)) for a, b in part]
        values = _quantised(_grouped_posteriors(bacteria.GRAPH, scores, *_batch(spans, per_call, LONG)))
        for i, ((a, b), (_, first, _)) in enumerate(zip(part, spans, strict=True)):
            posteriors[:, a:b] = values[2 * i : 2 * i + 2, a - first : b - first]

    _side_by_side([find_path, *(partial(find_posteriors, k) for k in range(0, len(cores), per_call))])
    return Decoded(record, paths, posteriors)


@partial(jax.jit, static_argnums=0)
def _grouped_posteriors(graph: Graph, scores: Scores, emissions: jax.Array, lengths: jax.Array) -> jax.Array:
    _, posteriors = forward_backward(graph, scores, emissions, lengths)
    return jnp.einsum("bts,sg->btg", posteriors, _GROUPS, precision="highest")


def _decode_short(
    size: int, rows: int, records: list[Record], tracks: list[Tracks], code: GeneticCode, scores: Scores
) -> list[Decoded]:
    """Decodes records of at most `size` bases as one batch of 2 * rows strands."""
    parts = [(_Strands(r, t, code), 0, len(r)) for r, t in zip(records, tracks, strict=True)]
    emissions, lengths = _batch(parts, rows, size)
    _, paths = viterbi(bacteria.GRAPH, scores, emissions, lengths)
    posteriors = _quantised(_grouped_posteriors(bacteria.GRAPH, scores, emissions, lengths))
    return [
        Decoded(r, paths[2 * i : 2 * i + 2, : len(r)], posteriors[2 * i : 2 * i + 2, : len(r)])
        for i, r in enumerate(records)
    ]


def _quantised(posteriors: jax.Array) -> NDArray[np.uint16]:
    return np.rint(np.clip(np.asarray(posteriors), 0, 1) * _FULL).astype(np.uint16)


def _genes(decoded: Decoded, code: GeneticCode) -> list[Gene]:
    record, length = decoded.record, len(decoded.record)
    strands = (record.codes, reverse_complement(record.codes))
    genes = []
    for row, strand in enumerate("+-"):
        found = bacteria.intervals(decoded.paths[row])
        for s, e, has_start, has_stop in zip(*(x.tolist() for x in found), strict=True):
            # a gene off the end is as sure as its reading frame is in its last codon
            score = int(decoded.posteriors[row, e - 1, _STOP if has_stop else _THIRD])
            start_score, codon = float("nan"), ""
            if has_start:
                start_score = min(int(decoded.posteriors[row, s, _START]) / max(score, 1), 1.0)
                codon = decode(strands[row][s : s + 3])
            genes.append(
                Gene(
                    seqid=record.id,
                    start=s if row == 0 else length - e,
                    end=e if row == 0 else length - s,
                    strand=strand,
                    score=score / _FULL,
                    partial_left=not (has_start if row == 0 else has_stop),
                    partial_right=not (has_stop if row == 0 else has_start),
                    start_score=start_score,
                    start_codon=codon,
                    genetic_code=code.number,
                )
            )
    return sorted(genes, key=lambda g: (g.start, g.end, g.strand))
