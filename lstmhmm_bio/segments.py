"""Partitions of records into stretches of one state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Segment:
    """A stretch of one state.

    Attributes:
        start, end: 0-based half-open.
        state: its number.
        posterior: mean posterior probability of the state over the stretch.
        strand: "+", "-" or "." where the states are those of no strand.
    """

    start: int
    end: int
    state: int
    posterior: float
    strand: str = "."


class Runs(NamedTuple):
    """Runs of equal states: their lengths, states and sums of the posteriors, each [runs]."""

    lengths: NDArray[np.int64]
    states: NDArray[np.uint8]
    sums: NDArray[np.float64]


def runs_of(states: NDArray[np.uint8], posteriors: NDArray[np.floating]) -> Runs:
    """Runs of a state and its posterior [positions] each."""
    if not len(states):
        return Runs(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0))
    starts = np.append(0, np.flatnonzero(np.diff(states)) + 1)
    lengths = np.diff(np.append(starts, len(states)))
    return Runs(lengths, states[starts], np.add.reduceat(posteriors.astype(np.float64), starts))


def joined(pieces: Iterable[Runs]) -> Runs:
    """Runs of pieces that follow each other; a run that goes on over a border becomes one."""
    lengths, states, sums = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
    if not len(states):
        return Runs(lengths, states, sums)
    starts = np.append(0, np.flatnonzero(np.diff(states)) + 1)
    return Runs(np.add.reduceat(lengths, starts), states[starts], np.add.reduceat(sums, starts))


def segments_of(runs: Runs, size: int = 1, length: int | None = None, strand: str = ".") -> list[Segment]:
    """Segments in bases.

    Args:
        runs: of one record, from its beginning.
        size: bases per position of the runs.
        length: bases of the record, if its last position is shorter than the others.
        strand: of the segments.
    """
    ends = np.cumsum(runs.lengths) * size
    if length is not None and len(ends):
        ends[-1] = length
    starts = np.append(0, ends)[:-1]
    means = runs.sums / np.maximum(runs.lengths, 1)
    columns = (starts.tolist(), ends.tolist(), runs.states.tolist(), means.tolist())
    return [Segment(*row, strand) for row in zip(*columns, strict=True)]
