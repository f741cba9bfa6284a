"""Simulated genes with introns, and records turned so that a gene lies over their origin, for tests of writers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from Bio.Seq import Seq

from lstmhmm_bio.features import Annotation, Gene, Record
from lstmhmm_bio.sequence import decode, encode

STOPS = ("TAA", "TAG", "TGA")
CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT" if a + b + c not in STOPS]


def simulate_spliced(
    seqid: str, seed: int, *, genes: int = 6, introns: int = 4, open_ends: bool = True
) -> tuple[Annotation, list[str]]:
    """A random record with genes of up to `introns` introns anywhere, in start and stop codons too.

    Returns:
        The annotation, its first and last gene perhaps running off the record, and the coding sequence of each gene,
        stop codon included.
    """
    rng = np.random.default_rng(seed)

    def random(length: int) -> str:
        return "".join(rng.choice(list("ACGT"), length))

    pieces, found, coding, at = [], [], [], 0
    for i in range(genes):
        left_open, right_open = open_ends and i == 0, open_ends and i == genes - 1
        strand = "+-"[rng.integers(2)]
        has_start = not (left_open if strand == "+" else right_open)
        has_stop = not (right_open if strand == "+" else left_open)
        body = "".join(rng.choice(CODONS, rng.integers(4, 40)))
        text = "ATG" * has_start + body + str(rng.choice(STOPS)) * has_stop
        count = int(rng.integers(0, introns + 1))
        # often in the codons at the ends
        places = np.append(rng.integers(1, len(text), 2), [1, 2, len(text) - 1, len(text) - 2])
        cuts = sorted(set(rng.choice(places, count).tolist())) if count else []
        exons = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        inner = [f"GT{random(int(rng.integers(20, 60)))}AG" for _ in cuts]
        both = [piece for pair in zip(exons, [*inner, ""], strict=True) for piece in pair][:-1]
        if strand == "-":
            both = [str(Seq(piece).reverse_complement()) for piece in reversed(both)]
        gap = int(rng.integers(0, 3) if left_open else rng.integers(0, 40))
        edges = (at + gap + np.cumsum([0, *map(len, both)])).tolist()
        pieces += [random(gap), *both]
        at = edges[-1]
        found.append(
            Gene(
                seqid, edges[0], at, strand, float(rng.random()), left_open, right_open,
                start_score=float(rng.random()) if has_start else float("nan"),
                start_codon="ATG" if has_start else "",
                genetic_code=1,
                introns=tuple(zip(edges[1:-1:2], edges[2:-1:2], strict=True)),
                exon_scores=tuple(rng.random(len(exons)).tolist()),
                intronic=True,
            )
        )  # fmt: skip
        coding.append(text)
    pieces.append(random(int(rng.integers(0, 3))))
    return Annotation(Record(seqid, encode("".join(pieces)), "a simulated one"), tuple(found)), coding


def turned(annotation: Annotation, origin: int) -> Annotation:
    """The annotation of the same molecule, circular, that begins at another base."""
    codes, length = annotation.record.codes, len(annotation.record)
    record = Record(annotation.record.id, np.roll(codes, -origin), annotation.record.description, circular=True)

    def moved(gene: Gene) -> Gene:
        shift = (gene.start - origin) % length - gene.start
        introns = tuple((a + shift, b + shift) for a, b in gene.introns)
        return replace(gene, start=gene.start + shift, end=gene.end + shift, introns=introns)

    return Annotation(record, tuple(sorted(map(moved, annotation.genes), key=lambda g: g.start)))


def letters(record: Record) -> str:
    return decode(record.codes)
