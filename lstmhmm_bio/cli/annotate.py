"""`lstmhmm annotate`: sequences in, genes out."""

from __future__ import annotations

import click

from .options import GroupedCommand, calibration_options, input_options, model_options, option, running_options
from .session import Progress, calibration_for, input_of, note, provenance, start_annotator


@click.command(cls=GroupedCommand)
@click.argument("genome")
@input_options
@option("Output", "-o", "--output", metavar="FILE", help="Where to write; '-' or nothing is standard output.")
@option(
    "Output",
    "-f",
    "--format",
    "file_format",
    default="gff3",
    show_default=True,
    type=click.Choice(["gff3", "gtf", "bed", "genbank"]),
)
@option("Output", "--proteins", metavar="FILE", help="Also write the proteins (FASTA).")
@option("Output", "--cds", metavar="FILE", help="Also write the coding sequences (FASTA).")
@option(
    "Output",
    "--min-length",
    default=90,
    show_default=True,
    type=click.IntRange(6),
    metavar="NT",
    help="Shortest gene; at a record's end two thirds of it.",
)
@option(
    "Output",
    "--min-score",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Lowest posterior probability of a gene.",
)
@model_options
@calibration_options
@running_options
def annotate(
    genome: str,
    region: str | None,
    reference: str | None,
    output: str | None,
    file_format: str,
    proteins: str | None,
    cds: str | None,
    min_length: int,
    min_score: float,
    model: str,
    genetic_code: int,
    calibration: str | None,
    meta: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Find the protein-coding genes of GENOME.

    GENOME is FASTA or GenBank, plain or compressed, or '-' for standard input; or BAM, CRAM or SAM, whose reads are
    annotated one by one. All its records are taken as one genome: a first pass learns its codon usage and start
    signals (from 100 kb on), a second finds the genes. Use --meta where that is not so.

    \b
    lstmhmm annotate genome.fa.gz -o genes.gff3 --proteins proteins.faa
    """  # noqa: D301  (the escape is Click's: no re-wrapping)
    from ..io import WRITERS, OutputSet, ensure_distinct, read_records, write_cds_fasta, write_protein_fasta
    from ..quality import Summary

    ensure_distinct(
        [p for p in (genome, calibration, reference) if p], [p for p in (output or "-", proteins, cds) if p]
    )
    summary = Summary()
    with input_of(genome) as path, OutputSet() as outputs:
        # opened first: who cannot write need not compute
        handle = outputs.open(output)
        fastas = [
            (outputs.open(p), write) for p, write in ((proteins, write_protein_fasta), (cds, write_cds_fasta)) if p
        ]
        annotator = start_annotator(
            model,
            genetic_code,
            threads=threads,
            device=device,
            no_cache=no_cache,
            min_length=min_length,
            min_score=min_score,
        )
        tables = calibration_for(
            annotator, path, region=region, reference=reference, file=calibration, meta=meta, quiet=quiet
        )
        writer = WRITERS[file_format](handle, provenance=provenance(annotator))
        with Progress("annotate", quiet=quiet) as progress:
            records = progress.over(read_records(path, region=region, reference=reference))
            for annotation in annotator.annotate(records, tables):
                writer.write(annotation)
                for fasta, write in fastas:
                    write(fasta, annotation)
                summary.add(annotation)
    note(summary.line(), quiet=quiet)
    for warning in summary.warnings():
        note(f"warning: {warning}")
