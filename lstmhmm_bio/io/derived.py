"""What the writers derive from a gene: its name, phase, coding sequence and protein."""

from __future__ import annotations

from ..features import Annotation, Gene, Record
from ..sequence import Codes, GeneticCode, reverse_complement


def gene_ids(annotation: Annotation) -> list[str]:
    """Names of the genes of one record: its id, "_" and the gene's number from 1.

    The same in every output format, and unique over a file as long as the record ids are: the part after the last "_"
    is the number, all before it the record.
    """
    return [f"{annotation.record.id}_{i}" for i in range(1, len(annotation.genes) + 1)]


def phase(gene: Gene) -> int:
    """Bases to skip from the CDS' 5' end to its first whole codon.

    Always 0: a gene whose 5' end is off the record has in `Gene` the coordinates of the whole codons inside it.
    """
    return 0


def coding_sequence(record: Record, gene: Gene) -> Codes:
    """Codes of a gene 5' to 3', stop codon included, shape [gene.length]."""
    codes = record.codes[gene.start : gene.end]
    return codes if gene.strand == "+" else reverse_complement(codes)


def protein(record: Record, gene: Gene) -> str:
    """The gene's protein, without a letter for its stop codon; the first codon of a gene with a start is M."""
    code = GeneticCode.from_number(gene.genetic_code)
    residues = code.translate(coding_sequence(record, gene), starts=gene.has_start)
    return residues[:-1] if gene.has_stop else residues


def comment_line(provenance: str) -> str:
    """The comment that says where a file comes from, one line; "" if nothing is known."""
    return f"# {' '.join(provenance.split())}\n" if provenance else ""
