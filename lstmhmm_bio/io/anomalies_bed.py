"""BED of anomalous regions: nine columns and five of our own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from ..outliers import Anomaly
from .derived import comment_line

_COLOURS = {"composition": "213,94,0", "low complexity": "230,159,0", "coverage": "0,114,178"}
_COLUMNS = "chrom start end kind score strand thickStart thickEnd itemRgb bitsPerBase posterior p q log2Depth"


def write_anomalies(handle: TextIO, anomalies: Iterable[Anomaly], provenance: str = "") -> None:
    """Writes regions; the score is 1000 times the mean posterior."""
    handle.write(comment_line(provenance))
    handle.write("#" + _COLUMNS.replace(" ", "\t") + "\n")
    for a in anomalies:
        start, end = str(a.start), str(a.end)
        own = (f"{a.bits:.5f}", f"{a.posterior:.4f}", f"{a.p:.3g}", f"{a.q:.3g}", f"{a.depth:.3f}")
        columns = (a.seqid, start, end, a.kind, str(round(1000 * a.posterior)), ".", start, end, _COLOURS[a.kind], *own)
        handle.write("\t".join(columns) + "\n")
