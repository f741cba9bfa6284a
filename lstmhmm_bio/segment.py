"""Segmentation: every base of a record in exactly one region.

The same decoding as `annotate`, written as a partition instead of as genes. A region's name says what lies on the two
strands: ``intergenic``, ``CDS(+)``, ``CDS(-)``, with eukaryotic models ``intron(+)``, ``intron(-)``, and overlaps such
as ``CDS(+)/CDS(-)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from .decoding import Decoded
from .features import INTRON, Region
from .hmm.grammars import bacteria
from .parts import Part
from .segments import Runs, joined, runs_of, segments_of


def label_runs(decoded: Decoded, inner: slice) -> Runs:
    """Runs of equal labels in a stretch of a decoded piece: 4 * genes on the + strand + genes on the - strand."""
    number, posterior = coverage(decoded)
    # the strands are decoded apart, so their posteriors multiply
    both = posterior[0].astype(np.float64) * posterior[1]
    return runs_of((4 * number[0] + number[1])[inner], both[inner])


def runs_of_parts(decoded: Iterable[tuple[Part, Decoded]]) -> Iterator[tuple[Part, Runs]]:
    """`label_runs` of parts of records, as they are decoded."""
    for part, piece in decoded:
        found = label_runs(piece, part.inner)
        del piece  # before the next is decoded
        yield part, found


def regions(pieces: Iterable[Runs]) -> list[Region]:
    """The regions of a record in order, from the runs of its parts; they cover it exactly once."""
    return [Region(s.start, s.end, s.state // 4, s.state % 4, s.posterior) for s in segments_of(joined(pieces))]


def coverage(decoded: Decoded) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Number of genes over each base (or `INTRON`) and its posterior, [2, length] each, in forward orientation."""
    if decoded.grammar.kind == "eukaryote":
        coding, intron = decoded.posterior("coding"), decoded.posterior("intron")
        names = decoded.grammar.graph.states
        over = np.array([0 if s == "I" else 1 if s[0] in "S123T" else INTRON for s in names], np.uint8)
        number = over[decoded.paths]
        neither = np.clip(1 - coding - intron, 0, 1)
        posterior = np.choose(number, [neither, coding, coding, intron])
    else:
        number = _GENES_OVER[decoded.paths]
        none, two = decoded.posterior("none"), decoded.posterior("two")
        posterior = np.choose(number, [none, np.clip(1 - none - two, 0, 1), two])
    return (
        np.stack([number[0], number[1, ::-1]]),
        np.stack([posterior[0], posterior[1, ::-1]]).astype(np.float32),
    )


_GENES_OVER = np.array([0 if s == "I" else len(s) for s in bacteria.STATES], np.uint8)
