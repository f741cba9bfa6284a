"""Guide trees: in which order sequences are aligned, from the words they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .profile import Alphabet, Codes
from .weights import MISSING

T = TypeVar("T")

#: amino acids that replace each other count as one letter of a word (Dayhoff's six classes)
_CLASSES = ("AGPST", "C", "DENQ", "FWY", "HKR", "ILMV")
#: columns in common that it takes to believe in a distance by half
_SHARED = 10
#: letters of a word, by number of residues
_WORD = {20: 4, 4: 6}


def word_vectors(sequences: Sequence[Codes], alphabet: Alphabet) -> NDArray[np.float32]:
    """[sequences, words] square roots of word frequencies, of length 1; the product of two is their similarity."""
    classes = _CLASSES if alphabet.size == 20 else tuple(alphabet.letters)
    of_code = np.full(len(alphabet.symbols), -1)
    for number, letters in enumerate(classes):
        for letter in letters:
            of_code[alphabet.symbols.index(letter)] = number
    base, word = len(classes), _WORD[alphabet.size]
    vectors = np.zeros((len(sequences), base**word), np.float32)
    for i, codes in enumerate(sequences):
        digits = of_code[codes]
        count = len(digits) - word + 1
        if count < 1:
            continue
        index = np.zeros(count, np.int64)
        known = np.ones(count, bool)
        for j in range(word):
            part = digits[j : j + count]
            known &= part >= 0
            index = index * base + part
        vectors[i] = np.bincount(index[known], minlength=base**word)
    vectors = np.sqrt(vectors)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def guide_tree(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average linkage of 1 - similarity, as `scipy.cluster.hierarchy.linkage` gives it: [sequences - 1, 4]."""
    return linkage_of(np.maximum(1.0 - vectors @ vectors.T, 0.0).astype(np.float64))


def fold(tree: NDArray[np.float64], leaves: Iterable[T], merge: Callable[[T, T], T]) -> T:
    """What is left when the leaves of a guide tree are merged two by two in its order."""
    groups = dict(enumerate(leaves))
    number = len(groups)
    for step, (a, b) in enumerate(tree[:, :2].astype(int)):
        groups[number + step] = merge(groups.pop(a), groups.pop(b))
    (whole,) = groups.values()
    return whole


def linkage_of(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The tree of average linkage of distances [sequences, sequences], as scipy gives it: [sequences - 1, 4]."""
    from scipy.cluster.hierarchy import linkage  # type: ignore[import-untyped]
    from scipy.spatial.distance import squareform  # type: ignore[import-untyped]

    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    return linkage(squareform(distance, checks=False), "average")


def tree_weights(tree: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of a guide tree's leaves, of mean 1: a branch's length is shared by the leaves below it."""
    leaves = len(tree) + 1
    heights = np.zeros(2 * leaves - 1)
    below = np.ones(2 * leaves - 1)
    share = np.zeros(2 * leaves - 1)
    for i, (a, b, height, _) in enumerate(tree):
        heights[leaves + i] = height
        below[leaves + i] = below[int(a)] + below[int(b)]
    for i in reversed(range(len(tree))):
        for child in map(int, tree[i, :2]):
            share[child] = share[leaves + i] + (heights[leaves + i] - heights[child]) / below[child]
    weights = share[:leaves] + 1e-6
    return weights / weights.mean()


def tree_of(rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The guide tree of aligned sequences [sequences, columns]: distance is the share of different residues.

    Args:
        rows: codes; those of gaps are large.
    """
    present = rows < MISSING
    distance = np.zeros((len(rows), len(rows)))
    for i, (row, there) in enumerate(zip(rows, present, strict=True)):
        both = (present & there).sum(axis=1)
        same = ((rows == row) & there).sum(axis=1)
        # few shared columns tell little
        distance[i] = 1 - (same + 1) / (both + _SHARED)
    return linkage_of(distance)
