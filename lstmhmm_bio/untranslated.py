"""Untranslated regions of genes, from the depth of RNA-seq alignments along the genome.

From either end of a gene's CDS the transcript is followed outwards, over introns that reads span, to the next gene or
the record's end, and ends where the following is largest, n being the exonic bases it has gone and c their depths:

    S(n) = sum over n bases of [log P(c | level) - log P(c | background)] / READ + n log(1 - 1 / mean length)

`level` is the median depth of the coding bases nearest to that end. Depths are taken as geometric (a negative binomial
of size 1: the depth along one transcript varies by as much as its mean), of a mean anywhere between the level and a
hundredth of it (`SHARES`), as fewer and fewer fragments reach a transcript's last bases. Bases under the same reads do
not speak for themselves, so `READ` of them count as one. Once S has fallen by `OTHER` from its peak, what may be
transcribed further out is another transcript. No reading frame bounds an untranslated region and no grammar joins its
ends to it: where those of two genes would overlap, they are cut apart where the depths fit both levels best and are
low.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .evidence import IntronEvidence
from .features import Annotation, Gene
from .io.introns import Intron

Values = NDArray[np.float64]

#: bases whose depths count as one observation: about the length of a read
READ = 100
#: depth where nothing is transcribed: so much of the gene's own (unspliced and stray reads), and so many reads
BACKGROUND_SHARE, BACKGROUND = 0.001, 0.1
#: mean depths of a transcript, as shares of its level; but no less than so many times the background
SHARES, CLEAR = (1.0, 0.3, 0.1, 0.03, 0.01), 3
#: log odds (nat) against another transcript's beginning right behind this one
OTHER = 2.0
#: genes whose level is below this many reads have no untranslated regions
LEAST_LEVEL = 1.0
#: coding bases next to an end that its level is taken from
NEAREST = 300
#: reads that an intron outside the CDS needs
LEAST_READS = 2
#: bases of an intron whose depth is compared with the reads that splice it out
INTO_INTRON = 20
#: bases of genome that an untranslated region may reach over
FARTHEST = 20_000
#: shorter pieces behind an intron are left out
SHORTEST_PIECE = 10
#: mean lengths of untranslated regions, those of most eukaryotes, for models whose training annotation has none
USUAL_LENGTHS = {"five_prime": 150.0, "three_prime": 250.0}


@dataclass(frozen=True)
class Depths:
    """Depth of reads along a genome.

    Attributes:
        by_record: [length] reads over each base of a record.
    """

    by_record: Mapping[str, NDArray[np.float32]]

    @staticmethod
    def read(paths: Sequence[str], *, reference: str | None = None) -> Depths:
        """Depths of alignments (BAM, CRAM, SAM), added up.

        Raises:
            InputError: a file cannot be read, or holds no reads.
        """
        from .io.coverage import read_signals

        total: dict[str, NDArray[np.float32]] = {}
        for path in paths:
            for track in read_signals([path], 1, reference=reference).tracks:
                depth = track.values[:, 0]
                if track.id not in total:
                    total[track.id] = depth
                elif len(total[track.id]) == len(depth):
                    total[track.id] += depth
                else:
                    raise InputError(f"{path}: {track.id!r} is longer or shorter than in the other alignments")
        return Depths(total)

    def within(self, seqid: str, start: int, end: int, *, name: str) -> Depths:
        """Those inside a stretch of a record, for the record of that stretch alone, which has a name of its own."""
        inside = self.by_record.get(seqid, np.empty(0, np.float32))[start:end]
        return Depths({name: inside} if len(inside) else {})


class Reach(NamedTuple):
    """A transcript followed outwards from its CDS.

    Attributes:
        places: [n] the exonic bases on the way, in the order they are gone over.
        odds: [n + 1] log odds of their depths, so many of them, for the gene's level against none at all.
    """

    places: NDArray[np.int64]
    odds: Values


#: nothing to follow
NOWHERE = Reach(np.empty(0, np.int64), np.zeros(1))


class UntranslatedRegions:
    """Adds untranslated regions to genes.

    Args:
        depths: of the reads.
        introns: that the reads span.
        card: of the model; its table `untranslated` has the mean lengths of untranslated regions, in exonic bases.
    """

    def __init__(self, depths: Depths, introns: IntronEvidence, card: Mapping[str, Any]) -> None:
        self._depths, self._introns = depths.by_record, introns.by_record
        lengths = USUAL_LENGTHS | card.get("untranslated", {})
        self._lengths = lengths["five_prime"], lengths["three_prime"]

    def annotate(self, annotations: Iterable[Annotation]) -> Iterator[Annotation]:
        """The same annotations, their genes with untranslated regions.

        Raises:
            InputError: the alignments are of another sequence, by its length.
        """
        for annotation in annotations:
            name, length = annotation.record.id, len(annotation.record)
            depth = self._depths.get(name)
            if depth is not None and len(depth) != length:
                raise InputError(
                    f"the alignments were made with another {name!r}, of {len(depth):,} bases instead of {length:,}; "
                    "align the reads to the genome that is annotated"
                )
            genes = annotation.genes
            if depth is not None and genes:
                genes = self._extended(genes, depth, self._introns.get(name, Counter()))
            yield replace(annotation, genes=genes)

    def _extended(
        self, genes: tuple[Gene, ...], depth: NDArray[np.float32], introns: Mapping[Intron, int]
    ) -> tuple[Gene, ...]:
        found: list[list[tuple[int, int]]] = [[] for _ in genes]
        known = sorted(introns.items())
        for start, end, left, right in gaps(genes, len(depth)):
            between = depth[start:end]
            begin, after = (bisect_left(known, x, key=lambda item: item[0][0]) for x in (start, end))
            inside = [(s - start, e - start, of, n) for (s, e, of), n in known[begin:after] if e <= end]
            rightwards, leftwards = (
                NOWHERE if i is None else self._reach(genes[i], depth, between, inside, last=last)
                for i, last in ((left, True), (right, False))
            )
            ahead, back = apart(rightwards, leftwards, between)
            if left is not None:
                found[left] += [(start + s, start + e) for s, e in stretches(ahead)]
            if right is not None:
                found[right] += [(end - e, end - s) for s, e in stretches(back)]
        return tuple(_with(gene, sorted(parts)) for gene, parts in zip(genes, found, strict=True))

    def _reach(
        self,
        gene: Gene,
        depth: NDArray[np.float32],
        between: NDArray[np.float32],
        inside: Sequence[tuple[int, int, str, int]],
        *,
        last: bool,
    ) -> Reach:
        """A gene's transcript followed from its right (`last`) or left end into a gap of depths `between`; to the left
        on mirrored coordinates.
        """
        level = _level(gene, depth, last=last)
        if not level:
            return NOWHERE
        ways = [(s, e, of == gene.strand, n) for s, e, of, n in inside]
        if not last:
            size, between = len(between), between[::-1]
            ways = [(size - e, size - s, own, n) for s, e, own, n in ways]
        return follow(between, ways, level, self._lengths[(gene.strand == "+") == last])


def _level(gene: Gene, depth: NDArray[np.float32], *, last: bool) -> float:
    """Median depth near the right (`last`) or left end of a gene's CDS; 0 where that end is open or hardly covered."""
    if gene.partial_right if last else gene.partial_left:
        return 0.0
    coding = np.concatenate([depth[s:e] for s, e in gene.segments])
    level = float(np.median(coding[-NEAREST:] if last else coding[:NEAREST]))
    return level if level >= LEAST_LEVEL else 0.0


def gaps(genes: Sequence[Gene], length: int) -> Iterator[tuple[int, int, int | None, int | None]]:
    """The stretches of a record that no gene spans: their ends, and the genes that they touch on the left and right.

    A gene inside the span of another one touches none. A gene over the origin of a circular record spans its beginning
    and its end.

    Args:
        genes: sorted by start.
        length: of the record.
    """
    over = max((gene.end - length for gene in genes), default=0)
    reach, owner = max(over, 0), None
    for i, gene in enumerate(genes):
        if gene.start > reach:
            yield reach, gene.start, owner, i
        if gene.end > reach:
            reach, owner = gene.end, i
    if reach < length:
        yield reach, length, owner, None


def follow(
    depth: NDArray[np.float32], introns: Sequence[tuple[int, int, bool, int]], level: float, mean_length: float
) -> Reach:
    """Follows a transcript from its CDS outwards.

    Args:
        depth: [bases] from the first one outside the CDS on.
        introns: (start, end, whether on the gene's strand, reads), in the same coordinates. Where most reads span one
            of the other strand, the transcript is at its end.
        level: depth of the CDS nearby.
        mean_length: of such an untranslated region.
    """
    depth = depth[:FARTHEST]
    at, end, pieces = 0, len(depth), []
    # of introns that begin at one place the one with most reads
    for first, after, own, reads in sorted(introns, key=lambda intron: (intron[0], -intron[3], intron[1])):
        if first < at or after > end or reads < max(LEAST_READS, depth[first : first + INTO_INTRON].mean()):
            continue
        if not own:
            end = first
            break
        pieces.append(np.arange(at, first))
        at = after
    places = np.concatenate([*pieces, np.arange(at, end)])
    background = BACKGROUND_SHARE * level + BACKGROUND
    seen = depth[places].astype(np.float64)
    transcript = _log_geometric(seen, np.maximum(level * np.array(SHARES), CLEAR * background))
    gain = (transcript - _log_geometric(seen, np.array([background]))) / READ + np.log1p(-1 / mean_length)
    score = np.concatenate([[0.0], np.cumsum(gain)])
    fallen = np.flatnonzero(np.maximum.accumulate(score) - score > OTHER)
    n = int(np.argmax(score[: fallen[0]] if len(fallen) else score))
    odds = _log_geometric(seen[:n], np.array([level])) - _log_geometric(seen[:n], np.array([BACKGROUND]))
    return Reach(places[:n], np.concatenate([[0.0], np.cumsum(odds)]))


def _log_geometric(depth: Values, means: Values) -> Values:
    """Log probability of depths under a mixture, in equal parts, of geometric distributions of some means."""
    parts = depth[:, None] * np.log(means / (1 + means)) - np.log1p(means)
    return np.logaddexp.reduce(parts, axis=1) - np.log(len(means))


def apart(
    rightwards: Reach, leftwards: Reach, depth: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Exonic bases of two transcripts that come from the left and right end of a gap, so that they do not overlap.

    Args:
        rightwards: in the gap's coordinates.
        leftwards: in those of its mirror image.
        depth: [bases] of the gap.

    Returns:
        The places of both, each in its own coordinates.
    """
    one, other, size = rightwards.places, leftwards.places, len(depth)
    if len(one) and len(other) and one[-1] + other[-1] >= size - 1:
        # bases before the cut belong to the left one; cuts from where the right one ends to where the left one does
        cuts = np.arange(size - 1 - other[-1], one[-1] + 2)
        mine, its = np.searchsorted(one, cuts), np.searchsorted(other, size - cuts)
        # both end at the cut: there, at least, nothing is transcribed
        beside = np.minimum(depth[np.maximum(cuts - 1, 0)], depth[np.minimum(cuts, size - 1)])
        ends = beside * np.log(BACKGROUND / (1 + BACKGROUND))
        best = int(np.argmax(rightwards.odds[mine] + leftwards.odds[its] + ends))
        one, other = one[: mine[best]], other[: its[best]]
    return one, other


def stretches(places: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Runs of consecutive places, 0-based half-open, less a last one that is short and no part of the first."""
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > 1) + 1
    runs = [(int(run[0]), int(run[-1]) + 1) for run in np.split(places, breaks)]
    return runs[:-1] if len(runs) > 1 and runs[-1][1] - runs[-1][0] < SHORTEST_PIECE else runs


def _with(gene: Gene, parts: Sequence[tuple[int, int]]) -> Gene:
    if not parts:
        return gene
    found = replace(gene, untranslated=tuple(parts))
    spliced = len(found.exons) - len(gene.segments)
    return replace(found, supported_introns=(gene.supported_introns or 0) + spliced)
