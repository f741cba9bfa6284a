"""Weights of the sequences of an alignment, so that close relatives together count little more than one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: codes of `digitise` for a gap inside a sequence and for what lies beyond the ends of a fragment
GAP, MISSING = 254, 253


def spans(is_residue: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and one past the last column that holds a residue, [sequences] each; 0 and 0 without residues."""
    filled = is_residue.any(axis=1)
    first = is_residue.argmax(axis=1)
    end = is_residue.shape[1] - is_residue[:, ::-1].argmax(axis=1)
    return np.where(filled, first, 0), np.where(filled, end, 0)


def within(first: NDArray[np.intp], end: NDArray[np.intp], columns: int) -> NDArray[np.bool_]:
    """[sequences, columns]: whether a column lies in [first, end)."""
    column = np.arange(columns)
    return (column >= first[:, None]) & (column < end[:, None])


def position_based_weights(codes: NDArray[np.uint8], size: int, consensus: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Position-based weights (Henikoff and Henikoff, J. Mol. Biol. 243:574, 1994), [sequences], of mean 1.

    A column shares one unit among its different residues, and each residue's share among the sequences that have it;
    a sequence's weight is its mean share.

    Args:
        codes: [sequences, columns]; those from `size` on are gaps and ambiguous residues and do not count.
        size: K, number of residues.
        consensus: [columns] the columns to look at; all if there are none.
    """
    columns = np.flatnonzero(consensus) if consensus.any() else np.arange(codes.shape[1])
    weights = np.zeros(len(codes))
    lengths = np.zeros(len(codes))
    for column in columns:
        column_codes = codes[:, column]
        known = column_codes < size
        counts = np.bincount(column_codes[known], minlength=size)
        different = np.count_nonzero(counts)
        weights[known] += 1.0 / (different * counts[column_codes[known]])
        lengths += known
    weights /= np.maximum(lengths, 1)
    total = weights.sum()
    return weights * len(codes) / total if total > 0 else np.ones(len(codes))
