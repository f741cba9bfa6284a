"""BED of segments (nine columns): the name of the state, 1000 times its mean posterior, its colour."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from typing import TextIO

from ..segments import Segment
from .derived import comment_line


class SegmentsWriter:
    """Writes segments record by record.

    Args:
        handle: open text file.
        names: of the states.
        colours: of the states, "red,green,blue"; from grey over blue to red where none are given.
        provenance: goes into a comment at the top.
    """

    def __init__(
        self, handle: TextIO, names: Sequence[str], colours: Sequence[str] | None = None, provenance: str = ""
    ) -> None:
        self._handle = handle
        self._names = names
        self._colours = colours or scale_of_colours(len(names))
        handle.write(comment_line(provenance))

    def write(self, seqid: str, segments: Iterable[Segment]) -> None:
        """Write the segments of one record."""
        for s in segments:
            start, end, score = str(s.start), str(s.end), str(round(1000 * s.posterior))
            columns = (seqid, start, end, self._names[s.state], score, s.strand, start, end, self._colours[s.state])
            self._handle.write("\t".join(columns) + "\n")


def scale_of_colours(count: int) -> list[str]:
    """Colours of ordered states: grey for the lowest, then from blue to red."""
    hues = [2 / 3 * (1 - i / max(count - 2, 1)) for i in range(count - 1)]
    bright = [",".join(str(round(255 * x)) for x in colorsys.hls_to_rgb(hue, 0.45, 0.75)) for hue in hues]
    return ["200,200,200", *bright]
