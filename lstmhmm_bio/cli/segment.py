"""`lstmhmm segment`: every base in one region."""

from __future__ import annotations

import click

from .options import GroupedCommand, calibration_options, input_options, model_options, option, running_options
from .session import Progress, calibration_for, input_of, provenance, start_annotator


@click.command(cls=GroupedCommand)
@click.argument("genome")
@input_options
@option("Output", "-o", "--output", metavar="FILE", help="BED; '-' or nothing is standard output.")
@model_options
@calibration_options
@running_options
def segment(
    genome: str,
    region: str | None,
    reference: str | None,
    output: str | None,
    model: str,
    genetic_code: int,
    calibration: str | None,
    meta: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Partition every record of GENOME into intergenic, coding and overlapping regions.

    Writes BED9: the name says what lies on which strand, the score is 1000 times the mean posterior, the colour
    follows the label. Inputs are those of `annotate`.
    """
    from ..io import OutputSet, ensure_distinct, read_records
    from ..io.regions_bed import RegionsWriter

    ensure_distinct([p for p in (genome, calibration, reference) if p], [output])
    with input_of(genome) as path, OutputSet() as outputs:
        handle = outputs.open(output)
        annotator = start_annotator(model, genetic_code, threads=threads, device=device, no_cache=no_cache)
        tables = calibration_for(
            annotator, path, region=region, reference=reference, file=calibration, meta=meta, quiet=quiet
        )
        from ..segment import regions

        writer = RegionsWriter(handle, provenance=provenance(annotator))
        with Progress("segment", quiet=quiet) as progress:
            records = progress.over(read_records(path, region=region, reference=reference))
            for decoded in annotator.decode(records, tables):
                writer.write(decoded.record.id, regions(decoded))
