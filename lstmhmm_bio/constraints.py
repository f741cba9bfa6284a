"""Where a path must be found again: with a grammar's constraints, or without introns that are too unsure.

A `Relaxation` holds every path of the whole grammar with its score. A relaxed best path that breaks no constraint is
therefore the whole grammar's best path. One that does is decoded again with the whole grammar, which has several times
the states, but only in slices around the genes at fault, which begin and end outside genes. The result is the best
path of all if that, too, is outside genes at the slices' ends; slices reach over the neighbourhood, so that it can
rearrange.

The best path is not that of the surest introns: many others, each a little worse, may lack one of its introns. A
grammar may want a least posterior of introns' ends (`Grammar.least_intron`): all sites below it are forbidden, and
slices around genes that use one decoded again. The rest of the path, which uses none, stays the best one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .hmm.grammars.grammar import Grammar, Relaxation, Segments

#: bases that a slice reaches beyond the gene at fault, and on to the end of a gene that it would cut
REACH = 2000


def slices_of(path: NDArray[np.uint8], faults: Sequence[int], relaxation: Relaxation) -> Segments:
    """The slices to decode again.

    Args:
        path: [length] states of the relaxed grammar along one strand.
        faults: positions within genes, ascending.
        relaxation: of the grammar.

    Returns:
        Ascending (begin, end) that share no base. The first and the last base of a slice are outside genes, but for
        those of the record.
    """
    if not faults:
        return ()
    inside = path != relaxation.grammar.graph.index[relaxation.outside]
    first, end = np.flatnonzero(np.diff(inside.astype(np.int8), prepend=0, append=0)).reshape(-1, 2).T
    genes = np.unique(np.searchsorted(end, faults, side="right"))
    found: list[tuple[int, int]] = []
    for gene in genes.tolist():
        begin, stop = max(int(first[gene]) - REACH, 0), min(int(end[gene]) + REACH, len(path))
        # out of the genes at both ends, to the last base before and the first one behind
        left, right = np.searchsorted(end, begin, side="right"), np.searchsorted(first, stop) - 1
        begin, stop = max(min(begin, int(first[left]) - 1), 0), min(max(stop, int(end[right]) + 1), len(path))
        if found and begin < found[-1][1]:
            begin, _ = found.pop()
        found.append((begin, stop))
    return tuple(found)


def forbidden_ends(path: NDArray[np.uint8], grammar: Grammar, forbidden: Mapping[str, NDArray[np.bool_]]) -> list[int]:
    """Where introns of a path begin or end at a forbidden site, ascending.

    Args:
        path: [length] states along one strand.
        grammar: of the path, with introns.
        forbidden: "donor" and "acceptor", [length] each.
    """
    of = {group: grammar.groups[group][path] > 0 for group in ("intron", *forbidden)}
    edges = np.flatnonzero(np.diff(of["intron"].astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    ends = (("donor", edges[:, 0]), ("acceptor", edges[:, 1] - 1))
    # an intron that runs off the record has no such end
    return sorted(int(at) for site, places in ends for at in places[(of[site] & forbidden[site])[places]])
