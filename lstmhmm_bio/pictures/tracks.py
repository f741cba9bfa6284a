"""What a picture of a region shows: features and numbers of many kinds of files, cut to the region."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, printable
from ..features import Record
from ..io.alignments import open_alignments
from ..io.bedgraph import read_track
from ..io.compression import input_name, open_input
from ..io.reference import read_reference

#: a line is drawn with at most this many points
POINTS = 1200
#: what databases write before names
_PREFIX = re.compile(r"^(gene|cds|rna|transcript)[-:]", re.IGNORECASE)


@dataclass(frozen=True)
class Feature:
    """Something that lies on a stretch.

    Attributes:
        segments: 0-based half-open, ascending; more than one are joined by introns.
        strand: "+", "-" or ".".
        label: short name; control characters, which no picture can hold, become blanks.
        kind: "gene", "RNA", "doubtful" (pseudogenes, flagged ones) or "segment".
        colour: "#rrggbb", "" for the track's own.
    """

    segments: tuple[tuple[int, int], ...]
    strand: str
    label: str
    kind: str = "gene"
    colour: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", printable(self.label))

    @property
    def start(self) -> int:
        return self.segments[0][0]

    @property
    def end(self) -> int:
        return self.segments[-1][1]


@dataclass(frozen=True)
class Features:
    """A track of features; `name` stands beside it."""

    name: str
    features: tuple[Feature, ...]

    @property
    def is_partition(self) -> bool:
        """Whether these are segments, drawn in one lane as coloured boxes."""
        return any(f.kind == "segment" for f in self.features)


@dataclass(frozen=True)
class Line:
    """A track of numbers.

    Attributes:
        name: stands beside it.
        borders: [cells, 2] 0-based half-open, ascending.
        values: [cells].
        base: where the filled area begins; None for the lowest value shown.
    """

    name: str
    borders: NDArray[np.int64]
    values: NDArray[np.float64]
    base: float | None = 0.0


Track = Features | Line


def read_features(path: str, seqid: str, start: int, end: int) -> Features:
    """The features of an annotation file that touch a region.

    Args:
        path: GFF3, GTF, GenBank (coding genes and RNAs) or BED (3 to 12 columns, colours kept).
        seqid: record.
        start: 0-based first base of the region.
        end: one past its last.

    Raises:
        InputError: the file is none of these or broken.
    """
    name = _stem(path)
    rows = _bed_rows(path)
    if rows is not None:
        found = [f for s, f in rows if s == seqid]
        return Features(name, tuple(f for f in found if f.start < end and f.end > start))
    reference = read_reference(path, allow_empty=True)
    features = []
    for t in reference.transcripts:
        if t.seqid == seqid and t.start < end and t.end > start:
            doubtful = t.pseudo or t.unsure or t.odd
            label = _PREFIX.sub("", t.gene).removeprefix(f"{seqid}_")
            features.append(Feature(t.segments, t.strand, label, "doubtful" if doubtful else "gene"))
    for other, a, b, strand, kind in reference.other_features:
        if other == seqid and a < end and b > start:
            features.append(Feature(((a, b),), strand, kind, "RNA"))
    return Features(name, tuple(sorted(features, key=lambda f: (f.start, f.end))))


def read_values(path: str, seqid: str, start: int, end: int) -> Line:
    """Numbers of a bedGraph or bigWig file over a region.

    Raises:
        InputError: the file is neither.
    """
    borders, values = read_track(path, seqid, start, end)
    return Line(_stem(path), *_thinned(borders, values, start, end))


def read_coverage(path: str, seqid: str, start: int, end: int, *, reference: str | None = None) -> Line:
    """Read depth of a BAM, CRAM or SAM file over a region (through its index, where there is one).

    Raises:
        InputError: the file cannot be read, or has no such reference sequence.
    """
    edges = np.linspace(start, end, min(POINTS, end - start) + 1).astype(np.int64)
    aligned = np.zeros(end - start + 1, np.int64)
    with open_alignments(path, reference=reference) as file:
        if seqid not in file.references:
            raise InputError(f"{path}: has no reference sequence {seqid!r}; give alignments to this genome")
        for read in file.fetch(seqid, start, end) if file.has_index() else _on(file, seqid):
            if read.flag & 0x704:  # as in samtools depth
                continue
            for a, b in read.get_blocks():
                if a < end and b > start:
                    aligned[max(a, start) - start] += 1
                    aligned[min(b, end) - start] -= 1
    depth = np.cumsum(aligned)[:-1]
    total = np.concatenate([[0], np.cumsum(depth)])
    borders = np.stack([edges[:-1], edges[1:]], 1)
    return Line(f"{_stem(path)} depth", borders, np.diff(total[edges - start]) / np.diff(edges))


def _on(file: Any, seqid: str) -> Iterator[Any]:
    return (read for read in file.fetch(until_eof=True) if read.reference_name == seqid)


def window_gc(record: Record, start: int, end: int) -> Line:
    """GC content of a region of a record in per cent, in about 200 windows, unknown ones left out."""
    size = max((end - start) // 200, 50)
    edges = np.append(np.arange(start, end, size), end)
    codes = record.codes
    before = [np.concatenate([[0], np.cumsum(x)]) for x in (codes[start:end] < 4, np.isin(codes[start:end], (1, 2)))]
    known, strong = (np.diff(total[edges - start]) for total in before)
    clear = 2 * known >= np.diff(edges)
    borders = np.stack([edges[:-1], edges[1:]], 1)[clear]
    return Line("GC %", borders, 100 * strong[clear] / np.maximum(known[clear], 1), base=None)


def _thinned(
    borders: NDArray[np.int64], values: NDArray[np.float64], start: int, end: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """At most `POINTS` cells, each the mean of those that begin in it."""
    if len(values) <= POINTS:
        return borders, values
    cell = (borders[:, 0] - start) * POINTS // (end - start)
    number = np.bincount(cell, minlength=POINTS)
    mean = np.bincount(cell, values, POINTS) / np.maximum(number, 1)
    edges = start + np.arange(POINTS + 1) * (end - start) // POINTS
    filled = number > 0
    return np.stack([edges[:-1], edges[1:]], 1)[filled], mean[filled]


def _bed_rows(path: str) -> list[tuple[str, Feature]] | None:
    """The rows of a BED file by record; None if the file is another."""
    with open_input(path) as stream:
        lines = TextIOWrapper(stream, encoding="utf-8", errors="replace")
        rows = [line.rstrip("\r\n").split("\t") for line in _data_lines(lines)]
    if not rows:
        return [] if Path(path).name.lower().removesuffix(".gz").endswith(".bed") else None
    if len(rows[0]) < 3 or not (rows[0][1].isdigit() and rows[0][2].isdigit()):
        return None
    plain = all(len(row) < 6 or row[5] == "." for row in rows)
    coloured = all(len(row) > 8 and row[8].count(",") == 2 for row in rows)
    tiled = all(a[0] != b[0] or int(a[2]) <= int(b[1]) for a, b in pairwise(rows) if len(b) > 2)
    # what overlaps nowhere and has no strands, or colours of its own, is a segmentation
    kind = "segment" if tiled and (plain or coloured) else "gene"
    return [(row[0], _bed_feature(row, kind, input_name(path))) for row in rows]


def _data_lines(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip() and not line.startswith(("#", "track", "browser")))


def _bed_feature(row: list[str], kind: str, source: str) -> Feature:
    try:
        start, end = int(row[1]), int(row[2])
        label = row[3].removeprefix(f"{row[0]}_") if len(row) > 3 else ""
        strand = row[5] if len(row) > 5 else "."
        colour = "#" + "".join(f"{int(x):02x}" for x in row[8].split(",")) if len(row) > 8 and "," in row[8] else ""
        segments: tuple[tuple[int, int], ...] = ((start, end),)
        if len(row) > 11 and row[9].isdigit():  # BED12; other columns may stand behind nine
            sizes, offsets = ([int(x) for x in row[i].split(",") if x] for i in (10, 11))
            segments = tuple((start + o, start + o + s) for o, s in zip(offsets, sizes, strict=True))
    except (ValueError, IndexError):
        raise InputError(f"{source}: broken BED row {' '.join(row[:6])!r}; correct it") from None
    return Feature(segments, strand, label, kind, colour)


def _stem(path: str) -> str:
    name = Path(path).name
    for suffix in (".gz", Path(name.removesuffix(".gz")).suffix):
        name = name.removesuffix(suffix) or name
    return name
