"""The states of `eukaryote.TRAINING` that annotated genes allow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...sequence import Segments
from .eukaryote import SHORTEST_INTRON, TRAINING
from .eukaryote_marks import ACCEPTOR_ENDS_HERE, DONOR_HERE, START_HERE, START_WITH_AT, STOP_ENDS_HERE

#: all of them
ANY = np.uint32((1 << len(TRAINING.graph.states)) - 1)


def lattice(length: int, chains: list[Segments], marks: NDArray[np.uint16]) -> tuple[NDArray[np.uint32], list[int]]:
    """The states of `TRAINING` that labelled transcripts allow at each base of one strand.

    Args:
        length: bases of the record.
        chains: CDS segments of complete transcripts of ONE strand, in its own 5' to 3' coordinates, ascending.
        marks: [length] of `marks` on that strand.

    Returns:
        [length] bit sets over the states, and the indices of the transcripts that the grammar cannot represent
        (overlaps, no base between two genes, unusual splice sites, a cut stop codon or a start codon cut after its A,
        introns too short);
        their bases allow anything.
    """
    index = TRAINING.graph.index
    allowed = np.full(length, 1 << index["I"], np.uint32)
    taken = np.zeros(length, bool)
    left_out: list[int] = []
    for i in sorted(range(len(chains)), key=lambda i: chains[i][0]):
        roles = _roles(chains[i], marks)
        first, end = chains[i][0][0], chains[i][-1][1]
        span = slice(first, end)
        # at least one base lies between two genes
        if roles is None or taken[max(first - 1, 0) : end].any():
            left_out.append(i)
        else:
            allowed[span] = roles
        taken[span] = True
    for i in left_out:
        allowed[chains[i][0][0] : chains[i][-1][1]] = ANY
    return allowed, left_out


def _roles(chain: Segments, marks: NDArray[np.uint16]) -> NDArray[np.uint32] | None:
    """Bit sets from the first to the last base of a transcript, None if the grammar cannot say it."""
    index = TRAINING.graph.index
    first, end = chain[0][0], chain[-1][1]
    if sum(e - s for s, e in chain) % 3 or chain[0][1] - first < 2 or end - chain[-1][0] < 3:
        return None
    if not marks[first] & START_HERE or not marks[end - 1] & STOP_ENDS_HERE:
        return None
    if chain[0][1] - first == 2 and not marks[chain[1][0]] & START_WITH_AT:
        return None
    roles = np.zeros(end - first, np.uint32)
    coding = 0
    for n, (s, e) in enumerate(chain):
        if n:
            donor, acceptor = chain[n - 1][1], s - 1
            if acceptor - donor < SHORTEST_INTRON - 1:
                return None
            if not marks[donor] & DONOR_HERE or not marks[acceptor] & ACCEPTOR_ENDS_HERE:
                return None
            phase = coding % 3
            roles[donor - first : s - first] = (1 << index[f"N{phase}"]) | (1 << index[f"M{phase}"])
            roles[donor - first] = 1 << index[f"D{phase}"]
            roles[acceptor - first] = 1 << index[f"A{phase}"]
        position = (coding + np.arange(e - s)) % 3
        roles[s - first : e - first] = np.array([1 << index[p] for p in "123"], np.uint32)[position]
        coding += e - s
    roles[0], roles[1], roles[-1] = 1 << index["S"], 1 << index["2s"], 1 << index["T"]
    return roles
