"""What the writers derive from a gene: names, parts of its CDS, phases, coding sequence and protein.

A gene over the origin of a circular record ends beyond the record's length; what writes its parts cuts them there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..features import Annotation, Gene, ProteinDomain, Record
from ..sequence import Codes, GeneticCode, reverse_complement

#: 0-based half-open
Span = tuple[int, int]

#: databases of profiles, by the form of their accessions
_DATABASES = {
    re.compile(form + r"(\.\d+)?"): name
    for form, name in (
        (r"PF\d{5}", "Pfam"), (r"TIGR\d{5}", "TIGRFAM"), (r"NF\d{6}", "NCBIFAM"), (r"PTHR\d{5}(:SF\d+)?", "PANTHER"),
        (r"PIRSF\d{6}", "PIRSF"), (r"SM\d{5}", "SMART"),
    )
}  # fmt: skip


def gene_ids(annotation: Annotation) -> list[str]:
    """Names of the genes of one record: its id, "_" and the gene's number from 1.

    The same in every output format, and unique over a file as long as the record ids are: the part after the last "_"
    is the number, all before it the record.
    """
    return [f"{annotation.record.id}_{i}" for i in range(1, len(annotation.genes) + 1)]


def transcript_id(name: str, gene: Gene) -> str:
    """Name of what a gene named `name` is translated from.

    Where genes may have introns that is a transcript, ".t1" after the gene's name; in bacteria it is the gene itself.
    """
    return f"{name}.t1" if gene.intronic else name


def phases(spans: Sequence[Span], strand: str) -> list[int]:
    """Phase of each of the spans, ascending, that together are whole codons.

    The phase is the number of bases to skip from a span's 5' end to its first whole codon (GFF3; GTF's frame). A gene
    whose 5' end is off the record has in `Gene` the coordinates of the whole codons inside it, so that its first phase
    is 0 too.
    """
    found, read = [], 0
    for start, end in spans if strand == "+" else reversed(spans):
        found.append(-read % 3)
        read += end - start
    return found if strand == "+" else found[::-1]


def stretch(spans: Sequence[Span], strand: str, first: int, last: int) -> list[Span]:
    """Where bases `first` to `last` (0-based half-open, 5' to 3') of what the ascending spans hold lie, ascending."""
    if strand == "-":
        length = sum(end - start for start, end in spans)
        first, last = length - last, length - first
    found, before = [], 0
    for start, end in spans:
        part = max(start, start + first - before), min(end, start + last - before)
        if part[0] < part[1]:
            found.append(part)
        before += end - start
    return found


def exon_score(gene: Gene, span: Span) -> float | None:
    """Posterior probability of the segment of the CDS that a span overlaps, or, where that is not known, of the gene.

    None for what is untranslated, which has no posterior.
    """
    scores = gene.exon_scores or [gene.score] * len(gene.segments)
    known = zip(gene.segments, scores, strict=True)
    return next((score for (start, end), score in known if start < span[1] and span[0] < end), None)


def untranslated(gene: Gene) -> dict[str, list[Span]]:
    """The untranslated parts of a gene's exons, ascending, as "five_prime_UTR" and "three_prime_UTR"; those it has."""
    left = [span for span in gene.untranslated if span[1] <= gene.start]
    right = [span for span in gene.untranslated if span[0] >= gene.end]
    five, three = (left, right) if gene.strand == "+" else (right, left)
    return {kind: spans for kind, spans in (("five_prime_UTR", five), ("three_prime_UTR", three)) if spans}


def cut_at_origin(spans: Iterable[Span], length: int) -> list[Span]:
    """The spans in their order, one that crosses the origin of a record of `length` bases cut in two there.

    What lies after the origin keeps coordinates beyond the length; `on_record` has all of it on the record.
    """
    return [
        part
        for start, end in spans
        for part in ([(start, length), (length, end)] if start < length < end else [(start, end)])
    ]


def union(spans: Sequence[Span]) -> NDArray[np.int64]:
    """Disjoint, ascending spans [number, 2] that cover the same bases, none touching the next."""
    ascending = np.array(sorted(spans), np.int64).reshape(-1, 2)
    starts, reach = ascending[:, 0], np.maximum.accumulate(ascending[:, 1])
    apart = starts[1:] > reach[:-1]
    edge = np.ones(min(len(spans), 1), bool)
    return np.stack([starts[np.concatenate([edge, apart])], reach[np.concatenate([apart, edge])]], 1)


def wrap(span: Span, length: int) -> Span:
    """A span that does not cross the origin in the coordinates of its record of `length` bases."""
    start, end = span
    return (start - length, end - length) if start >= length else span


def on_record(spans: Iterable[Span], length: int) -> list[Span]:
    """The spans in their order and in the coordinates of their record, one that crosses the origin cut in two there."""
    return [wrap(span, length) for span in cut_at_origin(spans, length)]


def coding_sequence(record: Record, gene: Gene) -> Codes:
    """Codes of a gene 5' to 3', introns cut out, stop codon included, shape [gene.length]."""
    codes = np.concatenate([record.codes[start:end] for start, end in on_record(gene.segments, len(record))])
    return codes if gene.strand == "+" else reverse_complement(codes)


def protein(record: Record, gene: Gene) -> str:
    """The gene's protein, without a letter for its stop codon; the first codon of a gene with a start is M."""
    code = GeneticCode.from_number(gene.genetic_code)
    residues = code.translate(coding_sequence(record, gene), starts=gene.has_start)
    return residues[:-1] if gene.has_stop else residues


def cross_reference(domain: ProteinDomain) -> str | None:
    """``DATABASE:ACCESSION`` of a domain's profile; None if its accession is of no known database."""
    known = (name for form, name in _DATABASES.items() if form.fullmatch(domain.accession))
    return next((f"{name}:{domain.accession}" for name in known), None)


def cross_references(gene: Gene) -> list[str]:
    """Those of a gene's domains, each once."""
    return list(dict.fromkeys(filter(None, map(cross_reference, gene.domains))))


def domain_names(gene: Gene) -> list[str]:
    """What a gene's domains are, each once: the profile's name and description."""
    return list(dict.fromkeys(f"{d.name}: {d.description}" if d.description else d.name for d in gene.domains))


def comment_line(provenance: str) -> str:
    """The comment that says where a file comes from, one line; "" if nothing is known."""
    return f"# {' '.join(provenance.split())}\n" if provenance else ""
