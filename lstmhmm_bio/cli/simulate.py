"""`lstmhmm simulate`: genomes drawn from a grammar, with their true annotation."""

from __future__ import annotations

import click


@click.command("simulate")
@click.option("-o", "--output", required=True, metavar="FILE", help="The genome (FASTA); compressed if it ends in .gz.")
@click.option("--annotation", required=True, metavar="FILE", help="Its genes (GFF3); compressed if it ends in .gz.")
@click.option("--length", type=click.IntRange(min=1), default=100_000, show_default=True, help="Bases per record.")
@click.option("--records", type=click.IntRange(min=1), default=1, show_default=True, help="Number of records.")
@click.option("--gc", type=float, default=0.5, show_default=True, help="Share of G and C.")
@click.option("-g", "--genetic-code", type=int, default=11, show_default=True, help="NCBI translation table.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same genome.")
@click.option("--contigs", is_flag=True, help="Let genes run off the records' ends, as in a draft assembly.")
def simulate(
    output: str,
    annotation: str,
    length: int,
    records: int,
    gc: float,
    genetic_code: int,
    seed: int,
    contigs: bool,
) -> None:
    """Draw a bacterial genome and write it with its true genes.

    All records share codon usage, start signals and composition.
    """
    from .. import __version__
    from ..features import Annotation
    from ..io.gff3 import Gff3Writer
    from ..io.output import OutputSet, ensure_distinct
    from ..sequence import decode
    from ..simulate import simulate_genome

    ensure_distinct([], [output, annotation])
    with OutputSet() as outputs:
        fasta = outputs.open(output)
        genes = Gff3Writer(outputs.open(annotation), f"lstmhmm {__version__}; simulate seed {seed}")
        for number in range(records):
            record, true_genes = simulate_genome(
                length, gc=gc, seed=seed, genetic_code=genetic_code, record=number, contig=contigs
            )
            sequence = decode(record.codes)
            fasta.write(f">{record.id}\n")
            fasta.writelines(sequence[i : i + 60] + "\n" for i in range(0, len(sequence), 60))
            genes.write(Annotation(record, true_genes))
