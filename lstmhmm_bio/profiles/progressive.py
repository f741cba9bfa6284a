"""A first alignment: groups of sequences are aligned to each other along a guide tree.

Columns of two groups are scored by the log expectation of Edgar (Nucleic Acids Res. 32:1792, 2004): the log odds of
drawing related rather than independent residues from them, times the shares of residues. Gap costs are weighted by the
share of residues opposite. Where the sequences have been placed on a profile, what the profile says of two columns is
added, so that relatives keep together and groups come where the profile has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .guide import fold
from .profile import Alphabet, Codes
from .weights import GAP

#: gap costs in nat: to open (unless told otherwise), to go on, and the share of that at the ends of an alignment
OPEN, _EXTEND, _AT_ENDS = 4.5, 0.3, 0.7
#: taken off every pair of columns, so that unrelated ones score below 0
_CENTRE = 0.1
#: added for two columns that surely belong to one match state, nat
_PLACED = 1.0


@dataclass(frozen=True, eq=False)
class Group:
    """Aligned sequences.

    Attributes:
        members: [members] indices of the sequences.
        rows: [members, columns] what they have there, or what stands for a gap.
    """

    members: NDArray[np.intp]
    rows: NDArray[Any]

    def joined(self, other: Group, steps: NDArray[np.int8], gap: int) -> Group:
        """Both, by steps in which both go on (0), this one alone (1) or the other alone (2)."""
        here = len(self.rows)
        rows = np.full((here + len(other.rows), len(steps)), gap, self.rows.dtype)
        rows[:here, steps != 2] = self.rows
        rows[here:, steps != 1] = other.rows
        return Group(np.concatenate([self.members, other.members]), rows)

    def in_order(self) -> NDArray[Any]:
        """The rows of all sequences in their order."""
        result = np.empty_like(self.rows)
        result[self.members] = self.rows
        return result


@dataclass(frozen=True, eq=False)
class Places:
    """Where a profile has the residues of all sequences, one after the other.

    Attributes:
        starts: [sequences] of each sequence's first residue.
        node: [residues] match state, from 0.
        sure: [residues] probability of that; 0 for residues of no match state.
        length: number of match states.
    """

    starts: NDArray[np.intp]
    node: NDArray[np.intp]
    sure: NDArray[np.float64]
    length: int

    def of(self, group: Group, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """[columns, match states]: the share of a group's members that have a column's residue there."""
        w = weights[group.members]
        there = group.rows != GAP
        row, column = np.nonzero(there)
        residue = self.starts[group.members[row]] + np.cumsum(there, axis=1)[row, column] - 1
        cell = column * self.length + self.node[residue]
        share = w[row] / w.sum() * self.sure[residue]
        size = there.shape[1] * self.length
        shares: NDArray[np.float64] = np.bincount(cell, share, size).astype(np.float64)
        return shares.reshape(there.shape[1], self.length)


def progressive_alignment(
    sequences: Sequence[Codes],
    tree: NDArray[np.float64],
    weights: NDArray[np.float64],
    alphabet: Alphabet,
    gap_open: float = OPEN,
    places: Places | None = None,
) -> NDArray[np.uint8]:
    """[sequences, columns] codes, with `GAP`.

    Args:
        sequences: unaligned.
        tree: of `guide_tree`.
        weights: of the sequences.
        alphabet: of the codes.
        gap_open: cost of opening a gap, nat.
        places: of the sequences on a profile.
    """
    odds = related_odds(alphabet)
    leaves = (Group(np.array([i]), codes[None]) for i, codes in enumerate(sequences))

    def merge(one: Group, two: Group) -> Group:
        f, g = (_frequencies(x, weights, alphabet) for x in (one, two))
        scores = _expected_scores(f, g, odds)
        if places is not None:
            scores += _PLACED * places.of(one, weights) @ places.of(two, weights).T
        return one.joined(two, _align(scores, f.sum(axis=1), g.sum(axis=1), gap_open), GAP)

    return fold(tree, leaves, merge).in_order()


def related_odds(alphabet: Alphabet) -> NDArray[np.float64]:
    """[K, K] odds of pairs of related against independent residues: BLOSUM62, or two in three nucleotides the same."""
    size = alphabet.size
    if size == 4:
        return np.full((4, 4), 4 / 9) + np.eye(4) * (8 / 3 - 4 / 9)
    from Bio.Align import substitution_matrices

    matrix = substitution_matrices.load("BLOSUM62")
    scores = np.array([[matrix[a][b] for b in alphabet.letters] for a in alphabet.letters])
    return np.exp(scores * np.log(2) / 2)  # half bits


def _expected_scores(f: NDArray[np.float64], g: NDArray[np.float64], odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, m] of pairs of columns [n, K] and [m, K]."""
    both = np.outer(f.sum(axis=1), g.sum(axis=1))
    expected = f @ odds @ g.T / np.maximum(both, 1e-9)
    return both * (np.log(np.maximum(expected, 1e-3)) - _CENTRE)


def _frequencies(group: Group, weights: NDArray[np.float64], alphabet: Alphabet) -> NDArray[np.float64]:
    """[columns, K] of a group; they add up to the share of residues."""
    expand = alphabet.expand / np.maximum(alphabet.expand.sum(axis=1, keepdims=True), 1)
    table = np.zeros((256, alphabet.size))
    table[: len(expand)] = expand
    w = weights[group.members]
    w = w / w.sum()
    if len(w) < 64:
        return np.einsum("s,sck->ck", w, table[group.rows])
    counts = np.zeros((group.rows.shape[1], 256))
    columns = np.arange(group.rows.shape[1])
    for row, weight in zip(group.rows, w, strict=True):
        counts[columns, row] += weight
    return counts @ table


def _align(
    scores: NDArray[np.float64], one: NDArray[np.float64], two: NDArray[np.float64], gap_open: float
) -> NDArray[np.int8]:
    """The best global alignment with affine gaps: 0 both go on, 1 the first alone, 2 the second alone.

    Args:
        scores: [n, m] of pairs of columns.
        one: [n] shares of residues in the first's columns, which what is opposite them costs.
        two: [m] of the second's.
        gap_open: cost of opening a gap opposite a column of residues only, nat.
    """
    n, m = scores.shape
    low = -1e9
    j = np.arange(m + 1)
    # a gap opposite columns k to j - 1 costs open_two[k] + passed[j] - passed[k + 1]
    passed = _EXTEND * np.concatenate([[0.0], np.cumsum(two)])
    open_two = np.concatenate([gap_open * two, [0.0]]) - np.append(passed[1:], passed[-1])
    h = np.concatenate([[0.0], -_AT_ENDS * (open_two[0] + passed[1:])])  # best of all states in the row above
    x = np.full(m + 1, low)  # best that ends with the first alone
    from_state = np.zeros((n + 1, m + 1), np.int8)  # where the best of all comes from
    from_state[0, 1:] = 2
    x_goes_on = np.zeros((n + 1, m + 1), bool)
    y_start = np.zeros((n + 1, m + 1), np.int32)  # column after which a gap in the first was opened
    at_end = np.ones(m + 1)
    at_end[[0, -1]] = _AT_ENDS
    for i in range(1, n + 1):
        diagonal = np.full(m + 1, low)
        diagonal[1:] = h[:-1] + scores[i - 1]
        opened, gone = h - gap_open * one[i - 1] * at_end, x - _EXTEND * one[i - 1] * at_end
        x_goes_on[i] = gone > opened
        x = np.maximum(opened, gone)
        best = np.maximum(diagonal, x)
        factor = _AT_ENDS if i == n else 1.0
        start = best - factor * open_two
        running = np.maximum.accumulate(start)
        y = np.full(m + 1, low)
        y[1:] = running[:-1] - factor * passed[1:]
        where = np.where(start >= running, j, 0)
        y_start[i, 1:] = np.maximum.accumulate(where)[:-1]
        h = np.maximum(best, y)
        from_state[i] = np.where(y > best, 2, np.where(x > diagonal, 1, 0))
    return _trace(from_state, x_goes_on, y_start)


def _trace(from_state: NDArray[np.int8], x_goes_on: NDArray[np.bool_], y_start: NDArray[np.int32]) -> NDArray[np.int8]:
    i, j = (x - 1 for x in from_state.shape)
    steps: list[int] = []
    while i or j:
        state = from_state[i, j] if i else 2
        if state == 0 and j:
            steps.append(0)
            i, j = i - 1, j - 1
        elif state == 2 and j:
            start = int(y_start[i, j]) if i else 0
            steps += [2] * (j - start)
            j = start
        else:
            while True:
                steps.append(1)
                goes_on = x_goes_on[i, j]
                i -= 1
                if not (goes_on and i):
                    break
    return np.array(steps[::-1], np.int8)
