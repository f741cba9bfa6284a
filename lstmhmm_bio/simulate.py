"""Genomes drawn from a grammar, with their true annotation.

A genome is a row of operons on either strand. Each has its own codon usage, start and stop codons, ribosome binding
sites and intergenic composition, drawn around what GC content makes likely; genes follow each other at the distances
seen in bacteria, the 4- and 1-base overlaps (ATGA, TAATG) included. What it lacks of a real genome: RNA genes,
promoters, repeats, homology between genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .errors import UsageError
from .features import Gene, Record
from .sequence import (
    PROKARYOTIC_STARTS,
    Codes,
    GeneticCode,
    codon_index,
    decode,
    encode,
    kmer_indices,
    reverse_complement,
)

Floats = NDArray[np.float64]

GC_RANGE = (0.2, 0.8)
MIN_GENE, MAX_GENE = 90, 9000
MEAN_GENE, GENE_SPREAD = 950.0, 0.65  # nucleotides; standard deviation of the log-normal's logarithm
GENES_PER_OPERON = 2.8
#: on contigs, fragments of a gene shorter than this are left unannotated
MIN_FRAGMENT = 60
#: longest overlap of two genes: shorter than half of the shortest gene, so that one end never meets the other
MAX_OVERLAP = 36

#: amino acids per thousand (averages over proteins as in UniProtKB/Swiss-Prot statistics; membrane proteins are richer
#: in hydrophobic and poorer in charged residues)
_ACIDS = "ARNDCQEGHILKMFPSTWYV"
SOLUBLE = dict(
    zip(_ACIDS, (83, 55, 41, 58, 13, 40, 70, 70, 23, 57, 93, 60, 24, 37, 46, 65, 53, 11, 30, 68), strict=True)
)
MEMBRANE = dict(
    zip(_ACIDS, (95, 32, 25, 23, 13, 22, 26, 82, 18, 88, 125, 30, 32, 68, 42, 66, 54, 20, 30, 86), strict=True)
)
MEMBRANE_SHARE = 0.25

_START_SHARES = {"ATG": 80.0, "GTG": 12.0, "TTG": 8.0}
_SHINE_DALGARNO = encode("AGGAGG")
_SPACERS, _SPACER_SHARES = np.arange(5, 10), np.array([0.12, 0.23, 0.30, 0.23, 0.12])
_SITE_SHARE = 0.8  # of starts with a ribosome binding site
_SITE_MISMATCH = 0.08  # per base

_CODON_BASES = np.stack([np.arange(64) // 16, np.arange(64) // 4 % 4, np.arange(64) % 4], 1).astype(np.uint8)


@dataclass(frozen=True)
class Composition:
    """What one genome's sequences are drawn from.

    Attributes:
        code: genetic code.
        codons: [classes of proteins, 64] probabilities of the inner codons of a gene, 0 for stops.
        classes: [classes of proteins] shares.
        starts, stops: [64] probabilities of the first and last codon.
        intergenic: [16, 4] probabilities of a base after two others.
    """

    code: GeneticCode
    codons: Floats
    classes: Floats
    starts: Floats
    stops: Floats
    intergenic: Floats


@dataclass(frozen=True)
class _Site:
    """A whole gene on the drawing board, before a contig is cut."""

    start: int
    end: int
    strand: str


def simulate_genome(
    length: int,
    *,
    gc: float = 0.5,
    seed: int = 1,
    genetic_code: int = 11,
    record: int = 0,
    contig: bool = False,
) -> tuple[Record, tuple[Gene, ...]]:
    """Draw one record of a genome, and its genes.

    Args:
        length: bases.
        gc: expected share of G and C, within `GC_RANGE`.
        seed: of the genome; the same arguments give the same bases.
        genetic_code: NCBI table number.
        record: which record of the genome; all of them share codon usage and signals.
        contig: cut the record out of a longer one, so that genes may run off its ends.

    Returns:
        The record and its genes, sorted by start, with scores of 1.

    Raises:
        UsageError: an argument is out of range, or the genetic code has no start codon among `PROKARYOTIC_STARTS`.
    """
    if length < 1:
        raise UsageError(f"cannot simulate {length} bases; the length must be at least 1")
    if seed < 0 or record < 0:
        raise UsageError(f"seed {seed} and record {record} must not be negative")
    composition = draw_composition(np.random.default_rng(seed), gc, GeneticCode.from_number(genetic_code))
    rng = np.random.default_rng([seed, record])
    flank = 2 * MAX_GENE if contig else 0
    total = length + 2 * flank
    sites = _draw_layout(rng, total, composition)
    codes = _draw_intergenic(rng, composition.intergenic, total)
    _write_genes(rng, codes, sites, composition)
    _write_binding_sites(rng, codes, sites, composition.code)
    cut = Record(f"contig_{record + 1}", codes[flank : flank + length].copy())
    genes = (_cut_gene(site, cut, flank, genetic_code) for site in sites)
    return cut, tuple(gene for gene in genes if gene is not None)


def _cut_gene(site: _Site, record: Record, offset: int, genetic_code: int) -> Gene | None:
    """The gene as far as it lies on a record that begins at `offset`; None if that is nothing, or too little."""
    codes, length = record.codes, len(record)
    start, end = site.start - offset, site.end - offset
    off_left, off_right = start < 0, end > length
    if off_left:
        start %= 3
    if off_right:
        end = length - (length - start) % 3
    if end - start < (MIN_FRAGMENT if off_left or off_right else 3):
        return None
    has_start = not (off_left if site.strand == "+" else off_right)
    first = codes[start : start + 3] if site.strand == "+" else reverse_complement(codes[end - 3 : end])
    return Gene(
        record.id,
        start,
        end,
        site.strand,
        1.0,
        partial_left=off_left,
        partial_right=off_right,
        start_score=1.0 if has_start else float("nan"),
        start_codon=decode(first) if has_start else "",
        genetic_code=genetic_code,
    )


# ---- what the genome is made of


def draw_composition(rng: Generator, gc: float, code: GeneticCode) -> Composition:
    """Draw a genome's codon usage, signals and intergenic composition around what its GC content makes likely.

    Raises:
        UsageError: `gc` out of range, or a genetic code without usual start codons or without stop codons.
    """
    low, high = GC_RANGE
    if not low <= gc <= high:
        raise UsageError(f"GC content {gc} cannot be simulated; choose a share between {low} and {high}")
    starts = np.zeros(64)
    for codon in PROKARYOTIC_STARTS:
        starts[codon_index(codon)] = _START_SHARES[codon]
    starts *= code.is_start
    if not starts.any() or not code.is_stop.any():
        raise UsageError(f"genetic code {code.number} lacks start or stop codons; simulate with another one")
    starts[starts > 0] = rng.dirichlet(starts[starts > 0])
    # shares that fit E. coli (51 % GC) and move with GC as from S. aureus (33 %) to Streptomyces (72 %)
    stops = np.where(code.is_stop, 0.2, 0.0)
    for codon, share in (("TAA", 1.0), ("TAG", 0.2 * np.exp(5 * (gc - 0.5))), ("TGA", 0.5 * np.exp(10 * (gc - 0.5)))):
        stops[codon_index(codon)] *= 5 * share
    # coding sequence is some 88 % of the genome and richer in GC than the rest
    taste = rng.gamma(6.0, 1 / 6.0, 64)
    codons = np.stack([_codon_usage(code, acids, taste, gc + 0.01) for acids in (SOLUBLE, MEMBRANE)])
    return Composition(
        code,
        codons,
        np.array([1 - MEMBRANE_SHARE, MEMBRANE_SHARE]),
        starts,
        stops / stops.sum(),
        _intergenic_chain(rng, gc - 0.07),
    )


def _codon_usage(code: GeneticCode, acids: dict[str, int], taste: Floats, gc: float) -> Floats:
    """Codon probabilities [64] of proteins with about these amino acids.

    GC content acts on all codons through one exponential tilt, three times as strong on the third position as on the
    other two; so the amino acids shift with it as they do in nature. `taste` is the genome's own preference.
    """
    letters = np.frombuffer(code.amino_acids.encode(), np.uint8)
    synonymous = (letters[:, None] == letters).sum(1)
    base = np.array([acids.get(letter, 0) for letter in code.amino_acids]) / synonymous * taste
    is_gc = (_CODON_BASES == 1) | (_CODON_BASES == 2)
    pull = is_gc @ np.array([1 / 3, 1 / 3, 1.0])
    return _tilted(base, pull, is_gc.mean(1), gc)


def _tilted(weights: Floats, pull: Floats, value: Floats, target: float) -> Floats:
    """`weights * exp(x * pull)`, normalised, with the x that makes the mean of `value` the target (bisection)."""
    low, high = -20.0, 20.0
    for _ in range(60):
        x = (low + high) / 2
        tilted = weights * np.exp(x * pull)
        tilted /= tilted.sum()
        low, high = (x, high) if tilted @ value < target else (low, x)
    return tilted


def _intergenic_chain(rng: Generator, gc: float) -> Floats:
    """Order-2 Markov chain [16, 4] with a GC content of about `gc` and runs of A and T, as between genes."""
    base = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    chain = base * rng.gamma(25.0, 1 / 25.0, (16, 4))
    for base_code in (0, 3):
        chain[5 * base_code, base_code] *= 1.5
    is_gc = np.array([0.0, 1.0, 1.0, 0.0])
    return np.stack([_tilted(row, is_gc, is_gc, gc) for row in chain])


# ---- where the genes lie


def _draw_layout(rng: Generator, total: int, composition: Composition) -> list[_Site]:
    """Places of the genes, ascending: operons of same-strand genes, one after the other, as far as they fit."""
    starts, stops = _codons(composition.starts), _codons(composition.stops)
    tandem = [x for x in _overlaps(stops, starts) if x % 3]  # in one frame, the first stop would end both
    convergent = _overlaps(stops, [reverse_complement(stop) for stop in stops])
    sites: list[_Site] = []
    position, strand = 0, "+-"[rng.integers(2)]
    while True:
        turned = bool(sites) and rng.random() < 0.45
        gap = _draw_operon_gap(rng, convergent if turned and strand == "+" else [])
        if turned:
            strand = "-" if strand == "+" else "+"
        for _ in range(rng.geometric(1 / GENES_PER_OPERON)):
            start = position + gap
            end = start + _draw_gene_length(rng)
            if end > total:
                return sites
            sites.append(_Site(start, end, strand))
            position, gap = end, _draw_gap(rng, tandem)


def _codons(probabilities: Floats) -> list[Codes]:
    return list(_CODON_BASES[probabilities > 0])


def _overlaps(left: Sequence[Codes], right: Sequence[Codes]) -> list[int]:
    """Numbers of bases by which two genes can overlap, given what can be the last codon of the left and the first codon
    of the right one, both as on the forward strand: short overlaps make these two share bases.
    """

    def fits(a: Codes, b: Codes, overlap: int) -> bool:
        shift = overlap - 3
        return all(b[i] == a[i - shift] for i in range(max(shift, 0), min(3, overlap)))

    return [x for x in range(1, MAX_OVERLAP + 1) if any(fits(a, b, x) for a in left for b in right)]


def _draw_gene_length(rng: Generator) -> int:
    mu = log(MEAN_GENE) - GENE_SPREAD**2 / 2
    return int(np.clip(rng.lognormal(mu, GENE_SPREAD), MIN_GENE, MAX_GENE)) // 3 * 3


def _draw_operon_gap(rng: Generator, overlaps: Sequence[int]) -> int:
    """Bases between two operons; where overlaps are possible (convergent ones) they happen, mostly the shortest."""
    if overlaps and rng.random() < 0.1:
        return -(overlaps[0] if rng.random() < 0.4 else int(rng.choice(overlaps)))
    return 30 + int(rng.gamma(1.3, 150.0))


def _draw_gap(rng: Generator, overlaps: Sequence[int]) -> int:
    """Bases between two genes of an operon; often they overlap by 4 (ATGA) or 1 (TAATG), rarely by more."""
    kind = rng.random()
    if kind < 0.22 and 4 in overlaps:
        return -4
    if kind < 0.30 and 1 in overlaps:
        return -1
    if kind < 0.34:
        return -int(rng.choice([x for x in overlaps if x > 4]))
    if kind < 0.80:
        return int(rng.integers(0, 31))
    return 30 + int(rng.gamma(1.5, 30.0))


# ---- the bases


def _draw_intergenic(rng: Generator, chain: Floats, total: int) -> Codes:
    """[total] bases of the Markov chain, drawn as many parallel pieces for speed."""
    steps = 1000
    pieces = ceil(total / steps)
    thresholds = chain.cumsum(1)[:, :3]
    context = rng.integers(16, size=pieces)
    out = np.empty((pieces, steps), np.uint8)
    for step, draw in enumerate(rng.random((steps, pieces))):
        out[:, step] = (draw[:, None] > thresholds[context]).sum(1)
        context = context % 4 * 4 + out[:, step]
    return out.ravel()[:total]


def _draw_codons(rng: Generator, probabilities: Floats, number: int) -> NDArray[np.intp]:
    return rng.choice(64, size=number, p=probabilities)


def _draw_reading(rng: Generator, site: _Site, low: int, high: int, composition: Composition, kind: int) -> Codes:
    """Forward-strand bases of a gene's codons in [low, high), its first and last codon being what they must be."""
    codons = _draw_codons(rng, composition.codons[kind], (high - low) // 3)
    left_end, right_end = low == site.start, high == site.end
    first, last = (left_end, right_end) if site.strand == "+" else (right_end, left_end)
    if first:
        codons[0] = _draw_codons(rng, composition.starts, 1)[0]
    if last:
        codons[-1] = _draw_codons(rng, composition.stops, 1)[0]
    bases = _CODON_BASES[codons].ravel()
    return bases if site.strand == "+" else reverse_complement(bases)


def _is_readable(codes: Codes, site: _Site, low: int, high: int, code: GeneticCode) -> bool:
    """Whether the codons of a gene that [low, high) touches are what they must be: start, inner codons, stop."""
    low = max(site.start, low - (low - site.start) % 3)
    high = min(site.end, high + (site.start - high) % 3)
    if low >= high:
        return True
    bases = codes[low:high] if site.strand == "+" else reverse_complement(codes[low:high])
    codons = kmer_indices(bases, 3)[::3]
    left_end, right_end = low == site.start, high == site.end
    first, last = (left_end, right_end) if site.strand == "+" else (right_end, left_end)
    is_stop = code.is_stop[codons]
    return not is_stop[:-1].any() and is_stop[-1] == last and bool(code.is_start[codons[0]] or not first)


def _write_genes(rng: Generator, codes: Codes, sites: list[_Site], composition: Composition) -> None:
    """Write all genes into `codes`; where two overlap, draw the shared part until both can be read."""
    kinds = rng.choice(len(composition.classes), size=len(sites), p=composition.classes)
    for site, kind in zip(sites, kinds, strict=True):
        codes[site.start : site.end] = _draw_reading(rng, site, site.start, site.end, composition, kind)
    for i in range(1, len(sites)):
        if sites[i].start < sites[i - 1].end:
            _write_overlap(rng, codes, sites[i - 1], sites[i], composition, kinds[i - 1])


def _write_overlap(
    rng: Generator, codes: Codes, left: _Site, right: _Site, composition: Composition, kind: int
) -> None:
    """Rewrite the window of whole codons of either gene around an overlap, by rejection sampling."""
    low = right.start - (right.start - left.start) % 3
    high = left.end + (right.start - left.end) % 3
    while True:
        reading = _draw_reading(rng, right, right.start, high, composition, kind)
        codes[right.start : high] = reading
        codes[low : left.end] = _draw_reading(rng, left, low, left.end, composition, kind)
        codes[right.start : right.start + 3] = reading[:3]
        if all(_is_readable(codes, site, low, high, composition.code) for site in (left, right)):
            return


def _write_binding_sites(rng: Generator, codes: Codes, sites: list[_Site], code: GeneticCode) -> None:
    """Write Shine-Dalgarno motifs upstream of most starts, also into the gene before if that stays readable."""
    for i, site in enumerate(sites):
        if rng.random() > _SITE_SHARE:
            continue
        size = int(rng.integers(4, 7))
        offset = int(rng.integers(len(_SHINE_DALGARNO) - size + 1))
        motif = _SHINE_DALGARNO[offset : offset + size].copy()
        mismatch = rng.random(size) < _SITE_MISMATCH
        motif[mismatch] = rng.integers(4, size=mismatch.sum())
        neighbours = sites[max(i - 1, 0) : i] + sites[i + 1 : i + 2]
        for spacer in rng.choice(_SPACERS, size=3, p=_SPACER_SHARES):
            low = int(site.start - spacer - size if site.strand == "+" else site.end + spacer)
            high = low + size
            if low < 0 or high > len(codes):
                continue
            before = codes[low:high].copy()
            codes[low:high] = motif if site.strand == "+" else reverse_complement(motif)
            if all(_is_readable(codes, other, low, high, code) for other in neighbours):
                break
            codes[low:high] = before
