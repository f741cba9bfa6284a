"""Signals along a genome in bins of equal size: coverage of BAM, CRAM and SAM files, values of bigWig files.

Coverage is counted in reads: aligned bases per bin, divided by the size of the bin or by the mean length of the reads,
whichever is shorter. So a bin of one base holds its depth, a long one the number of reads.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from .alignments import ALIGNED, SKIPPED, UNFIT, open_alignments, spans
from .bigwig import is_bigwig, open_bigwig

Values = NDArray[np.float32]

_REVERSE, _SECOND = 0x10, 0x80
#: aligned blocks that are collected before they are counted
_BLOCKS = 1_000_000
_BIGWIG_BASES = 1 << 20
#: GC contents are told apart by the percent and smoothed over neighbours as far as this
_GC_REACH = 3
_GC_FACTORS = (0.2, 5.0)


@dataclass(frozen=True)
class SignalTrack:
    """Signals along one reference sequence.

    Attributes:
        id: name of the sequence.
        length: its bases.
        size: bases per bin; the last bin may be shorter.
        values: [bins, channels] float32.
    """

    id: str
    length: int
    size: int
    values: Values

    def __len__(self) -> int:
        return len(self.values)

    def block(self, start: int, stop: int) -> Values:
        """Observations of some bins, [bins, channels]."""
        return self.values[start:stop]


@dataclass(frozen=True)
class Signals:
    """Signals of one or more samples.

    Attributes:
        channels: their names.
        skipped: [channels] whether a channel counts reads that skip a bin, instead of those that cover it.
        tracks: one per reference sequence, in the order of the first file.
    """

    channels: tuple[str, ...]
    skipped: tuple[bool, ...]
    tracks: tuple[SignalTrack, ...]


def read_signals(
    paths: Sequence[str],
    size: int,
    *,
    min_mapq: int = 0,
    per_strand: bool = False,
    spliced: bool = False,
    reference: str | None = None,
    gc_correct: bool = False,
) -> Signals:
    """Signals of several files side by side, in bins.

    Of alignments all primary and supplementary ones count that are no duplicates and passed quality checks, whatever
    the order of the file. Neither introns (N) nor deletions are coverage. Of a bigWig file a bin holds the mean, bases
    without a value counting as 0.

    Args:
        paths: BAM, CRAM, SAM or bigWig files of the same genome.
        size: bases per bin.
        min_mapq: lowest mapping quality of alignments that count.
        per_strand: one channel for fragments from each strand (that of read 1) instead of one for both.
        spliced: another channel for reads that skip the bin by an intron.
        reference: the genome; needed for CRAM and for `gc_correct`.
        gc_correct: divide coverage by what is usual in bins of the same GC content.

    Raises:
        InputError: a file cannot be read, or the files are not of the same genome.
        UsageError: `gc_correct` without a reference.
    """
    if gc_correct and not reference:
        raise UsageError("GC correction needs the genome; give it with --reference")
    channels: list[str] = []
    skipped: list[bool] = []
    columns: list[Values] = []
    sequences: dict[str, int] = {}
    for path, name in zip(paths, _sample_names(paths), strict=True):
        if is_bigwig(path):
            found, values = _bigwig(path, size)
            labels = [(name, False)]
        else:
            found, values = _alignments(path, size, min_mapq, per_strand, spliced, reference)
            labels = [(name + strand, False) for strand in (("(+)", "(-)") if per_strand else ("",))]
            labels += [(label + " skipped", True) for label, _ in labels] if spliced else []
        if sequences and found != sequences:
            raise InputError(f"{path} has other sequences than {paths[0]}; give files of one genome")
        sequences = sequences or found
        columns.append(_in_order(values, found, sequences, size))
        channels += [label for label, _ in labels]
        skipped += [is_skipped for _, is_skipped in labels]
    values = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    if gc_correct:
        assert reference is not None
        gc = _gc_content(reference, sequences, size)
        covering = ~np.array(skipped)
        values[:, covering] = gc_corrected(values[:, covering], gc)
    tracks = tuple(
        SignalTrack(name, length, size, values[a:b])
        for (name, length), (a, b) in zip(sequences.items(), pairwise(_first_bins(sequences, size)), strict=True)
    )
    return Signals(tuple(channels), tuple(skipped), tracks)


def gc_corrected(values: Values, gc: NDArray[np.float64]) -> Values:
    """Values divided by what is usual at their GC content, times what is usual overall.

    Args:
        values: [bins, channels].
        gc: [bins] GC content in [0, 1], nan where unknown; such bins stay as they are.
    """
    known = np.isfinite(gc) & (values > 0).any(axis=1)
    if not known.any():
        return values
    percent = np.rint(100 * gc[known]).astype(np.int64)
    number = np.bincount(percent, minlength=101).astype(np.float64)
    near = np.abs(np.subtract.outer(np.arange(101), np.arange(101)))
    kernel = np.maximum(0.0, 1 - near / (_GC_REACH + 1))
    factors = np.ones_like(values)
    for channel in range(values.shape[1]):
        column = values[known, channel].astype(np.float64)
        # what is usual must not hang on a few repeats of great depth
        column = np.minimum(column, np.quantile(column, 0.99))
        usual = kernel @ np.bincount(percent, column, 101) / np.maximum(kernel @ number, 1e-9)
        factor = np.clip(column.mean() / np.maximum(usual, 1e-9), *_GC_FACTORS)
        at_bins = factor[np.rint(100 * np.nan_to_num(gc)).astype(np.int64)]
        factors[:, channel] = np.where(np.isfinite(gc), at_bins, 1.0)
    return values * factors


def _sample_names(paths: Sequence[str]) -> list[str]:
    """File names without their last suffix; with their folders where that is not enough to tell them apart."""
    stems = [Path(path).stem for path in paths]
    return stems if len(set(stems)) == len(stems) else list(paths)


def _first_bins(sequences: dict[str, int], size: int) -> list[int]:
    """Where each sequence's bins begin in the concatenation of all, and where they end."""
    bins = [-(-length // size) for length in sequences.values()]
    return [0, *np.cumsum(bins).tolist()]


def _in_order(values: Values, found: dict[str, int], sequences: dict[str, int], size: int) -> Values:
    """Bins of the sequences of one file in another file's order."""
    if list(found) == list(sequences):
        return values
    pieces = {name: values[a:b] for name, (a, b) in zip(found, pairwise(_first_bins(found, size)), strict=True)}
    return np.concatenate([pieces[name] for name in sequences])


def _bin_sizes(sequences: dict[str, int], size: int) -> NDArray[np.float64]:
    """Bases of every bin; only a sequence's last one may be shorter."""
    starts = _first_bins(sequences, size)
    sizes = np.full(starts[-1], float(size))
    for end, length in zip(starts[1:], sequences.values(), strict=True):
        if length % size:
            sizes[end - 1] = length % size
    return sizes


def _gc_content(reference: str, sequences: dict[str, int], size: int) -> NDArray[np.float64]:
    """GC content of every bin, nan where more than half of its bases are unknown."""
    from .sequences import read_records

    starts = dict(zip(sequences, _first_bins(sequences, size), strict=False))
    gc = np.full(_first_bins(sequences, size)[-1], np.nan)
    missing = set(sequences)
    for record in read_records(reference):
        if sequences.get(record.id) != len(record):
            continue
        missing.discard(record.id)
        edges = np.arange(0, len(record), size)
        if not len(edges):
            continue
        known = np.add.reduceat(record.codes < 4, edges, dtype=np.int64)
        strong = np.add.reduceat((record.codes == 1) | (record.codes == 2), edges, dtype=np.int64)
        share = np.where(2 * known >= np.diff(np.append(edges, len(record))), strong / np.maximum(known, 1), np.nan)
        gc[starts[record.id] : starts[record.id] + len(share)] = share
    if missing:
        raise InputError(
            f"{reference} lacks {sorted(missing)[0]!r} in the length that the alignments name; give their own reference"
        )
    return gc


class Coverage:
    """Adds up blocks of bases.

    Args:
        bins: of all sequences, one after the other; blocks are in coordinates of these.
        size: bases per bin.

    Attributes:
        bases: of the blocks that were counted.
    """

    def __init__(self, bins: int, size: int) -> None:
        self._size = size
        # a block fills all bins from its first to its last, but for what it leaves of these two (of bases none)
        self._steps: NDArray[Any] = np.zeros(bins + 1, np.int32 if size == 1 else np.int64)
        self._missing = np.zeros(bins if size > 1 else 0, np.int64)
        self._starts, self._ends = array("q"), array("q")
        self.bases = 0

    def add(self, start: int, end: int) -> None:
        self._starts.append(start)
        self._ends.append(end)
        if len(self._starts) >= _BLOCKS:
            self._count()

    def per_bin(self) -> NDArray[Any]:
        """Aligned bases [bins]; to be called once."""
        self._count()
        np.cumsum(self._steps, out=self._steps)
        return self._steps[:-1] - self._missing if self._size > 1 else self._steps[:-1]

    def _count(self) -> None:
        start, end = (np.frombuffer(x, np.int64) for x in (self._starts, self._ends))
        first, last = start // self._size, (end - 1) // self._size
        np.add.at(self._steps, first, self._size)
        np.add.at(self._steps, last + 1, -self._size)
        if self._size > 1:
            np.add.at(self._missing, first, start - first * self._size)
            np.add.at(self._missing, last, (last + 1) * self._size - end)
        self.bases += int((end - start).sum())
        self._starts, self._ends = array("q"), array("q")


def _alignments(
    path: str, size: int, min_mapq: int, per_strand: bool, spliced: bool, reference: str | None
) -> tuple[dict[str, int], Values]:
    """The sequences of an alignment file and coverage [bins of all, channels]."""
    with open_alignments(path, reference=reference) as file:
        sequences = dict(zip(file.references, file.lengths, strict=True))
        starts = _first_bins(sequences, size)
        offsets = [size * first for first in starts]
        strands = 2 if per_strand else 1
        coverage = [Coverage(starts[-1], size) for _ in range(strands * (1 + spliced))]
        reads = _count_reads(file, coverage, offsets, min_mapq, strands, spliced)
    counted = [channel.per_bin() for channel in coverage]
    if not reads:
        raise InputError(f"{path} holds no aligned reads of mapping quality {min_mapq} or more; lower --min-mapq")
    read_length = sum(channel.bases for channel in coverage[:strands]) / reads
    unit = np.minimum(_bin_sizes(sequences, size), max(1.0, read_length)) if size > 1 else None
    per_unit = [(bases if unit is None else bases / unit).astype(np.float32) for bases in counted]
    return sequences, np.stack(per_unit, axis=1)


def _count_reads(
    file: Any, coverage: list[Coverage], offsets: list[int], min_mapq: int, strands: int, spliced: bool
) -> int:
    """Adds the blocks of all reads that count; returns their number."""
    reads, lengths = 0, file.lengths
    for read in file.fetch(until_eof=True):
        flag = read.flag
        if flag & UNFIT or read.mapping_quality < min_mapq:
            continue
        reads += 1
        strand = int(bool(flag & _REVERSE) != bool(flag & _SECOND)) if strands == 2 else 0
        offset = offsets[read.reference_id]
        for operation, start, end in spans(read, lengths):
            if operation in ALIGNED:
                coverage[strand].add(offset + start, offset + end)
            elif spliced and operation == SKIPPED:
                coverage[strands + strand].add(offset + start, offset + end)
    return reads


def _bigwig(path: str, size: int) -> tuple[dict[str, int], Values]:
    """The sequences of a bigWig file and the mean of each bin [bins of all, 1]."""
    with open_bigwig(path) as file:
        sequences = {name: int(length) for name, length in file.chroms().items()}
        means = [_means(file, name, length, size) for name, length in sequences.items()]
    if not means:
        raise InputError(f"{path} holds no sequences; give a bigWig file with values")
    return sequences, np.concatenate(means)[:, None]


def _means(file: Any, name: str, length: int, size: int) -> Values:
    """Mean of each bin of one sequence, read in pieces of whole bins."""
    step = max(1, _BIGWIG_BASES // size) * size
    means = []
    for start in range(0, length, step):
        values = np.asarray(file.values(name, start, min(start + step, length), fillna=0.0), np.float64)
        edges = np.arange(0, len(values), size)
        means.append(np.add.reduceat(np.nan_to_num(values), edges) / np.diff(np.append(edges, len(values))))
    return np.concatenate(means).astype(np.float32) if means else np.empty(0, np.float32)
