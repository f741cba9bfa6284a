"""One alignment of what several alignments of the same sequences say.

Alignments that begin differently err differently: what most of them say is more often right than what any one of them
does (Wallace et al., Nucleic Acids Res. 34:1692, 2006). Pairs of residues are weighed by how many alignments have them
in one column, and groups of sequences are merged so that the weight of all pairs in common columns is greatest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sparse  # type: ignore[import-untyped]
from numpy.typing import NDArray

from .guide import fold, linkage_of
from .progressive import Group
from .weights import GAP

#: after the merges along the tree, times that the sequences are split at random and their halves merged again
_REFINEMENTS = 20
#: in place of a residue's number
_NONE = -1


def consensus_alignment(alignments: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
    """[sequences, columns] codes with `GAP`.

    Args:
        alignments: [sequences, columns] codes of the same sequences with `GAP`, one or more.
        rng: of the splits.
    """
    first = alignments[0]
    residues = first[first != GAP]
    lengths = (first != GAP).sum(axis=1)
    if len(first) < 2:
        return residues[None]
    weights = _pair_weights(alignments, len(residues))
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    leaves = (Group(np.array([i]), np.arange(*bounds[i : i + 2])[None]) for i in range(len(first)))
    group = fold(linkage_of(_distances(weights, lengths)), leaves, lambda one, two: _merge(one, two, weights))
    for _ in range(_REFINEMENTS):
        half = rng.random(len(first)) < 0.5
        if half.any() and not half.all():
            group = _merge(_part(group, half), _part(group, ~half), weights)
    places = group.in_order()
    return np.where(places == _NONE, GAP, residues[places]).astype(np.uint8)


def _pair_weights(alignments: Sequence[NDArray[np.uint8]], residues: int) -> sparse.csr_matrix:
    """[residues, residues]: the share of alignments that have two residues in one column."""
    total = sparse.csr_matrix((residues, residues))
    for rows in alignments:
        column = np.nonzero(rows != GAP)[1]
        there = sparse.csr_matrix((np.ones(residues, np.float32), (np.arange(residues), column)))
        total = total + there @ there.T
    return total / len(alignments)


def _distances(weights: sparse.csr_matrix, lengths: NDArray[np.intp]) -> NDArray[np.float64]:
    """[sequences, sequences]: 1 less the weight of all pairs of residues over the shorter sequence's length."""
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    shape = (len(lengths), len(sequence))
    of = sparse.csr_matrix((np.ones(len(sequence)), (sequence, np.arange(len(sequence)))), shape=shape)
    shared = (of @ weights @ of.T).toarray()
    shorter = np.maximum(np.minimum(lengths[:, None], lengths), 1)
    return 1 - np.clip(shared / shorter, 0, 1)


def _part(group: Group, chosen: NDArray[np.bool_]) -> Group:
    """The members that are chosen (by sequence), without columns of gaps."""
    inside = chosen[group.members]
    rows = group.rows[inside]
    return Group(group.members[inside], rows[:, (rows != _NONE).any(axis=0)])


def _merge(one: Group, two: Group, weights: sparse.csr_matrix) -> Group:
    """Groups whose rows hold the numbers of residues, counted over all sequences, and `_NONE`."""
    residues = weights.shape[0]
    score = (_columns(one.rows, residues) @ weights @ _columns(two.rows, residues).T).toarray()
    return one.joined(two, heaviest_path(score), _NONE)


def _columns(places: NDArray[np.intp], residues: int) -> sparse.csr_matrix:
    """[columns, residues], 1 where a residue stands in a column."""
    row, column = np.nonzero(places != _NONE)
    values = np.ones(len(row), np.float32)
    return sparse.csr_matrix((values, (column, places[row, column])), shape=(places.shape[1], residues))


def heaviest_path(score: NDArray[np.floating]) -> NDArray[np.int8]:
    """The alignment of two rows of columns with the greatest sum of scores [n, m] >= 0; gaps cost nothing.

    Returns:
        Steps: 0 both go on, 1 the first alone, 2 the second alone.
    """
    n, m = score.shape
    best = np.zeros((n + 1, m + 1))
    for i in range(n):
        best[i + 1, 1:] = np.maximum.accumulate(np.maximum(best[i, 1:], best[i, :-1] + score[i]))
    i, j = n, m
    steps: list[int] = []
    while i and j:
        step = 1 if best[i, j] == best[i - 1, j] else 2 if best[i, j] == best[i, j - 1] else 0
        steps.append(step)
        i, j = i - (step != 2), j - (step != 1)
    return np.array([*[2] * j, *[1] * i, *steps[::-1]], np.int8)
