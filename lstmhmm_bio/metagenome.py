"""Calibration of metagenomes: records that are alike learn from each other's genes.

Tables of one's own are worth far more than those expected for a GC content, and a contig is too short to fill them. Its
organism's other contigs in the same file can: words of four bases tell organisms apart (Teeling et al. 2004). A sample
of the records is split into groups by Markov models of order 3 (classification EM, Celeux & Govaert 1992), each group
gets a calibration as if it were one genome, and every record takes that of the group it fits best, together with what
it takes of groups that it fits nearly as well. Groups need not be organisms: two halves of a genome do as well as the
whole, and two organisms of one codon usage may share.

Groups come of sums of integers, so that the groups do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .calibration import Calibration, Counts, Prior, Tables, gc_content, pack, unpack
from .features import Record
from .sequence import Codes, kmer_counts

#: tables of GC contents that are kept, 20 kB each: reads of one length have few
_KEPT = 1000
WORD = 4
#: groups are made such that each has about this many bases of the sample, and dissolved below a third of it
GROUP_BASES = 150_000
MOST_GROUPS = 24
ROUNDS = 50
#: log probabilities are in units of 1 / UNITS nat
UNITS = 1024
#: weight of a group's single bases as prior of its words, in counts per three bases before
SHRINKAGE = 20.0
#: what a nat of likelihood counts when a record takes of several groups: words overlap, and genes vary within a genome
TEMPERATURE = 0.15
#: groups that would have less weight than this, where the best has 1, have none
LEAST_WEIGHT = 0.02


class Composition(NamedTuple):
    """What tells groups apart.

    Attributes:
        words: [groups, 4**WORD] int64, log P(last base of a word | the bases before) in 1 / `UNITS` nat.
        shares: [groups] int64, log of the share of the sample's records in the group, likewise.
    """

    words: NDArray[np.int64]
    shares: NDArray[np.int64]

    def fits(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """Log likelihood of each row of word counts [records, 4**WORD] in each group, in 1 / `UNITS` nat."""
        # every base was counted on both strands
        return words @ self.words.T // 2 + self.shares

    def groups_of(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """The group that fits each row of word counts [records, 4**WORD] best, the first of equals: [records]."""
        return np.argmax(self.fits(words), axis=1)


@dataclass(frozen=True)
class GroupedCalibration:
    """A calibration for each of some groups of records.

    Attributes:
        composition: of the groups; there are none where there was too little to learn from.
        calibrations: one per group.
        genetic_code: NCBI table number under which the genes were found.
    """

    composition: Composition
    calibrations: tuple[Calibration, ...]
    genetic_code: int

    @staticmethod
    def empty(genetic_code: int) -> GroupedCalibration:
        """That of records of which nothing is known but their GC contents."""
        nothing = Composition(np.zeros((0, 4**WORD), np.int64), np.zeros(0, np.int64))
        return GroupedCalibration(nothing, (), genetic_code)

    @property
    def counts(self) -> Counts:
        """What was counted in all groups."""
        return sum((c.counts for c in self.calibrations), Counts.zeros())

    def weights_of(self, codes: Codes) -> NDArray[np.float32]:
        """[groups] what the genes of each group count for a record: 1 of the one that it fits best, less of others."""
        fits = self.composition.fits(word_counts(codes)[None])[0]
        weights = np.exp(TEMPERATURE / UNITS * (fits - fits.max()))
        return np.where(weights < LEAST_WEIGHT, 0, weights).astype(np.float32)


#: of one genome; of a metagenome; none, of records that are taken one by one
AnyCalibration = Calibration | GroupedCalibration | None


def tables_by_record(calibration: AnyCalibration, prior: Prior, genetic_code: int) -> Callable[[Record], Tables]:
    """What gives each record its tables.

    Args:
        calibration: that the records share; with none, every record has those expected at its GC content.
        prior: of the model.
        genetic_code: NCBI table number of records without a calibration.
    """
    if calibration is None or (isinstance(calibration, GroupedCalibration) and not calibration.calibrations):

        @lru_cache(_KEPT)
        def expected(gc: float) -> Tables:
            return Calibration.expected(gc, genetic_code).tables(prior)

        return lambda record: expected(gc_content(record.codes))
    if isinstance(calibration, Calibration):
        of_genome = calibration.tables(prior)
        return lambda record: of_genome
    return _mixed(calibration, prior)


def _mixed(grouped: GroupedCalibration, prior: Prior) -> Callable[[Record], Tables]:
    """Gives each record the tables of the sum of its groups' counts, by their weights."""
    of_group = [c.tables(prior) for c in grouped.calibrations]
    counts = np.stack([pack(c.counts) for c in grouped.calibrations])
    gc = np.array([c.gc for c in grouped.calibrations])

    def tables_of(record: Record) -> Tables:
        weights = grouped.weights_of(record.codes)
        if np.count_nonzero(weights) == 1:
            return of_group[int(weights.argmax())]
        mixed = Calibration(unpack(weights @ counts), float(weights @ gc / weights.sum()), grouped.genetic_code)
        return mixed.tables(prior)

    return tables_of


def word_counts(codes: Codes) -> NDArray[np.int64]:
    """[4**WORD] words of both strands."""
    return kmer_counts(codes, WORD)


def compositions(counts: NDArray[np.int64]) -> Composition:
    """Splits records into groups.

    Args:
        counts: [records, 4**WORD] `word_counts` of each; at least one.

    Returns:
        The composition of at least one group.
    """
    bases = counts.sum(1) // 2
    wanted = int(np.clip(bases.sum() // GROUP_BASES, 1, MOST_GROUPS))
    gc = (counts @ _GC) / np.maximum(counts.sum(1), 1)
    order = np.argsort(gc, kind="stable")
    member = np.empty(len(counts), np.int64)
    # as many bases in each to begin with, from low to high GC content
    member[order] = (np.cumsum(bases[order]) - bases[order]) * wanted // max(int(bases.sum()), 1)
    while True:
        found, member = _settled(counts, member)
        sizes = np.bincount(member, weights=bases, minlength=len(found.shares))
        if len(sizes) == 1 or sizes.min() >= GROUP_BASES // 3:
            return found
        smallest = int(sizes.argmin())
        left = Composition(np.delete(found.words, smallest, 0), np.delete(found.shares, smallest))
        member = left.groups_of(counts)


def _settled(counts: NDArray[np.int64], member: NDArray[np.int64]) -> tuple[Composition, NDArray[np.int64]]:
    """Composition of the groups of some members, and these, once records change their group no more."""
    found = _composition(counts, member)
    for _ in range(ROUNDS):
        again = found.groups_of(counts)
        if (again == member).all():
            break
        member = again
        found = _composition(counts, member)
    return found, found.groups_of(counts)


def _composition(counts: NDArray[np.int64], member: NDArray[np.int64]) -> Composition:
    """Composition of groups by their members; numbers that nobody has are left out."""
    names, member = np.unique(member, return_inverse=True)
    sums = np.zeros((len(names), 4**WORD), np.int64)
    np.add.at(sums, member, counts)
    words = sums.reshape(len(names), -1, 4).astype(np.float64)
    single = words.sum(1, keepdims=True) + 1
    single /= single.sum(-1, keepdims=True)
    p = (words + SHRINKAGE * single) / (words.sum(-1, keepdims=True) + SHRINKAGE)
    share = np.bincount(member) / len(member)
    return Composition(_fixed(p).reshape(len(names), -1), _fixed(share))


def _fixed(p: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(UNITS * np.log(p)).astype(np.int64)


#: words whose last base is G or C
_GC = np.tile([0, 1, 1, 0], 4 ** (WORD - 1))
