"""BED of a partition into regions (nine columns, one colour per label)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from ..features import INTRON, Region
from .derived import comment_line

#: colours of regions by what lies on the + and on the - strand; what is not named is an overlap
_COLOURS = {
    (0, 0): "200,200,200",
    (1, 0): "31,119,180",
    (0, 1): "214,39,40",
    (INTRON, 0): "174,199,232",
    (0, INTRON): "255,152,150",
}
_OVERLAP = "148,103,189"


class RegionsWriter:
    """Writes regions record by record; arguments as for `Gff3Writer`."""

    def __init__(self, handle: TextIO, provenance: str = "") -> None:
        self._handle = handle
        handle.write(comment_line(provenance))

    def write(self, seqid: str, regions: Iterable[Region]) -> None:
        """Write the regions of one record."""
        for r in regions:
            colour = _COLOURS.get((r.forward, r.reverse), _OVERLAP)
            score = str(round(1000 * r.posterior))
            columns = (seqid, str(r.start), str(r.end), r.name, score, r.strand, str(r.start), str(r.end), colour)
            self._handle.write("\t".join(columns) + "\n")
