"""`lstmhmm calibrate`: a genome's own tables, for later runs."""

from __future__ import annotations

import click

from .options import GroupedCommand, input_options, model_options, option, running_options
from .session import Progress, input_of, note


@click.command(cls=GroupedCommand)
@click.argument("genome")
@input_options
@option("Output", "-o", "--output", required=True, metavar="FILE", help="The calibration file.")
@model_options
@running_options
def calibrate(
    genome: str,
    region: str | None,
    reference: str | None,
    output: str,
    model: str,
    genetic_code: int,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Estimate the codon usage and start signals of GENOME from its own genes.

    The file serves `annotate --calibration` and `segment --calibration`: parts of one genome that are annotated
    apart then share one calibration.
    """
    from ..io.output import ensure_distinct, open_output
    from ..sequence import GeneticCode

    ensure_distinct([genome], [output])
    GeneticCode.from_number(genetic_code)
    with input_of(genome) as path:
        from ..runtime import configure

        configure(threads, device, cache=not no_cache)
        from ..annotate import Annotator
        from ..io import read_records
        from ..io.calibration_file import calibration_bytes
        from ..model import load_model

        annotator = Annotator(load_model(model), genetic_code=genetic_code)
        with Progress("calibrate", quiet=quiet) as progress:
            result = annotator.calibrate(progress.over(read_records(path, region=region, reference=reference)))
        with open_output(output) as handle:
            handle.buffer.write(calibration_bytes(result))
    note(
        f"{output}: GC {100 * result.gc:.1f} %, {int(result.counts.coding.sum()):,} codons and "
        f"{int(result.counts.starts):,} starts counted",
        quiet=quiet,
    )
