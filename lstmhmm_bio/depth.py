"""How unusual the read depth of a window is.

Reads of a window are taken as negative binomial. A window is judged by the log-likelihood of its reads at the rate
found less that at the genome's median rate; the dispersion comes from the middle of the windows' distribution, so that
what is anomalous does not widen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .io.coverage import SignalTrack, read_signals

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Depth:
    """Read depth along a genome.

    Attributes:
        source: the file's name.
        tracks: reads per bin of each reference sequence, by name.
        rate: reads per base, median of the bins.
        size: inverse dispersion (the "size" of the negative binomial) of the reads of a bin.
    """

    source: str
    tracks: Mapping[str, SignalTrack]
    rate: float
    size: float

    def judge(self, seqid: str, low: Values, high: Values, known: Values) -> tuple[Values, Values]:
        """Depth of windows.

        Args:
            seqid: record.
            low: [windows] first bases.
            high: [windows] one past the last.
            known: [windows] known bases in them.

        Returns:
            Log2 of the depth over the median (half a read added to both), and bits per known base: [windows] each, 0
            where nothing is known.

        Raises:
            InputError: the file has no such sequence, or one of another length.
        """
        track = self.tracks.get(seqid)
        if track is None or (len(high) and high[-1] > track.length):
            raise InputError(
                f"{self.source} does not fit record {seqid!r}: no such sequence or another length; "
                "align the reads to the sequences that are scored"
            )
        edges = np.minimum(np.arange(len(track) + 1) * track.size, track.length)
        total = np.concatenate([[0.0], np.cumsum(track.values[:, 0], dtype=np.float64)])
        reads = np.interp(high, edges, total) - np.interp(low, edges, total)
        expected = self.rate * known
        gain = _log_likelihood(reads, reads, self.size) - _log_likelihood(reads, expected, self.size)
        ratio = np.log2((reads + 0.5) / (expected + 0.5))
        return np.where(known > 0, ratio, 0.0), np.where(known > 0, gain / np.log(2) / np.maximum(known, 1), 0.0)


def read_depth(path: str, window: int, *, reference: str | None = None) -> Depth:
    """Depth from BAM, CRAM, SAM or bigWig, in bins of one window.

    Raises:
        InputError: an unreadable file, or one without reads over half of the genome.
    """
    tracks = {track.id: track for track in read_signals([path], window, reference=reference).tracks}
    per_base = []
    for track in tracks.values():
        bases = np.diff(np.minimum(np.arange(len(track) + 1) * window, track.length))
        per_base.append(track.values[:, 0] / np.maximum(bases, 1))
    rates = np.concatenate(per_base)
    rate = float(np.median(rates))
    if rate == 0:
        raise InputError(f"{path}: no reads over half of the genome or more; such a depth cannot be judged")
    mean, spread = rate * window, 1.4826 * float(np.median(np.abs(rates - rate))) * window
    return Depth(path, tracks, rate, mean**2 / max(spread**2 - mean, mean**2 / 1e6))


def _log_likelihood(reads: Values, mean: Values, size: float) -> Values:
    """Of a negative binomial, without the terms that do not depend on its mean."""
    mean = np.maximum(mean, 1e-3)
    return reads * np.log(mean / (mean + size)) - size * np.log(mean + size)
