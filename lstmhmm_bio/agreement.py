"""Agreement of predicted with reference transcripts, level by level and gene by gene.

Only coding sequence counts. Prokaryotes (mode ``prok``; a gene is its strand, start and stop):

- ``stop``: same sequence, strand and 3' end
- ``exact``: same 3' and 5' end
- ``start|stop``: of the genes whose stop is right, those whose start is right too
- ``base``: coding bases, strand by strand

Eukaryotes (mode ``euk``):

- ``base``: coding bases, strand by strand, isoforms merged
- ``exon``: distinct CDS segments with both boundaries right
- ``intron``: distinct gaps between the CDS segments of a transcript
- ``transcript``: distinct chains of CDS segments
- ``gene``: genes of which at least one isoform's chain is right

Sensitivity is the matched part of the reference, precision the matched part of the prediction, F1 their harmonic mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .io.derived import union
from .io.reference import Transcript

Mode = Literal["prok", "euk"]


@dataclass(frozen=True)
class Score:
    """Agreement at one level.

    Attributes:
        reference, predicted: items on either side.
        matched_reference, matched_predicted: those of them that have a match; they differ only for genes with isoforms.
    """

    reference: int
    predicted: int
    matched_reference: int
    matched_predicted: int

    @property
    def sensitivity(self) -> float:
        """Matched part of the reference, nan if that is empty."""
        return self.matched_reference / self.reference if self.reference else nan

    @property
    def precision(self) -> float:
        """Matched part of the prediction, nan if that is empty."""
        return self.matched_predicted / self.predicted if self.predicted else nan

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision, nan if either is."""
        total = self.sensitivity + self.precision
        if isnan(total):
            return nan
        return 2 * self.sensitivity * self.precision / total if total else 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of one reference gene (mode ``prok``), for comparing two predictions gene by gene.

    Attributes:
        seqid, strand, stop: the gene; `stop` is the boundary after its stop codon in reading direction.
        found_stop: some prediction ends there.
        found_start: one of these starts right as well.
    """

    seqid: str
    strand: str
    stop: int
    found_stop: bool
    found_start: bool


@dataclass(frozen=True)
class Call:
    """What a predicted gene is worth (mode ``prok``), for judging scores.

    Attributes:
        seqid, strand, stop: the gene, as in `Outcome`.
        right_stop: a reference gene ends there.
        right_start: that gene starts right as well.
    """

    seqid: str
    strand: str
    stop: int
    right_stop: bool
    right_start: bool


class Coverage:
    """The union of the coding segments of some transcripts, sequence by sequence and strand by strand."""

    def __init__(self, transcripts: Iterable[Transcript]):
        segments: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for t in transcripts:
            segments[t.seqid, t.strand] += t.segments
        self._unions = {key: union(of_key) for key, of_key in segments.items()}
        # the number of covered bases before a coordinate is piecewise linear: rising on the union, level between
        self._counts = {
            key: np.stack([np.zeros(len(spans), np.int64), spans[:, 1] - spans[:, 0]], 1).ravel().cumsum()
            for key, spans in self._unions.items()
        }

    @property
    def size(self) -> int:
        """Covered bases."""
        return sum(int(counts[-1]) for counts in self._counts.values())

    def under(self, t: Transcript) -> int:
        """Covered bases among those of one transcript."""
        return self._within((t.seqid, t.strand), np.array(t.segments))

    def common(self, other: Coverage) -> int:
        """Bases that both cover."""
        return sum(self._within(key, spans) for key, spans in other._unions.items())

    def _within(self, key: tuple[str, str], disjoint: NDArray[np.int64]) -> int:
        if key not in self._unions:
            return 0
        before = np.interp(disjoint, self._unions[key].ravel(), self._counts[key])
        return round(float((before[:, 1] - before[:, 0]).sum()))


def stop_of(t: Transcript) -> tuple[str, str, int]:
    """What tells a gene of mode ``prok`` from others: sequence, strand and 3' end."""
    return t.seqid, t.strand, t.three_prime


def _start_and_stop(t: Transcript) -> tuple[str, str, int, int]:
    return *stop_of(t), t.five_prime


def chain_of(t: Transcript) -> Hashable:
    """What tells a transcript of mode ``euk`` from others: sequence, strand and CDS segments."""
    return t.seqid, t.strand, t.segments


def _compare(reference: set[Any], predicted: set[Any]) -> Score:
    common = len(reference & predicted)
    return Score(len(reference), len(predicted), common, common)


def _base_score(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> Score:
    truth, guess = Coverage(reference), Coverage(predicted)
    common = truth.common(guess)
    return Score(truth.size, guess.size, common, common)


def _found(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> set[tuple[str, str, int]]:
    """Stops of the genes with a right start; alternative starts that share a stop are one gene."""
    exact = set(map(_start_and_stop, reference)) & set(map(_start_and_stop, predicted))
    return {(seqid, strand, stop) for seqid, strand, stop, _ in exact}


def _prok_scores(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> dict[str, Score]:
    stop = _compare(set(map(stop_of, reference)), set(map(stop_of, predicted)))
    exact = len(_found(reference, predicted))
    return {
        "stop": stop,
        "exact": Score(stop.reference, stop.predicted, exact, exact),
        "start|stop": Score(stop.matched_reference, stop.matched_predicted, exact, exact),
        "base": _base_score(reference, predicted),
    }


def outcomes_of(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> tuple[Outcome, ...]:
    """What became of each reference gene, one per distinct stop, sorted."""
    stops, exact = set(map(stop_of, predicted)), _found(reference, predicted)
    return tuple(Outcome(*gene, gene in stops, gene in exact) for gene in sorted(set(map(stop_of, reference))))


def calls_of(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> tuple[Call, ...]:
    """What each predicted gene is worth, one per distinct stop, sorted."""
    stops, exact = set(map(stop_of, reference)), _found(reference, predicted)
    return tuple(Call(*gene, gene in stops, gene in exact) for gene in sorted(set(map(stop_of, predicted))))


def _euk_scores(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> dict[str, Score]:
    def parts(transcripts: Sequence[Transcript], kind: str) -> set[Hashable]:
        return {(t.seqid, t.strand, *part) for t in transcripts for part in getattr(t, kind)}

    def genes(transcripts: Iterable[Transcript]) -> set[Hashable]:
        return {(t.seqid, t.gene) for t in transcripts}

    true_chains, guessed_chains = set(map(chain_of, reference)), set(map(chain_of, predicted))
    return {
        "base": _base_score(reference, predicted),
        "exon": _compare(parts(reference, "segments"), parts(predicted, "segments")),
        "intron": _compare(parts(reference, "introns"), parts(predicted, "introns")),
        "transcript": _compare(true_chains, guessed_chains),
        "gene": Score(
            len(genes(reference)),
            len(genes(predicted)),
            len(genes(t for t in reference if chain_of(t) in guessed_chains)),
            len(genes(t for t in predicted if chain_of(t) in true_chains)),
        ),
    }


#: the scores of each mode, by level, of reference and predicted transcripts
SCORERS: dict[str, Callable[[Sequence[Transcript], Sequence[Transcript]], dict[str, Score]]] = {
    "prok": _prok_scores,
    "euk": _euk_scores,
}
