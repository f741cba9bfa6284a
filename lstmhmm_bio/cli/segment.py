"""`lstmhmm segment`: every base in one region."""

from __future__ import annotations

import click

from .options import GroupedCommand, calibration_options, input_options, model_options, option, running_options
from .session import Progress, calibration_for, input_of


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
    from ..io.output import ensure_distinct, open_output
    from ..model import read_card
    from ..sequence import GeneticCode

    ensure_distinct([p for p in (genome, calibration, reference) if p], [output])
    card = read_card(model)
    GeneticCode.from_number(genetic_code)
    with input_of(genome) as path:
        from ..runtime import configure

        configure(threads, device, cache=not no_cache)
        from .. import __version__
        from ..annotate import Annotator
        from ..io import read_records
        from ..io.regions_bed import RegionsWriter
        from ..model import load_model
        from ..segment import regions

        annotator = Annotator(load_model(model), genetic_code=genetic_code)
        tables = calibration_for(
            annotator, path, region=region, reference=reference, file=calibration, meta=meta, quiet=quiet
        )
        provenance = f"lstmhmm {__version__} model={card['name']} version={card['version']}"
        with open_output(output) as handle, Progress("segment", quiet=quiet) as progress:
            writer = RegionsWriter(handle, provenance=provenance)
            for decoded in annotator.decode(
                progress.over(read_records(path, region=region, reference=reference)), tables
            ):
                writer.write(decoded.record.id, regions(decoded))
