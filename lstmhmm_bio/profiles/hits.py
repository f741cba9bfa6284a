"""Hits of a search, and which of them are reported and included."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from .profile import Heading, Profile

if TYPE_CHECKING:
    from .domains import Domain


@dataclass(frozen=True)
class Thresholds:
    """What is reported and what is included; a bit score, where given, replaces the E-value.

    Attributes:
        evalue, score: of a sequence that is reported.
        domain_evalue, domain_score: of a domain, by its conditional E-value.
        include_evalue, include_score, include_domain_evalue, include_domain_score: to be included.
        cutoff: "GA", "TC" or "NC", to take all scores from the profile.
        targets: number of sequences that E-values refer to, None for those searched.
        significant: number of sequences that conditional E-values refer to, None for those reported.
    """

    evalue: float = 10.0
    score: float | None = None
    domain_evalue: float = 10.0
    domain_score: float | None = None
    include_evalue: float = 0.01
    include_score: float | None = None
    include_domain_evalue: float = 0.01
    include_domain_score: float | None = None
    cutoff: str | None = None
    targets: float | None = None
    significant: float | None = None

    def of(self, profile: Profile | Heading) -> Thresholds:
        """These, with the profile's own scores where they are asked for.

        Raises:
            UsageError: the profile has none.
        """
        if self.cutoff is None:
            return self
        if self.cutoff not in profile.cutoffs:
            raise UsageError(f"profile {profile.name} has no {self.cutoff} scores; choose thresholds of your own")
        score, domain_score = profile.cutoffs[self.cutoff]
        return replace(
            self,
            score=score,
            domain_score=domain_score,
            include_score=score,
            include_domain_score=domain_score,
        )


@dataclass(frozen=True, eq=False)
class DomainHit:
    """A domain with its significance.

    Attributes:
        domain: where it is.
        score: bits, corrected for biased composition.
        bias: bits taken off for that.
        log_pvalue: natural logarithm of the P-value.
        conditional_evalue: expected number of such domains in the reported sequences.
        independent_evalue: in all sequences.
        reported, included: whether it passes the thresholds.
    """

    domain: Domain
    score: float
    bias: float
    log_pvalue: float
    conditional_evalue: float = math.nan
    independent_evalue: float = math.nan
    reported: bool = False
    included: bool = False


@dataclass(frozen=True, eq=False)
class Hit:
    """A sequence that a profile matches.

    Attributes:
        target, description: the sequence's id and what stands behind it.
        length: of the sequence.
        forward_bits: score of the whole sequence, before anything is known of domains or bias.
        score: bits; the sum over the domains where that is better.
        bias: bits taken off for biased composition.
        log_pvalue: natural logarithm of the P-value.
        domains: by position.
        expected, regions, resolved, overlaps, envelopes: how they were found, see `domains.Found`.
        strand: "+", or "-" if positions are those on the reverse strand.
        evalue: expected number of such sequences.
        included: whether it passes the thresholds for inclusion.
    """

    target: str
    description: str
    length: int
    forward_bits: float
    score: float
    bias: float
    log_pvalue: float
    domains: tuple[DomainHit, ...]
    expected: float
    regions: int
    resolved: int
    overlaps: int
    envelopes: int
    strand: str = "+"
    evalue: float = math.nan
    included: bool = False

    @property
    def best(self) -> DomainHit:
        """The domain of the highest score."""
        return max(self.domains, key=lambda d: d.score)

    @property
    def reported_domains(self) -> list[tuple[int, DomainHit]]:
        """The reported domains and their numbers from 1 among these."""
        return list(enumerate((d for d in self.domains if d.reported), 1))


@dataclass(frozen=True, eq=False)
class QueryResult:
    """What one profile found.

    Attributes:
        profile: the query.
        hits: reported, best first.
        targets: number of sequences E-values refer to.
        sequences, residues: searched.
    """

    profile: Profile
    hits: tuple[Hit, ...]
    targets: float
    sequences: int
    residues: int = field(default=0)


def check(profiles: Iterable[Profile | Heading], thresholds: Thresholds) -> None:
    """Before a search begins.

    Raises:
        UsageError: a profile lacks statistics or the scores asked for.
    """
    for profile in profiles:
        thresholds.of(profile)
        if "FORWARD" not in profile.statistics:
            raise UsageError(f"profile {profile.name} is not calibrated; build it anew with `lstmhmm profile build`")


def passes(log_pvalue: float, score: float, number: float, evalue: float, cutoff: float | None) -> bool:
    """Whether a hit among `number` passes an E-value, or a score if there is one."""
    return score >= cutoff if cutoff is not None else math.exp(log_pvalue) * number <= evalue


def report(profile: Profile, hits: Sequence[Hit], thresholds: Thresholds, sequences: int, residues: int) -> QueryResult:
    """The hits that pass, with E-values, best first; hits of equal significance by name."""
    limits = thresholds.of(profile)
    targets = sequences if limits.targets is None else limits.targets
    kept = [h for h in hits if passes(h.log_pvalue, h.score, targets, limits.evalue, limits.score)]
    significant = len(kept) if limits.significant is None else limits.significant
    by_score = limits.include_score is not None
    kept.sort(key=lambda h: (-h.score if by_score else h.log_pvalue, h.target))
    finished = tuple(_finished(h, limits, targets, significant) for h in kept)
    return QueryResult(profile, finished, targets, sequences, residues)


def _finished(hit: Hit, limits: Thresholds, targets: float, significant: float) -> Hit:
    domains = []
    for d in hit.domains:
        reported = passes(d.log_pvalue, d.score, significant, limits.domain_evalue, limits.domain_score)
        reported = reported and not _repeated(d, hit.domains)
        included = reported and passes(
            d.log_pvalue, d.score, significant, limits.include_domain_evalue, limits.include_domain_score
        )
        chance = math.exp(d.log_pvalue)
        domains.append(
            replace(
                d,
                conditional_evalue=chance * significant,
                independent_evalue=chance * targets,
                reported=reported,
                included=included,
            )
        )
    return replace(
        hit,
        domains=tuple(domains),
        evalue=math.exp(hit.log_pvalue) * targets,
        included=passes(hit.log_pvalue, hit.score, targets, limits.include_evalue, limits.include_score),
    )


def _repeated(domain: DomainHit, domains: Sequence[DomainHit]) -> bool:
    """Whether a better one has the same alignment: two envelopes may lead to one."""

    def key(d: DomainHit) -> tuple[int, int, tuple[int, int]]:
        return d.domain.start, d.domain.end, d.domain.profile_span

    return any(key(d) == key(domain) and d.score > domain.score for d in domains if d is not domain)
