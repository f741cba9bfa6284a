"""`lstmhmm train`: fit a model to annotated genomes."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError


@click.command(short_help="Train a model on annotated genomes.")
@click.argument("genomes", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--fasta",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Sequences to learn your own labels on, instead of GENOMES; may be given several times.",
)
@click.option(
    "--labels",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Their labels: BED (names in column 4) or GFF3 (types), one file per --fasta in the same order.",
)
@click.option("--label-types", metavar="A,B,...", help="Labels to learn. [default: all of the files]")
@click.option("--background", default="", metavar="NAME", help="Label of bases without one. [default: left out]")
@click.option("--coding", default="", metavar="NAME", help="Label of genes without introns; teaches codon tables.")
@click.option(
    "--label-grammar",
    type=click.Path(exists=True, dir_okay=False),
    metavar="TOML",
    help="Labels, which may follow which, minimum lengths, colours; instead of the three above.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for checkpoint and model; a checkpoint that lies there is continued.",
)
@click.option("--name", default="custom", show_default=True, help="Name of the model.")
@click.option(
    "--valid",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="SHEET",
    help="Genomes to score on, while training and at its end; never fitted.",
)
@click.option(
    "--grammar",
    type=click.Choice(["bacteria", "eukaryote"]),
    help="What genes look like: without or with introns. [default: that of --from, else bacteria]",
)
@click.option("--from", "start_from", metavar="MODEL", help="Fine-tune this model instead of starting at random.")
@click.option(
    "--freeze-network",
    is_flag=True,
    help="With --from: fit only the start model and the transitions, three times as fast.",
)
@click.option("--steps", default=4000, show_default=True, type=click.IntRange(1), help="Optimiser steps.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(4), help="Windows a step.")
@click.option("--window", default=4608, show_default=True, type=click.IntRange(600), help="Bases a window.")
@click.option("--learning-rate", default=2e-3, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option("--stride", default=6, show_default=True, type=click.IntRange(3), help="Bases per LSTM step.")
@click.option("--hidden", default=96, show_default=True, type=click.IntRange(1), help="LSTM units per direction.")
@click.option("--layers", default=1, show_default=True, type=click.IntRange(1), help="LSTM layers.")
@click.option(
    "--dropout", default=0.0, show_default=True, type=click.FloatRange(0, 1, max_open=True), help="Of LSTM outputs."
)
@click.option(
    "--max-minutes", type=click.FloatRange(0, min_open=True), help="Stop early, with a checkpoint, after this time."
)
@click.option("--seed", default=1, show_default=True, help="Of initial weights and windows.")
@click.option("--threads", default=0, show_default="all cores", type=click.IntRange(0), help="CPU cores.")
@click.option("-q", "--quiet", is_flag=True, help="No progress lines.")
def train(
    genomes: Path | None,
    fasta: tuple[str, ...],
    labels: tuple[str, ...],
    label_types: str | None,
    background: str,
    coding: str,
    label_grammar: str | None,
    output: Path,
    name: str,
    valid: Path | None,
    grammar: str | None,
    start_from: str | None,
    freeze_network: bool,
    steps: int,
    batch: int,
    window: int,
    learning_rate: float,
    stride: int,
    hidden: int,
    layers: int,
    dropout: float,
    max_minutes: float | None,
    seed: int,
    threads: int,
    quiet: bool,
) -> None:
    """Train a model on annotated genomes, or on sequences with labels of your own.

    GENOMES is a tab-separated table with a header: columns `fasta` and `annotation` (GFF3, GTF or GenBank; paths
    relative to the sheet), and optionally `name`, `clade` (genomes of one clade share a weight), `genetic_code` and
    `complete` (no: the annotation lacks genes; what --from finds beside it is then taken as neither coding nor not).
    With --fasta and --labels in its place the model puts every base into one of your labels (`segment --model`), and
    --from starts from the encoder of another model.
    """
    if (genomes is None) == (not fasta) or len(fasta) != len(labels):
        raise UsageError("give either a sheet of genomes, or --fasta and --labels the same number of times")
    if label_grammar and (label_types or background or coding):
        raise UsageError("--label-grammar says all that --label-types, --background and --coding say; give it alone")
    if not fasta and (label_grammar or label_types or background or coding):
        raise UsageError("--label-grammar, --label-types, --background and --coding belong to --fasta and --labels")
    if freeze_network and not start_from:
        raise UsageError("--freeze-network needs --from: a random network is not worth keeping")
    from ..runtime import available_cores, configure

    configure(threads)
    from ..training.sheet import read_sheet
    from ..training.train import fit

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    if genomes is None:
        if freeze_network or valid or grammar:
            raise UsageError("--freeze-network, --valid and --grammar are for genes, not for labels of your own")
        from ..io.labels import read_label_grammar
        from ..training.labels import fit_labels

        card = fit_labels(
            list(zip(fasta, labels, strict=True)),
            read_label_grammar(label_grammar) if label_grammar else None,
            output,
            types=label_types.split(",") if label_types else (),
            background=background,
            coding=coding,
            name=name,
            start_from=start_from,
            network={"stride": stride, "hidden": hidden, "layers": layers},
            training={"steps": steps, "learning_rate": learning_rate, "dropout": dropout, "seed": seed},
            batch=batch,
            window=window,
            max_minutes=max_minutes,
            workers=threads or available_cores(),
            say=say,
        )
        say(f"wrote {card}")
        return
    card = fit(
        read_sheet(genomes),
        read_sheet(valid) if valid else [],
        output,
        name=name,
        kind=grammar or "bacteria",
        start_from=start_from,
        network={"stride": stride, "hidden": hidden, "layers": layers},
        training={
            "steps": steps,
            "learning_rate": learning_rate,
            "framewise_steps": 0 if start_from else steps // 10,
            "dropout": dropout,
            "freeze": freeze_network,
            "seed": seed,
        },
        batch=batch,
        window=window,
        max_minutes=max_minutes,
        workers=threads or available_cores(),
        say=say,
    )
    say(f"wrote {card}")
