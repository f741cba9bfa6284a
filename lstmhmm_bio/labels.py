"""Segmentation by a user's own labels: the model that `lstmhmm train --labels` made, applied.

labeller = Labeller(load_model("model/"))
for record, segments in labeller.segments(read_records("x.fa"), None): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .annotate import Annotator
from .calibration import Tables
from .decoding import FULL, Decoded
from .features import Record
from .hmm.grammars.labels import Labels
from .metagenome import AnyCalibration
from .model import Model
from .parts import Part, by_record
from .scoring import Scorer, Tracks
from .segments import Runs, Segment, joined, runs_of, segments_of


class Labeller(Annotator):
    """Puts every base of both strands into one state of a grammar of labels.

    Args:
        model: of the kind "labels".
        genetic_code: NCBI table number; only codons' meaning as input of the network depends on it.
    """

    def __init__(self, model: Model, *, genetic_code: int = 11) -> None:
        super().__init__(model, genetic_code=genetic_code)
        self.labels = Labels.from_table(model.card["grammar"])
        if self.labels.symmetric:
            self._scorer = _SymmetricScorer(model, self.code)

    def segments(
        self, records: Iterable[Record], calibration: AnyCalibration
    ) -> Iterator[tuple[Record, list[Segment]]]:
        """The segments of every record, in input order: those of both strands by start, or one partition where labels
        lie on both strands at once.

        Args:
            records: sequences.
            calibration: of the genome or metagenome that they belong to, for labels that have codon tables; else None.
        """
        strands = "." if self.labels.symmetric else "+-"

        def runs() -> Iterator[tuple[Part, list[Runs]]]:
            for part, decoded in self.decode(records, calibration):
                of_part = [_runs(decoded, row, part.inner) for row in range(len(strands))]
                del decoded  # before the next is decoded
                yield part, of_part

        for record, found in by_record(runs()):
            by_strand = zip(*(of_part for _, of_part in found), strict=True)
            segments = [
                s
                for strand, pieces in zip(strands, by_strand, strict=True)
                for s in segments_of(joined(pieces), strand=strand)
            ]
            yield record, sorted(segments, key=lambda s: (s.start, s.strand))


def _runs(decoded: Decoded, row: int, inner: slice) -> Runs:
    """Runs of labels in a stretch of one strand, in forward orientation."""
    members = np.stack(list(decoded.grammar.groups.values()))
    label = members.argmax(0).astype(np.uint8)[decoded.paths[row]]
    posterior = np.take_along_axis(decoded.posteriors[row], label[:, None].astype(np.intp), axis=1)[:, 0]
    step = 1 if row == 0 else -1
    return runs_of(label[::step][inner], (posterior[::step][inner] / np.float32(FULL)).astype(np.float32))


class _SymmetricScorer(Scorer):
    """Gives both strands the mean of their scores, so that they are decoded to the same labels."""

    def __call__(self, records: Sequence[Record], tables_of: Callable[[Record], Tables]) -> list[Tracks]:
        return [_averaged(tracks) for tracks in super().__call__(records, tables_of)]


def _averaged(tracks: Tracks) -> Tracks:
    classes = _mean(tracks.classes[0], tracks.classes[1, ::-1])
    sites = _mean(tracks.sites[0], _turned(tracks.sites[1]))
    return replace(tracks, classes=np.stack([classes, classes[::-1]]), sites=np.stack([sites, _turned(sites)]))


def _turned(borders: NDArray[np.int16]) -> NDArray[np.int16]:
    """Scores of beginnings and ends [length, 2 n] as the other strand has them: where a region ends there it begins."""
    length, columns = borders.shape
    return borders[::-1].reshape(length, columns // 2, 2)[..., ::-1].reshape(length, columns)


def _mean(a: NDArray[np.int16], b: NDArray[np.int16]) -> NDArray[np.int16]:
    return ((a.astype(np.int32) + b) >> 1).astype(np.int16)
