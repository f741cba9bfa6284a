"""`lstmhmm evaluate`: how well a prediction agrees with a reference annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from ..agreement import Mode
    from ..evaluation import Evaluation


@click.command("evaluate")
@click.argument("reference")
@click.argument("prediction")
@click.option(
    "--mode",
    type=click.Choice(["prok", "euk"]),
    default="prok",
    show_default=True,
    help="prok: stop, exact, start|stop, base; euk: base, exon, intron, transcript, gene.",
)
@click.option(
    "--genome",
    metavar="FASTA",
    help="The annotated sequences: to tell whether CDSs include the stop codon, and partial genes at unknown bases.",
)
@click.option(
    "--min-length",
    type=click.IntRange(min=0),
    default=0,
    metavar="NT",
    help="Set genes with fewer coding bases aside (stop codon included).",
)
@click.option("--keep-partial", is_flag=True, help="Judge partial genes like any other.")
@click.option("--keep-pseudo", is_flag=True, help="Judge pseudogenes like any other.")
@click.option(
    "--strict", is_flag=True, help="Predictions on reference genes that are set aside are wrong, not neutral."
)
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    help="Write the result as JSON too; '-' is standard output, instead of the table.",
)
def evaluate(
    reference: str,
    prediction: str,
    mode: Mode,
    genome: str | None,
    min_length: int,
    keep_partial: bool,
    keep_pseudo: bool,
    strict: bool,
    json_path: str | None,
) -> None:
    """Compare the protein-coding genes of PREDICTION with those of REFERENCE.

    Either is GFF3, GTF or GenBank, plain or compressed, or '-' for standard input. Pseudogenes, partial genes and those
    that the reference itself doubts are set aside, together with the predictions that lie on them.
    """
    import json

    from ..evaluation import evaluate_files
    from ..io.output import ensure_distinct, open_output

    inputs = [path for path in (reference, prediction, genome) if path is not None]
    ensure_distinct(inputs, [json_path])
    result = evaluate_files(
        reference,
        prediction,
        mode,
        genome=genome,
        min_length=min_length,
        keep_partial=keep_partial,
        keep_pseudo=keep_pseudo,
        strict=strict,
    )
    for remark in result.remarks:
        click.echo(f"note: {remark}", err=True)
    if json_path is not None:
        with open_output(json_path) as handle:
            json.dump(result.to_dict(), handle, indent=2)
            handle.write("\n")
    if json_path != "-":
        with open_output(None) as handle:
            _write_table(handle, result)


def _write_table(handle: TextIO, result: Evaluation) -> None:
    titles = ("reference", "predicted", "matched", "sens %", "prec %", "F1 %")
    handle.write(f"{'level':<12}" + "".join(f"{title:>11}" for title in titles) + "\n")
    for level, score in result.scores.items():
        counts = (score.reference, score.predicted, score.matched_reference)
        shares = (score.sensitivity, score.precision, score.f1)
        columns = [*(f"{x:>11}" for x in counts), *(f"{100 * x:>11.2f}" for x in shares)]
        handle.write(f"{level:<12}" + "".join(columns) + "\n")
    for side, reasons in (("reference", result.reference_set_aside), ("prediction", result.prediction_set_aside)):
        if reasons:
            listed = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
            handle.write(f"set aside in the {side}: {listed}\n")
