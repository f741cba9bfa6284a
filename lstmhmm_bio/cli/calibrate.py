"""`lstmhmm calibrate`: a genome's own tables, for later runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import GroupedCommand, input_options, meta_option, model_options, option, running_options
from .session import Source, first_pass, first_pass_of_groups, input_of, note, start_annotator

if TYPE_CHECKING:
    from ..calibration import Calibration
    from ..metagenome import GroupedCalibration


@click.command(cls=GroupedCommand)
@click.argument("genome")
@input_options
@option("Output", "-o", "--output", required=True, metavar="FILE", help="The calibration file.")
@model_options
@meta_option
@running_options
def calibrate(
    genome: str,
    region: str | None,
    reference: str | None,
    output: str,
    model: str,
    genetic_code: int | None,
    meta: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Estimate the codon usage and start signals of GENOME, or of a metagenome, from its own genes.

    The file serves `annotate`, `segment` and `embed --calibration`: parts of one genome that are annotated apart then
    share one calibration.
    """
    from ..io import OutputSet, ensure_distinct
    from ..io.calibration_file import calibration_bytes

    ensure_distinct([p for p in (genome, reference) if p], [output])
    with input_of(genome) as path, OutputSet() as outputs:
        handle = outputs.open(output)
        source = Source(path, region, reference)
        annotator = start_annotator(
            model, source, genetic_code, threads=threads, device=device, no_cache=no_cache, quiet=quiet
        )
        result: Calibration | GroupedCalibration
        if meta:
            groups = first_pass_of_groups(annotator, source, quiet=quiet)
            result, what = groups, f"{len(groups.calibrations)} groups of records"
        else:
            _, genome_wide = first_pass(annotator, source, choose_code=genetic_code is None, quiet=quiet)
            result, what = genome_wide, f"GC {100 * genome_wide.gc:.1f} %"
        handle.buffer.write(calibration_bytes(result))
    codons, starts = int(result.counts.coding.sum()), int(result.counts.starts)
    note(f"{output}: {what}, {codons:,} codons and {starts:,} starts counted", quiet=quiet)
    if not codons:
        from ..annotate import ENOUGH_TO_CALIBRATE

        note(
            f"warning: {genome} is too short (under {ENOUGH_TO_CALIBRATE:,} known bases) or has no gene sure enough to "
            f"learn from; {output} holds GC content alone"
        )
