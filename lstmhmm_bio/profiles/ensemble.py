"""Resolving regions of several domains: clusters of sampled paths, as in HMMER3.

Where the posterior probabilities suggest that one hit ends and another begins within a region, paths are drawn from
the posterior distribution, their passes through the profile are clustered, and every cluster that occurs in enough of
the paths is a domain. Thresholds, random numbers and order of draws are those of HMMER.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from ..hmm.chain import Flanks, forward_rows
from ..hmm.chain_paths import sample
from .plan7 import SearchModel

#: paths drawn
SAMPLES = 200
#: passes are linked if they overlap by this part of the shorter, in the sequence and in the profile ...
_OVERLAP = 0.8
#: ... and begin or end within so many diagonals of each other
_DIAGONALS = 4
#: a cluster counts if it is in this part of the paths
_MIN_POSTERIOR = 0.25
#: ends are the outermost that this part of its passes share
_MIN_END = 0.02
#: state of the generator for seed 42
_SEED = 42


class Ensemble(NamedTuple):
    """What the sampled paths say of a region.

    Attributes:
        envelopes: (start, end) of the domains, 0-based half-open, sorted by start.
        null2: [length] log of the mean odds of each residue under the composition of the passes that hold it.
    """

    envelopes: list[tuple[int, int]]
    null2: NDArray[np.float64]


class Passes(NamedTuple):
    """Passes through the profile; positions count from 1, ends included.

    Attributes:
        path: [n] number of the path.
        start, end: [n] in the sequence, of the first and last match.
        first, last: [n] in the profile.
    """

    path: NDArray[np.intp]
    start: NDArray[np.intp]
    end: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]


def resolve(
    model: SearchModel, flanks: Flanks, codes: NDArray[np.uint8], lengths: NDArray[np.int32]
) -> Iterator[Ensemble]:
    """Samples paths of regions and makes domains of them, of one region independently of the others.

    Args:
        model: the profile.
        flanks: [batch] each, of many hits, for the lengths of the whole sequences.
        codes: [batch, time] of the regions.
        lengths: [batch] of the regions; there is nothing for those of length 0.
    """
    _, rows = forward_rows(model.chain, flanks, codes, lengths)
    order = exit_order(model.size, model.width)
    drawn = jax.device_get(sample(model.chain, flanks, rows, lengths, order, random_state(_SEED), SAMPLES))
    average = np.asarray(model.average)
    for row, length in enumerate(lengths.tolist()):
        if length:
            node, inserted, first = (x[row, :, :length] for x in drawn)
            envelopes = clusters(passes(node, inserted, first), SAMPLES)
            yield Ensemble(envelopes, _null2(node, first, codes[row, :length], average))


def random_state(seed: int) -> np.uint32:
    """Initial state of the generator (Jenkins' mix of the seed with two constants)."""
    mask = 0xFFFFFFFF
    a, b, c = seed & mask, 87654321, 12345678
    for left, down, right in ((13, 8, 13), (12, 16, 5), (3, 10, 15)):
        a = ((a - b - c) & mask) ^ (c >> left)
        b = ((b - c - a) & mask) ^ ((a << down) & mask)
        c = ((c - a - b) & mask) ^ (b >> right)
    return np.uint32(c or 42)


def exit_order(size: int, width: int) -> NDArray[np.int32]:
    """The order in which HMMER's vectors of four lay out the ways into E: [2 * width] nodes k of M_(k+1), width + k
    of D_(k+1); padding last.
    """
    stripes = max(2, (size - 1) // 4 + 1)
    k = (np.arange(stripes)[:, None] + stripes * np.arange(4)).astype(np.int32)
    order = np.concatenate([np.where(k < size, k, -1), np.where(k < size, k + width, -1)], axis=1).ravel()
    order = order[order >= 0]
    rest = np.setdiff1d(np.arange(2 * width, dtype=np.int32), order)
    return np.concatenate([order, rest]).astype(np.int32)


def passes(node: NDArray, inserted: NDArray, first: NDArray) -> Passes:
    """The passes in paths [paths, length], from their first to their last match."""
    path, start = np.nonzero(first)
    matched = (node > 0) & ~inserted
    length = node.shape[1]
    # the last match before the next pass begins, or before the path's end
    flat = np.flatnonzero(matched.ravel())
    begins = path * length + start
    next_begin = np.append(begins[1:], node.size)
    end_flat = flat[np.searchsorted(flat, next_begin) - 1]
    end = end_flat - path * length
    return Passes(path, start + 1, end + 1, node[path, start], node[path, end])


def clusters(found: Passes, paths: int) -> list[tuple[int, int]]:
    """Envelopes (0-based half-open) of single-linkage clusters of passes."""
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    spans = np.stack([found.start, found.end, found.first, found.last], axis=1)
    unique, member = np.unique(spans, axis=0, return_inverse=True)
    _, label = connected_components(_linked(*unique.T), directed=False)
    label = label[member.ravel()]
    kept = []
    for cluster in range(label.max(initial=-1) + 1):
        inside = label == cluster
        number = len(np.unique(found.path[inside]))
        if number / paths < _MIN_POSTERIOR:
            continue
        enough = int(np.ceil(np.float32(number) * np.float32(_MIN_END)))
        start = _outermost(found.start[inside], enough, leftmost=True)
        end = _outermost(found.end[inside], enough, leftmost=False)
        kept.append((start, end, number / paths))
    kept.sort(key=lambda cluster: cluster[0])
    return [(start - 1, end) for start, end, _ in _undominated(kept)]


def _linked(start: NDArray, end: NDArray, first: NDArray, last: NDArray) -> NDArray[np.bool_]:
    """[n, n] which passes are neighbours."""

    def overlap(a: NDArray, b: NDArray, extra: int) -> NDArray[np.float64]:
        shared = np.minimum.outer(b, b) - np.maximum.outer(a, a) + extra
        return shared / np.minimum.outer(b - a + 1, b - a + 1)

    def near(diagonal: NDArray) -> NDArray[np.bool_]:
        return abs(np.subtract.outer(diagonal, diagonal)) <= _DIAGONALS

    close = near(start - first) | near(end - last)
    return close & (overlap(start, end, 1) >= _OVERLAP) & (overlap(first, last, 0) >= _OVERLAP)


def _outermost(ends: NDArray, enough: int, *, leftmost: bool) -> int:
    """The outermost position that enough passes have, else the commonest."""
    places, counts = np.unique(ends, return_counts=True)
    frequent = places[counts >= enough]
    if not len(frequent):
        return int(places[np.argmax(counts)])
    return int(frequent[0] if leftmost else frequent[-1])


def _undominated(sorted_clusters: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Without clusters that overlap a more probable one by most of the shorter."""
    dominated = set()
    for d, (start, end, probability) in enumerate(sorted_clusters):
        for other, (start2, end2, probability2) in enumerate(sorted_clusters[d + 1 :], d + 1):
            shared = min(end, end2) - max(start, start2) + 1
            if shared == 0:
                break
            if shared / min(end - start + 1, end2 - start2 + 1) >= _OVERLAP:
                dominated.add(other if probability > probability2 else d)
    return [cluster for d, cluster in enumerate(sorted_clusters) if d not in dominated]


def _null2(node: NDArray, first: NDArray, codes: NDArray[np.uint8], average: NDArray) -> NDArray[np.float64]:
    """Log of the mean over paths of each residue's odds under the null model of the pass it is in.

    A pass's null model is the mean of the match emissions of all nodes it visits, in inserts too; the first residue of
    a pass and those outside count as background. Both are HMMER's ways.
    """
    width = average.shape[1]
    begins = np.cumsum(first, axis=1)
    path, place = np.nonzero((node > 0) & (begins > 0))
    before = np.cumsum(begins[:, -1]) - begins[:, -1]
    number = before[path] + begins[path, place] - 1  # of the pass, among those of all paths
    visits = np.bincount(number * width + node[path, place] - 1, minlength=begins[:, -1].sum() * width)
    visits = visits.reshape(-1, width)
    null = visits / visits.sum(axis=1, keepdims=True) @ average.T
    odds = np.ones(node.shape)
    odds[path, place] = np.where(first[path, place], 1.0, null[number, codes[place]])
    return np.log(odds.mean(axis=0))
