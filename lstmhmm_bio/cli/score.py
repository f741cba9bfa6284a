"""`lstmhmm score`: how anomalous every part of a genome is."""

from __future__ import annotations

from contextlib import ExitStack

import click

from .options import GroupedCommand, option, running_options
from .session import Progress, input_of, note


@click.command(cls=GroupedCommand)
@click.argument("genome")
@option("Input", "--bam", metavar="FILE", help="Alignments to GENOME (BAM, CRAM, SAM) or bigWig: judge the depth too.")
@option("Input", "--annotation", metavar="FILE", help="Genes of GENOME (GFF3, GTF, GenBank): judge codon usage too.")
@option("Input", "--genome", "reference_genome", metavar="FASTA", help="For reads: the genome they are compared with.")
@option("Input", "--reference", metavar="FASTA", help="Reference of a CRAM.")
@option(
    "Output",
    "-o",
    "--output",
    metavar="FILE",
    help="bedGraph, or bigWig if named .bw or .bigwig; '-' or nothing is standard output.",
)
@option("Output", "--regions", metavar="FILE", help="Also call anomalous regions (BED).")
@option(
    "Output",
    "--max-q",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="Q",
    help="Highest q value of a region.",
)
@option("Output", "--window", default=5000, show_default=True, type=click.IntRange(100), metavar="NT", help="Window.")
@option(
    "Output",
    "--step",
    show_default="the window",
    type=click.IntRange(1),
    metavar="NT",
    help="Bases of a row; it has the score of the window around it.",
)
@option(
    "Model",
    "--model",
    default="bacteria",
    show_default=True,
    metavar="NAME|PATH",
    help="Which compositions are usual at some GC content: a bundled model or the .toml card of your own.",
)
@running_options
def score(
    genome: str,
    bam: str | None,
    annotation: str | None,
    reference_genome: str | None,
    reference: str | None,
    output: str | None,
    regions: str | None,
    max_q: float,
    window: int,
    step: int | None,
    model: str,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Score how anomalous every window of GENOME is.

    The score is in bits per base: log-likelihood of alternatives less that of the genome's own model; higher is more
    anomalous. GENOME is FASTA or GenBank, all its records one genome; or BAM, CRAM or SAM, of which every read is
    scored as a whole, under the model of --genome or of all reads together. One record is in memory at a time, a byte
    for each base.

    \b
    lstmhmm score genome.fa -o scores.bedgraph --regions islands.bed
    """  # noqa: D301  (the escape is Click's: no re-wrapping)
    from .. import __version__
    from ..errors import UsageError
    from ..io import OutputSet, ensure_distinct, read_records
    from ..io.bedgraph import track_writer
    from ..io.sequences import format_of
    from ..runtime import configure

    inputs = [p for p in (genome, bam, annotation, reference_genome, reference) if p]
    ensure_distinct(inputs, [p for p in (output or "-", regions) if p])
    if step and step > window:
        raise UsageError(f"--step {step} is longer than --window {window}: bases between windows would have no score")
    with input_of(genome) as path, OutputSet() as outputs, ExitStack() as tracks:
        reads = format_of(path) == "alignments"
        for name, value in (("--bam", bam), ("--annotation", annotation), ("--regions", regions), ("--step", step)):
            if reads and value:
                raise UsageError(f"{name} is for genomes; {genome} holds reads, each of which is scored as a whole")
        if reference_genome and not reads:
            raise UsageError("--genome is for reads; give the genome itself as the argument to score it")
        handle = outputs.open(output)
        writer = track_writer(output, handle)
        tracks.enter_context(writer)
        calls = outputs.open(regions) if regions else None
        configure(threads, device, cache=not no_cache)
        from ..anomaly import Detector, WindowScores
        from ..depth import read_depth
        from ..frames import GeneFrames
        from ..io.reference import read_transcripts
        from ..model import load_model

        loaded = load_model(model)
        prior = loaded.prior
        frames = GeneFrames(read_transcripts(annotation)) if annotation else None
        depth = read_depth(bam, window, reference=reference) if bam else None
        detector = Detector(prior, window=window, step=step, frames=frames, depth=depth, whole=reads)
        learner = Detector(prior, window=window) if reference_genome else detector
        with Progress("learn", quiet=quiet) as progress:
            own = learner.learn(progress.over(read_records(reference_genome or path, reference=reference)))
        kept: list[WindowScores] = []
        with Progress("score", quiet=quiet) as progress:
            for scores in detector.score(progress.over(read_records(path, reference=reference)), own):
                writer.write(scores.seqid, scores.bits, scores.edges)
                if calls:
                    kept.append(scores)
        if calls:
            from ..io.anomalies_bed import write_anomalies
            from ..outliers import ENOUGH_WINDOWS, anomalies

            found = anomalies(kept, detector.step, max_q)
            write_anomalies(calls, found, f"lstmhmm {__version__} model={loaded.name} version={loaded.version}")
            bases = sum(a.end - a.start for a in found)
            note(f"{len(found):,} anomalous region{'s' * (len(found) != 1)}, {bases:,} bases", quiet=quiet)
            if sum(len(s.bits) for s in kept) < ENOUGH_WINDOWS:
                note(
                    f"warning: fewer than {ENOUGH_WINDOWS} windows say nothing of what is ordinary; no region is called"
                )
