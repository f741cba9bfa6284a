"""`lstmhmm plot`: a picture of a region."""

from __future__ import annotations

import click

from .options import GroupedCommand, option
from .session import input_of


@click.command(cls=GroupedCommand)
@click.argument("genome")
@option("Input", "--region", required=True, metavar="NAME[:START-END]", help="What to draw (1-based, inclusive).")
@option(
    "Tracks",
    "--annotation",
    multiple=True,
    metavar="FILE",
    help="Genes or segments: GFF3, GTF, GenBank or BED; repeat for several.",
)
@option("Tracks", "--scores", multiple=True, metavar="FILE", help="Numbers: bedGraph or bigWig; repeat for several.")
@option("Tracks", "--bam", multiple=True, metavar="FILE", help="Read depth: BAM, CRAM or SAM; repeat for several.")
@option("Input", "--reference", metavar="FASTA", help="Reference of a CRAM.")
@option("Output", "-o", "--output", required=True, metavar="FILE", help="Named .svg, .png or .pdf.")
def plot(
    genome: str,
    region: str,
    annotation: tuple[str, ...],
    scores: tuple[str, ...],
    bam: tuple[str, ...],
    reference: str | None,
    output: str,
) -> None:
    """Draw a region of GENOME: genes, segments, scores, read depth and GC content over one axis.

    \b
    lstmhmm plot genome.fa --region chr:1-20000 --annotation genes.gff3 --scores scores.bedgraph -o region.svg
    """  # noqa: D301  (the escape is Click's: no re-wrapping)
    from pathlib import Path

    from ..errors import UsageError
    from ..io import OutputSet, ensure_distinct, read_records
    from ..io.regions import no_such_record, span_in
    from ..pictures import FORMATS, Track, picture, read_coverage, read_features, read_values, window_gc

    ensure_distinct([p for p in (genome, *annotation, *scores, *bam, reference) if p], [output])
    file_format = Path(output).suffix.lower().removeprefix(".")
    if file_format not in FORMATS:
        raise UsageError(f"{output}: pictures are named {', '.join('.' + f for f in FORMATS)}")
    with input_of(genome) as path, OutputSet() as outputs:
        handle = outputs.open(output)
        for record in read_records(path):
            span = span_in(region, record.id, len(record))
            if span:
                break
        else:
            raise no_such_record(region, genome)
        place = (record.id, *span)
        tracks: list[Track] = [read_features(p, *place) for p in annotation]
        tracks += [read_values(p, *place) for p in scores]
        tracks += [read_coverage(p, *place, reference=reference) for p in bam]
        tracks.append(window_gc(record, *span))
        handle.buffer.write(picture(tracks, *place, file_format))
