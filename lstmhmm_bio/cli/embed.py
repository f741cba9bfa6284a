"""`lstmhmm embed`: features of the LSTM, for models of others."""

from __future__ import annotations

import click

from .options import GroupedCommand, calibration_options, input_options, model_options, option, running_options
from .session import Progress, Source, calibration_for, input_of, note, start_annotator


@click.command(cls=GroupedCommand)
@click.argument("genome")
@input_options
@option("Output", "-o", "--output", required=True, metavar="FILE", help="Named .npz (NumPy), .parquet or .zarr.")
@option(
    "Output",
    "--per",
    default="window",
    show_default=True,
    type=click.Choice(["base", "window", "record"]),
    help="What a row stands for; windows and records have the mean of their bases.",
)
@option("Output", "--window", default=1000, show_default=True, type=click.IntRange(1), metavar="NT", help="Window.")
@model_options
@calibration_options
@running_options
def embed(
    genome: str,
    region: str | None,
    reference: str | None,
    output: str,
    per: str,
    window: int,
    model: str,
    genetic_code: int | None,
    calibration: str | None,
    meta: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Write what the LSTM knows of every base, window or record of GENOME.

    Rows have the record, start, end (0-based, half-open) and the hidden states of both readings, along the forward and
    along the reverse strand. Inputs are those of `annotate`; one record is in memory at a time, a byte for each base,
    and rows are written as they come.

    \b
    lstmhmm embed genome.fa --per window --window 1000 -o features.npz
    """  # noqa: D301  (the escape is Click's: no re-wrapping)
    from ..io import OutputSet, ensure_distinct
    from ..io.embeddings import embeddings_writer, open_embeddings

    ensure_distinct([p for p in (genome, calibration, reference) if p], [output])
    with input_of(genome) as path, OutputSet() as outputs:
        target = open_embeddings(output, outputs)
        source = Source(path, region, reference)
        annotator = start_annotator(
            model, source, genetic_code, threads=threads, device=device, no_cache=no_cache, quiet=quiet
        )
        from ..embed import Embedder

        writer = embeddings_writer(output, target)
        annotator, tables = calibration_for(
            annotator,
            source,
            file=calibration,
            meta=meta,
            choose_code=genetic_code is None,
            quiet=quiet,
        )
        embedder = Embedder(annotator.model, genetic_code=annotator.code.number)
        rows = 0
        with Progress("embed", quiet=quiet) as progress:
            for chunk in embedder.embed(progress.over(source.records()), tables, per=per, window=window):  # type: ignore[arg-type]
                writer.write(chunk)
                rows += len(chunk.starts)
        writer.close()
    note(f"{output}: {rows:,} rows of {embedder.width} features", quiet=quiet)
