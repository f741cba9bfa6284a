"""Lazy constraints: where a path found without a grammar's constraints must be found again with them.

A `Relaxation` holds every path of the whole grammar with its score. A relaxed best path that breaks no constraint is
therefore the whole grammar's best path. One that does is decoded again with the whole grammar, which has several times
the states, but only in slices around the genes at fault, which begin and end outside genes. The result is the best
path of all if that, too, is outside genes at the slices' ends; slices reach over the neighbourhood, so that it can
rearrange.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .hmm.grammars.grammar import Relaxation, Segments

#: bases that a slice reaches beyond the gene at fault, and on to the end of a gene that it would cut
REACH = 2000


def slices_of(path: NDArray[np.uint8], marks: NDArray[np.uint16], relaxation: Relaxation) -> Segments:
    """The slices to decode again.

    Args:
        path: [length] states of the relaxed grammar along one strand.
        marks: [length] of the strand.
        relaxation: of the grammar.

    Returns:
        Ascending (begin, end) that share no base. The first and the last base of a slice are outside genes, but for
        those of the record.
    """
    broken = relaxation.broken(path, marks)
    if not broken:
        return ()
    inside = path != relaxation.grammar.graph.index[relaxation.outside]
    first, end = np.flatnonzero(np.diff(inside.astype(np.int8), prepend=0, append=0)).reshape(-1, 2).T
    faults = np.unique(np.searchsorted(end, [start for start, _ in broken], side="right"))
    found: list[tuple[int, int]] = []
    for gene in faults.tolist():
        begin, stop = max(int(first[gene]) - REACH, 0), min(int(end[gene]) + REACH, len(path))
        # out of the genes at both ends, to the last base before and the first one behind
        left, right = np.searchsorted(end, begin, side="right"), np.searchsorted(first, stop) - 1
        begin, stop = max(min(begin, int(first[left]) - 1), 0), min(max(stop, int(end[right]) + 1), len(path))
        if found and begin < found[-1][1]:
            begin, _ = found.pop()
        found.append((begin, stop))
    return tuple(found)
