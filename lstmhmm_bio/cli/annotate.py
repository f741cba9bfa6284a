"""`lstmhmm annotate`: sequences in, genes out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ..errors import UsageError
from .options import GroupedCommand, Shard, calibration_options, input_options, model_options, option, running_options
from .session import (
    Progress,
    Source,
    calibration_for,
    domain_search,
    input_of,
    introns_of,
    journal_of,
    journal_path,
    note,
    provenance,
    records_of,
    start_annotator,
    untranslated_of,
)

if TYPE_CHECKING:
    from ..features import Annotation, Record


@click.command(cls=GroupedCommand)
@click.argument("genome")
@input_options
@option(
    "Input",
    "--circular",
    is_flag=True,
    help="Every record is a circle: genes may lie over its origin. Records that say so themselves are taken so anyway.",
)
@option(
    "Input",
    "--evidence",
    multiple=True,
    metavar="FILE",
    help="Spliced RNA-seq alignments of this genome (BAM, CRAM, SAM) or GFF with intron rows; may be given again. For "
    "models with introns.",
)
@option(
    "Input",
    "--profiles",
    metavar="FILE",
    help="Protein profiles (HMMER3): search the proteins for their domains, for GFF3 and GenBank.",
)
@option(
    "Input",
    "-E",
    "--profile-evalue",
    type=click.FloatRange(min=0, min_open=True),
    show_default="gathering scores; 1e-5 without",
    metavar="X",
    help="Largest E-value of a domain, instead of the profiles' gathering scores.",
)
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
@option("Output", "--coding", metavar="FILE", help="Also write the probability that each base is coding (bigWig).")
@option(
    "Output",
    "--utr",
    is_flag=True,
    help="Also find untranslated regions, by the read depth of --evidence's alignments.",
)
@option("Output", "--report", metavar="FILE", help="Also write a page of figures on the run (HTML).")
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
@option(
    "Output",
    "--alternative-starts",
    is_flag=True,
    help="Name the other likely start codons of each gene, as coordinate:probability, in GFF3.",
)
@model_options
@option(
    "Model",
    "--at-ac-introns/--no-at-ac-introns",
    default=None,
    show_default="as the model was trained",
    help="Look for the rare introns from ATATCCTT to AC, too. For models with introns.",
)
@calibration_options
@running_options
@option(
    "Running",
    "--shard",
    type=Shard(),
    metavar="I/N",
    help="Only the I-th of N parts of the records; `lstmhmm merge` joins the outputs of all.",
)
@option(
    "Running",
    "--resume",
    is_flag=True,
    help="Keep what is done in FILE.resume beside the output, and go on from there if a run was killed.",
)
@click.pass_context
def annotate(
    context: click.Context,
    genome: str,
    region: str | None,
    reference: str | None,
    circular: bool,
    evidence: tuple[str, ...],
    at_ac_introns: bool | None,
    profiles: str | None,
    profile_evalue: float | None,
    output: str | None,
    file_format: str,
    proteins: str | None,
    cds: str | None,
    coding: str | None,
    utr: bool,
    report: str | None,
    min_length: int,
    min_score: float,
    alternative_starts: bool,
    model: str,
    genetic_code: int | None,
    calibration: str | None,
    meta: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
    shard: tuple[int, int] | None,
    resume: bool,
) -> None:
    """Find the protein-coding genes of GENOME.

    GENOME is FASTA or GenBank, plain or compressed, or '-' for standard input; or BAM, CRAM or SAM, whose reads are
    annotated one by one. All its records are taken as one genome: a first pass learns its codon usage and start
    signals (from 100 kb on), a second finds the genes. With --meta, records of like composition are taken together
    instead.

    \b
    lstmhmm annotate genome.fa.gz -o genes.gff3 --proteins proteins.faa
    """  # noqa: D301  (the escape is Click's: no re-wrapping)
    from ..io import WRITERS, BigwigWriter, OutputSet, ensure_distinct, write_cds_fasta, write_protein_fasta
    from ..io.merge import shard_mark
    from ..quality import Summary
    from ..report import Report

    ensure_distinct(
        [p for p in (genome, calibration, reference, profiles, *evidence) if p],
        [p for p in (output or "-", proteins, cds, coding, report, journal_path(output) if resume else None) if p],
    )
    if coding and resume:
        raise UsageError("--coding cannot be resumed: the journal keeps genes alone; give --coding or --resume")
    if utr and not evidence:
        raise UsageError("--utr needs RNA-seq alignments; give them with --evidence")
    summary, figures = Summary(), Report()
    with (
        domain_search(profiles, profile_evalue, file_format) as search,
        input_of(genome) as path,
        journal_of(context, path) if resume else nullcontext() as journal,
        OutputSet() as outputs,
        BigwigWriter(outputs.open(coding)) if coding else nullcontext() as track,
    ):
        # opened first: who cannot write need not compute
        handle = outputs.open(output)
        fastas = [
            (outputs.open(p), write) for p, write in ((proteins, write_protein_fasta), (cds, write_cds_fasta)) if p
        ]
        page = outputs.open(report) if report else None
        source = Source(path, region, reference)
        annotator = start_annotator(
            model,
            source,
            genetic_code,
            threads=threads,
            device=device,
            no_cache=no_cache,
            quiet=quiet,
            min_length=min_length,
            min_score=min_score,
            alternative_starts=alternative_starts,
            coding=coding is not None,
            at_ac_introns=at_ac_introns,
        )
        annotator, tables = calibration_for(
            annotator,
            source,
            file=calibration,
            meta=meta,
            choose_code=genetic_code is None,
            quiet=quiet,
        )
        introns = introns_of(evidence, source) if evidence else None
        regions = untranslated_of(evidence, introns, source, annotator) if utr and introns else None
        mark = shard_mark(*shard) if shard and file_format != "genbank" else ""  # no place for comments there
        writer = WRITERS[file_format](handle, provenance=provenance(annotator) + mark)
        with Progress("annotate", quiet=quiet) as progress:
            records = progress.over(records_of(source, shard))
            if circular:
                records = (replace(record, circular=True) for record in records)

            def find(records: Iterable[Record]) -> Iterator[Annotation]:
                found = annotator.annotate(records, tables, introns)
                found = regions.annotate(found) if regions else found
                return search.annotate(found) if search else found

            for annotation in journal.resume(records, find) if journal else find(records):
                writer.write(annotation)
                for fasta, write in fastas:
                    write(fasta, annotation)
                if track and annotation.coding is not None:
                    track.write(annotation.record.id, annotation.coding)
                summary.add(annotation)
                if page:
                    figures.add(annotation)
        if page:
            page.write(figures.html(summary, run=_run(context, genome, provenance(annotator)), calibration=tables))
    note(summary.line(), quiet=quiet)
    if regions:
        note(f"untranslated regions of {summary.with_untranslated:,} of {summary.genes:,} genes", quiet=quiet)
    if search:
        note(f"domains in {summary.with_domains:,} of {summary.genes:,} proteins", quiet=quiet)
    for warning in summary.warnings():
        note(f"warning: {warning}")


def _run(context: click.Context, genome: str, program: str) -> dict[str, str]:
    """What was run, for the report."""
    words = [*context.command_path.split(), genome]
    for parameter in context.command.params:
        value = context.params[parameter.name or ""]
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if isinstance(parameter, click.Option) and given:
            words += [parameter.opts[-1], *([] if parameter.is_flag else [str(value)])]
    return {"input": Path(genome).name, "command": shlex.join(words), "program": program}
