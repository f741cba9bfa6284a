"""Search results as tables: HMMER's per-sequence and per-domain layouts, and JSON with unrounded numbers.

The layouts are those of HMMER User's Guide 3.4, "Tabular output formats": columns separated by blanks, padded to fit,
numbers rounded, the description last. They are written one profile after another, with the columns' names (`head`)
before the first.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

from .hits import DomainHit, Hit, QueryResult
from .profile import Profile


def write_targets(handle: TextIO, result: QueryResult, *, head: bool) -> None:
    """One line for each reported sequence (``--tblout``)."""
    target, query, accession = widths = _widths(result)
    title = (
        f"#{'':{target + query + accession + 13}}--- full sequence ---- --- best 1 domain ---- "
        "--- domain number estimation ----\n"
        f"#{' target name':<{target - 1}} {'accession':<10} {'query name':<{query}} {'accession':<{accession}}"
        "   E-value  score  bias   E-value  score  bias   exp reg clu  ov env dom rep inc description of target\n"
        f"#{'-' * (target - 1)} {'-' * 10} {'-' * query} {'-' * accession}"
        " --------- ------ ----- --------- ------ -----   --- --- --- --- --- --- --- --- ---------------------\n"
    )
    handle.write(title if head else "")
    for hit in result.hits:
        best = hit.best
        reported = sum(d.reported for d in hit.domains)
        included = sum(d.included for d in hit.domains)
        handle.write(
            f"{_names(result.profile, hit, widths)} {hit.evalue:9.2g} {hit.score:6.1f} {hit.bias:5.1f} "
            f"{best.independent_evalue:9.2g} {best.score:6.1f} {best.bias:5.1f} "
            f"{hit.expected:5.1f} {hit.regions:3d} {hit.resolved:3d} {hit.overlaps:3d} {hit.envelopes:3d} "
            f"{len(hit.domains):3d} {reported:3d} {included:3d} {hit.description or '-'}\n"
        )


def write_places(handle: TextIO, result: QueryResult, *, head: bool) -> None:
    """One line for each hit in a genome (``--tblout`` of nhmmer)."""
    target, query, accession = widths = _widths(result)
    title = (
        f"#{' target name':<{target - 1}} {'accession':<10} {'query name':<{query}} {'accession':<{accession}} hmmfrom "
        "hmm to alifrom  ali to envfrom  env to  sq len strand   E-value  score  bias  description of target\n"
        f"#{'-' * (target - 1)} {'-' * 10} {'-' * query} {'-' * accession} ------- ------- ------- ------- ------- "
        "------- ------- ------ --------- ------ ----- ---------------------\n"
    )
    handle.write(title if head else "")
    for hit in result.hits:
        (a, b), (start, end), (first, last) = coordinates(hit, hit.best)
        handle.write(
            f"{_names(result.profile, hit, widths)} {a:7d} {b:7d} {start:7d} {end:7d} "
            f"{first:7d} {last:7d} {hit.length:7d}    {hit.strand}   {hit.evalue:9.2g} {hit.score:6.1f} "
            f"{hit.bias:5.1f}  {hit.description or '-'}\n"
        )


def write_domains(handle: TextIO, result: QueryResult, *, head: bool) -> None:
    """One line for each reported domain (``--domtblout``)."""
    target, query, accession = _widths(result)
    title = (
        f"#{'':{target + query + accession + 26}}--- full sequence --- -------------- this domain -------------   "
        "hmm coord   ali coord   env coord\n"
        f"#{' target name':<{target - 1}} {'accession':<10} {'tlen':>5} {'query name':<{query}} "
        f"{'accession':<{accession}} {'qlen':>5}   E-value  score  bias   #  of  c-Evalue  i-Evalue  score  bias  "
        "from    to  from    to  from    to  acc description of target\n"
        f"#{'-' * (target - 1)} {'-' * 10} ----- {'-' * query} {'-' * accession} ----- --------- ------ ----- --- --- "
        "--------- --------- ------ ----- ----- ----- ----- ----- ----- ----- ---- ---------------------\n"
    )
    handle.write(title if head else "")
    for hit in result.hits:
        shown = hit.reported_domains
        for number, d in shown:
            hmm, alignment, envelope = coordinates(hit, d)
            handle.write(
                f"{hit.target:<{target}} {'-':<10} {hit.length:5d} {result.profile.name:<{query}} "
                f"{result.profile.accession or '-':<{accession}} {result.profile.length:5d} "
                f"{hit.evalue:9.2g} {hit.score:6.1f} {hit.bias:5.1f} {number:3d} {len(shown):3d} "
                f"{d.conditional_evalue:9.2g} {d.independent_evalue:9.2g} {d.score:6.1f} {d.bias:5.1f} "
                f"{hmm[0]:5d} {hmm[1]:5d} {alignment[0]:5d} {alignment[1]:5d} {envelope[0]:5d} {envelope[1]:5d} "
                f"{accuracy(d):4.2f} {hit.description or '-'}\n"
            )


class JsonWriter:
    """All numbers unrounded: ``{"hits": [{"query", "target", "score", ..., "domains": [...]}]}``."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle
        self._before = "\n"
        handle.write('{"hits": [')

    def write(self, result: QueryResult) -> None:
        """The hits of one profile."""
        for hit in result.hits:
            self._handle.write(self._before + json.dumps(_hit(result.profile, hit)))
            self._before = ",\n"

    def close(self) -> None:
        """Completes what was written; the handle stays open."""
        self._handle.write("\n]}\n")


def _hit(profile: Profile, hit: Hit) -> dict[str, Any]:
    return {
        "query": profile.name,
        "query_accession": profile.accession,
        "query_length": profile.length,
        "target": hit.target,
        "description": hit.description,
        "target_length": hit.length,
        "score": hit.score,
        "bias": hit.bias,
        "forward_bits": hit.forward_bits,
        "evalue": hit.evalue,
        "log_pvalue": hit.log_pvalue,
        "included": hit.included,
        "expected_domains": hit.expected,
        "strand": hit.strand,
        "domains": [_domain(hit, d) for _, d in hit.reported_domains],
    }


def _domain(hit: Hit, d: DomainHit) -> dict[str, Any]:
    hmm, alignment, envelope = coordinates(hit, d)
    return {
        "score": d.score,
        "bias": d.bias,
        "conditional_evalue": d.conditional_evalue,
        "independent_evalue": d.independent_evalue,
        "log_pvalue": d.log_pvalue,
        "included": d.included,
        "hmm_from": hmm[0],
        "hmm_to": hmm[1],
        "alignment_from": alignment[0],
        "alignment_to": alignment[1],
        "envelope_from": envelope[0],
        "envelope_to": envelope[1],
        "accuracy": accuracy(d),
    }


def coordinates(hit: Hit, d: DomainHit) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """First and last position, from 1, in the profile, of the alignment, and of the envelope.

    Of a hit on the reverse strand the first is the greater one: positions are those on the forward strand.
    """
    spans = ((d.domain.start, d.domain.end), d.domain.envelope)
    a, b = d.domain.profile_span
    alignment, envelope = (
        (start + 1, end) if hit.strand == "+" else (hit.length - start, hit.length - end + 1) for start, end in spans
    )
    return (a + 1, b), alignment, envelope


def accuracy(hit: DomainHit) -> float:
    """Mean posterior probability that a residue of the envelope is rightly placed."""
    start, end = hit.domain.envelope
    return hit.domain.accuracy / (end - start)


def _names(profile: Profile, hit: Hit, widths: tuple[int, int, int]) -> str:
    """The first columns of a line of either ``--tblout``, `_widths` wide."""
    target, query, accession = widths
    return f"{hit.target:<{target}} {'-':<10} {profile.name:<{query}} {profile.accession or '-':<{accession}}"


def _widths(result: QueryResult) -> tuple[int, int, int]:
    """Of the columns of target names, query name and query accession, for each profile its own, as in HMMER."""
    return (
        max([20, *(len(hit.target) for hit in result.hits)]),
        max(20, len(result.profile.name)),
        max(10, len(result.profile.accession)),
    )
