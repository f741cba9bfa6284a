"""From decoded paths to genes with scores, by kind of grammar."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .decoding import FULL, Decoded
from .errors import ModelError
from .features import Gene
from .hmm.grammars import bacteria, eukaryote
from .sequence import GeneticCode, Segments, decode, kmer_indices, mirrored, reverse_complement


def groups_read(kind: str) -> tuple[str, ...]:
    """The groups of states whose posteriors `genes_of` reads of a kind of grammar; () for all."""
    return ("stop", "start", "third") if kind == "bacteria" else ()


def genes_of(decoded: Decoded, code: GeneticCode) -> list[Gene]:
    """Genes of both strands, sorted by position, with posterior scores.

    Args:
        decoded: a record's path and posteriors.
        code: genetic code that it was decoded with.

    Raises:
        ModelError: the model's grammar is one of other labels than genes.
    """
    find = {"bacteria": _bacterial, "eukaryote": _eukaryotic}.get(decoded.grammar.kind)
    if find is None:
        raise ModelError("a model of your own labels finds no genes; use it with: lstmhmm segment --model")
    strands = (decoded.record.codes, reverse_complement(decoded.record.codes))
    found = [gene for row, codes in enumerate(strands) for gene in find(decoded, row, codes, code)]
    return sorted(found, key=lambda g: (g.start, g.end, g.strand))


def _bacterial(decoded: Decoded, row: int, codes: NDArray[np.uint8], code: GeneticCode) -> list[Gene]:
    if not decoded.paths[row].any():  # most strands of short records
        return []
    found = bacteria.intervals(decoded.paths[row])
    # a gene off the end is as sure as its reading frame is in its last codon
    stop, third = (decoded.posterior_at(group, row, found.end - 1) for group in ("stop", "third"))
    scores = np.where(found.has_stop, stop, third)
    starts = decoded.posterior_at("start", row, found.start)
    genes = []
    for s, e, has_start, has_stop, score, start in zip(*(x.tolist() for x in (*found, scores, starts)), strict=True):
        start_score = min(start / max(score, 1 / FULL), 1.0) if has_start else float("nan")
        codon = decode(codes[s : s + 3]) if has_start else ""
        genes.append(_gene(decoded, row, ((s, e),), (), score, has_start, has_stop, start_score, codon, code))
    return genes


#: alternative starts are looked for from this many bases upstream of the start to this many before the gene's end
REACH, SHORTEST = 900, 60
#: and reported from this posterior probability on, given the gene
LEAST_ALTERNATIVE = 0.01


def with_alternative_starts(genes: list[Gene], decoded: Decoded, code: GeneticCode) -> list[Gene]:
    """The same bacterial genes with the other start codons of their frame that are not unlikely.

    Args:
        genes: of `genes_of`; those with introns and those without start or stop codon stay as they are.
        decoded: what they came from.
        code: genetic code.
    """
    length, start = len(decoded.record), decoded.posterior("start")
    is_stop = np.append(code.is_stop, False)
    stops = [is_stop[kmer_indices(c, 3)] for c in (decoded.record.codes, reverse_complement(decoded.record.codes))]
    out = []
    for gene in genes:
        row = "+-".index(gene.strand)
        s, e = (gene.start, gene.end) if row == 0 else (length - gene.end, length - gene.start)
        if gene.intronic or not (gene.has_start and gene.has_stop):
            out.append(gene)
            continue
        upstream = np.arange(s - 3, max(s - REACH, -1), -3)
        in_the_way = np.flatnonzero(stops[row][upstream])
        upstream = upstream[: in_the_way[0]] if len(in_the_way) else upstream
        places = np.concatenate([upstream, np.arange(s + 3, e - SHORTEST, 3)])
        shares = start[row][places] / max(gene.score, 1 / FULL)
        found = sorted(
            ((int(p if row == 0 else length - 1 - p), min(float(x), 1.0)) for p, x in zip(places, shares, strict=True)),
            key=lambda pair: (-pair[1], pair[0]),
        )
        out.append(replace(gene, alternative_starts=tuple(pair for pair in found if pair[1] >= LEAST_ALTERNATIVE)))
    return out


def _eukaryotic(decoded: Decoded, row: int, codes: NDArray[np.uint8], code: GeneticCode) -> list[Gene]:
    posterior = {group: decoded.posterior(group)[row] for group in decoded.groups}
    genes = []
    for segments, has_start, has_stop in eukaryote.transcripts(decoded.grammar, decoded.paths[row]):
        # an exon is as sure as the less sure of its two ends
        ends = [
            (
                _first(posterior, s, has_start, n == 0),
                _last(posterior, e, has_stop, n == len(segments) - 1, split=e - segments[-1][0] < 3),
            )
            for n, (s, e) in enumerate(segments)
        ]
        exon_scores = tuple(float(min(pair)) for pair in ends)
        start_score = min(float(ends[0][0]) / max(float(ends[-1][1]), 1e-5), 1.0) if has_start else float("nan")
        codon = decode(np.concatenate([codes[s:e] for s, e in segments[:3]])[:3]) if has_start else ""
        genes.append(
            _gene(decoded, row, segments, exon_scores, min(exon_scores), has_start, has_stop, start_score, codon, code)
        )
    return genes


def _first(posterior: dict[str, NDArray[np.float32]], s: int, has_start: bool, first: bool) -> float:
    if first:
        return posterior["start" if has_start else "coding"][s]
    return posterior["acceptor"][s - 1]


def _last(posterior: dict[str, NDArray[np.float32]], e: int, has_stop: bool, last: bool, *, split: bool) -> float:
    if last:
        # the posteriors' grammar knows no stop codon cut by an intron
        return posterior["stop" if has_stop and not split else "coding"][e - 1]
    return posterior["donor"][e]


def _gene(
    decoded: Decoded,
    row: int,
    segments: Segments,
    exon_scores: tuple[float, ...],
    score: float,
    has_start: bool,
    has_stop: bool,
    start_score: float,
    codon: str,
    code: GeneticCode,
) -> Gene:
    """A gene in forward coordinates from one in its strand's own."""
    if row:
        segments = mirrored(segments, len(decoded.record))
        exon_scores = exon_scores[::-1]
    edges = [x for segment in segments for x in segment]
    return Gene(
        seqid=decoded.record.id,
        start=edges[0],
        end=edges[-1],
        strand="-" if row else "+",
        score=score,
        partial_left=not (has_stop if row else has_start),
        partial_right=not (has_start if row else has_stop),
        start_score=start_score,
        start_codon=codon,
        genetic_code=code.number,
        introns=tuple(zip(edges[1:-1:2], edges[2::2], strict=True)),
        exon_scores=exon_scores,
        intronic=decoded.grammar.kind == "eukaryote",
    )
