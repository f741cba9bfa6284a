"""Evidence from transcripts: introns seen in RNA-seq alignments, as log-odds of splice sites.

How often the true and the other splice site candidates of an annotated genome are seen n times as the end of a spliced
alignment's gap gives, for every n, a log-likelihood ratio log P(n | true site) - log P(n | other candidate) (`fit`).
It is added to the score of the donor or acceptor at that place: evidence shifts the odds and never forces a path. Sites
that were not seen get the (slightly negative) ratio of n = 0, since a gene may not be expressed.

Aligners' and the spliceosome's mistakes grow with expression, so n alone says little in a gene of thousands of reads.
Sites that most reads pass by (`LEAST_SHARE`) are a class of their own: other reads are spliced between the same donor
or acceptor and another site, as in the percent-spliced-in of 5' and 3' splice sites (Pervouchine et al.,
Bioinformatics 29:273, 2013), or are not spliced there at all. An intron that skips a site without sharing an end with
it does not count: reads of tandem genes are often aligned half to the one and half to the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .features import Record
from .hmm.grammars import eukaryote_marks
from .hmm.viterbi import UNITS
from .io.introns import Intron, read_introns
from .nn.network import CodeMasks
from .scoring import Tracks
from .sequence import EUKARYOTIC_STARTS, Codes, GeneticCode, reverse_complement

#: smallest number of reads of each class of support; the first class is "never seen"
SUPPORT = (0, 1, 2, 4, 8, 16, 32)
#: seen, but in less than this share of the reads that could have shown it: the last class
LEAST_SHARE = 0.5
CLASSES = len(SUPPORT) + 1
#: shares of the reads that are kept to fit the weights of shallower sequencing
THINNING = (1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 1024, 1 / 4096)
_LARGEST_RATIO = 12.0


@dataclass(frozen=True)
class SupportWeights:
    """Log-likelihood ratios (nat) of donors and acceptors by class of support, at several depths of sequencing.

    Attributes:
        depths: spliced reads per million bases of genome, descending.
        donor, acceptor: [depths][CLASSES].
    """

    depths: tuple[float, ...]
    donor: tuple[tuple[float, ...], ...]
    acceptor: tuple[tuple[float, ...], ...]

    @staticmethod
    def from_card(table: Mapping[str, Any]) -> SupportWeights:
        """From a model card's table `evidence`.

        Raises:
            InputError: it is of another version.
        """
        if table.get("support") != list(SUPPORT) or table.get("least_share") != LEAST_SHARE:
            raise InputError("the model's weights of evidence are of another version; train it again")
        donor, acceptor = (tuple(map(tuple, table[kind])) for kind in ("donor", "acceptor"))
        return SupportWeights(tuple(table["depths"]), donor, acceptor)

    def card(self) -> dict[str, Any]:
        """The table `evidence` of a model card."""
        donor, acceptor = ([list(row) for row in rows] for rows in (self.donor, self.acceptor))
        return {
            "support": list(SUPPORT),
            "least_share": LEAST_SHARE,
            "depths": list(self.depths),
            "donor": donor,
            "acceptor": acceptor,
        }

    def shared(self, share: float) -> SupportWeights:
        """A share of all ratios, where what else is known of a site tells part of the same."""
        donor, acceptor = (
            tuple(tuple(round(share * x, 4) for x in row) for row in rows) for rows in (self.donor, self.acceptor)
        )
        return SupportWeights(self.depths, donor, acceptor)

    def at(self, depth: float) -> dict[str, NDArray[np.float64]]:
        """Ratios of "donor" and "acceptor" at the nearest depth, [CLASSES] each."""
        level = int(np.argmin(np.abs(np.log(self.depths) - np.log(max(depth, 1e-9)))))
        return {"donor": np.array(self.donor[level]), "acceptor": np.array(self.acceptor[level])}


class SiteReads(NamedTuple):
    """Reads at splice sites of one kind, [2, length], each strand in its own 5' to 3' orientation.

    Attributes:
        spliced: reads that are spliced there.
        passing: where some are, those that pass the site by.
    """

    spliced: NDArray[np.int64]
    passing: NDArray[np.int64]

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class of support, an index below `CLASSES`."""
        few = (self.spliced > 0) & (self.spliced < LEAST_SHARE * (self.spliced + self.passing))
        return np.where(few, CLASSES - 1, np.searchsorted(SUPPORT, self.spliced, side="right") - 1)


@dataclass(frozen=True)
class IntronEvidence:
    """Introns seen in transcripts.

    Attributes:
        by_record: the introns of each record, with the number of reads that support each.
        depth: spliced reads per million bases of the genome.
        unspliced: reads that go on over ends of these introns, by record and that place.
    """

    by_record: Mapping[str, Counter[Intron]]
    depth: float
    unspliced: Mapping[str, Counter[int]] = field(default_factory=dict)

    @staticmethod
    def read(
        paths: Sequence[str | Path], *, sequences: Mapping[str, Codes], reference: str | None = None
    ) -> IntronEvidence:
        """Introns of alignments and of GFF files with `intron` rows, as `io.introns.read_introns`."""
        introns, unspliced = read_introns(paths, sequences=sequences, reference=reference)
        bases = sum(len(codes) for codes in sequences.values())
        reads = sum(sum(found.values()) for found in introns.values())
        return IntronEvidence(dict(introns), 1e6 * reads / max(bases, 1), dict(unspliced))

    def within(self, seqid: str, start: int, end: int, *, name: str) -> IntronEvidence:
        """What is inside a stretch of a record, for the record of that stretch alone, which has a name of its own."""
        introns = self.by_record.get(seqid, {}).items()
        inside = {(s - start, e - start, strand): n for (s, e, strand), n in introns if start <= s and e <= end}
        unspliced = {x - start: n for x, n in self.unspliced.get(seqid, {}).items() if start <= x <= end}
        return IntronEvidence({name: Counter(inside)}, self.depth, {name: Counter(unspliced)})

    def thinned(self, share: float, rng: np.random.Generator) -> IntronEvidence:
        """What less sequencing would have shown: each read is kept with a probability."""

        def kept(of: Mapping[str, Counter[Any]]) -> dict[str, Counter[Any]]:
            return {
                seqid: Counter({key: n for key, reads in found.items() if (n := int(rng.binomial(reads, share)))})
                for seqid, found in of.items()
            }

        return IntronEvidence(kept(self.by_record), share * self.depth, kept(self.unspliced))

    def sites(self, seqid: str, length: int, *, around: int = 0) -> dict[str, SiteReads]:
        """Reads at the first ("donor") and the last ("acceptor") base of introns.

        Args:
            seqid: record.
            length: its bases.
            around: how many of these a circular record was read on for, before its first base and behind its last; its
                introns are seen in every turn.
        """
        out = {kind: SiteReads(*np.zeros((2, 2, length), np.int64)) for kind in ("donor", "acceptor")}
        turn = length - 2 * around
        introns = self.by_record.get(seqid, Counter())
        passing = self._passing(seqid)
        for (start, end, strand), reads in introns.items():
            if start >= turn or end - start > turn or (end > turn and not around):
                continue
            row = "+-".index(strand)
            ends = [passing[start, strand, True], passing[end, strand, False]]
            for s in range((start + around) % turn, length - (end - start) + 1, turn):
                e = s + end - start
                places = (s, e - 1) if row == 0 else (length - e, length - 1 - s)
                for site, place, others in zip(out.values(), places, ends[:: 1 - 2 * row], strict=True):
                    site.spliced[row, place] += reads
                    site.passing[row, place] = others
        return out

    def _passing(self, seqid: str) -> Counter[tuple[int, str, bool]]:
        """Reads that pass by the ends of introns: by place, strand and whether it is the left end."""
        introns = self.by_record.get(seqid, Counter())
        ends: Counter[tuple[int, str, bool]] = Counter()
        for (start, end, strand), reads in introns.items():
            ends[start, strand, True] += reads
            ends[end, strand, False] += reads
        unspliced = self.unspliced.get(seqid, Counter())
        passing = Counter({end: unspliced[end[0]] for end in ends})
        for (start, end, strand), reads in introns.items():
            # reads spliced between one end of the intron and another site than its other end
            passing[start, strand, True] += ends[end, strand, False] - reads
            passing[end, strand, False] += ends[start, strand, True] - reads
        return passing

    def add_to(
        self, record: Record, tracks: Tracks, sites: Sequence[str], weights: SupportWeights, *, around: int = 0
    ) -> None:
        """Adds the evidence to the scores of a record's donors and acceptors (in place).

        Args:
            record: the sequence.
            tracks: its scores.
            sites: names of the columns of `tracks.sites`.
            weights: of the model.
            around: as for `sites`.
        """
        reads = self.sites(record.id, len(record), around=around)
        for kind, ratios in weights.at(self.depth).items():
            column = tracks.sites[..., sites.index(kind)]
            bonus = np.rint(ratios[reads[kind].classes] * UNITS)
            limit = np.iinfo(column.dtype).max
            column[:] = np.clip(column + bonus, -limit, limit).astype(column.dtype)

    def support(self, seqid: str, introns: Iterable[tuple[int, int]], strand: str) -> int:
        """How many of some introns were seen."""
        seen = self.by_record.get(seqid, Counter())
        return sum((start, end, strand) in seen for start, end in introns)


def fit(
    records: Sequence[Record], introns: Mapping[str, Iterable[Intron]], evidence: IntronEvidence, *, seed: int = 1
) -> SupportWeights:
    """Weights from an annotated genome and its own evidence, at its depth and thinned to lower ones.

    Args:
        records: sequences.
        introns: annotated introns between CDS segments, by record; all other candidate sites are "other".
        evidence: what the alignments show.
        seed: of the thinning.
    """
    rng = np.random.default_rng(seed)
    levels = [evidence] + [evidence.thinned(share, rng) for share in THINNING]
    tables = [_ratios(records, introns, level) for level in levels]
    return SupportWeights(
        tuple(round(level.depth, 1) for level in levels),
        tuple(t["donor"] for t in tables),
        tuple(t["acceptor"] for t in tables),
    )


def _ratios(
    records: Iterable[Record], introns: Mapping[str, Iterable[Intron]], evidence: IntronEvidence
) -> dict[str, tuple[float, ...]]:
    true, other = ({kind: np.full(CLASSES, 0.5) for kind in ("donor", "acceptor")} for _ in range(2))
    masks = CodeMasks.of(GeneticCode.from_number(1, EUKARYOTIC_STARTS))
    for record in records:
        known = IntronEvidence({record.id: Counter(introns.get(record.id, ()))}, 0.0)
        annotated, seen = (e.sites(record.id, len(record)) for e in (known, evidence))
        marks = eukaryote_marks.marks(np.stack([record.codes, reverse_complement(record.codes)]), masks)
        for kind, mark in (("donor", eukaryote_marks.DONOR_HERE), ("acceptor", eukaryote_marks.ACCEPTOR_ENDS_HERE)):
            classes, candidate = seen[kind].classes, (marks & mark) != 0
            right = annotated[kind].spliced > 0
            true[kind] += np.bincount(classes[candidate & right], minlength=CLASSES)
            other[kind] += np.bincount(classes[candidate & ~right], minlength=CLASSES)
    out = {}
    for kind in true:
        values = np.log(true[kind] / true[kind].sum()) - np.log(other[kind] / other[kind].sum())
        values[1:-1] = np.maximum.accumulate(values[1:-1])  # more reads never speak less for an intron
        out[kind] = tuple(round(float(v), 4) for v in np.clip(values, -_LARGEST_RATIO, _LARGEST_RATIO))
    return out
