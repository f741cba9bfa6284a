"""`lstmhmm profile build`: from alignments to profiles."""

from __future__ import annotations

import click

from .options import GroupedCommand, option, running_options


@click.command("build", cls=GroupedCommand)
@click.argument("alignment")
@option("Output", "-o", "--output", metavar="FILE", help="HMMER3/f profiles; '-' or nothing is standard output.")
@option("Model", "-n", "--name", metavar="NAME", help="Of the profile; else the alignment's ID, else the file's name.")
@option(
    "Model",
    "--alphabet",
    type=click.Choice(["amino", "dna", "rna"]),
    show_default="guessed",
    help="What the letters are.",
)
@option(
    "Model",
    "--symfrac",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Consensus columns have at least this share of residues.",
)
@option(
    "Model",
    "--fragthresh",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="A sequence with at most this share of residues is a fragment.",
)
@option("Model", "--hand", is_flag=True, help="Consensus columns are those marked in the RF line.")
@option(
    "Model", "--seed", type=click.IntRange(0), default=42, show_default=True, help="Of the calibration's sequences."
)
@running_options
def build(
    alignment: str,
    output: str | None,
    name: str | None,
    alphabet: str | None,
    symfrac: float,
    fragthresh: float,
    hand: bool,
    seed: int,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Build profiles from the alignments in ALIGNMENT (Stockholm, A2M, aligned FASTA), one from each.

    Weights, priors and effective numbers are those of hmmbuild; E-values are calibrated on random sequences.
    """
    from pathlib import Path

    from ..errors import UsageError
    from ..io.output import ensure_distinct, open_output
    from ..profiles.hmmfile import write_profile
    from ..profiles.msa import read_alignments
    from ..profiles.profile import ALPHABETS
    from ..runtime import configure

    ensure_distinct([alignment], [output])
    stem = "profile" if alignment == "-" else Path(alignment.removesuffix(".gz")).stem
    alignments = read_alignments(alignment)
    first = next(alignments)
    configure(threads, device, cache=not no_cache)
    from dataclasses import replace
    from itertools import chain

    from ..profiles.build import build_profile
    from ..profiles.calibrate import calibrate

    with open_output(output) as handle:
        for number, aligned in enumerate(chain([first], alignments), 1):
            if number > 1 and (name or "ID" not in aligned.facts):
                raise UsageError(f"{alignment} holds several alignments; name each by a '#=GF ID' line, not by --name")
            if name:
                aligned = replace(aligned, facts={**aligned.facts, "ID": name})
            profile = build_profile(
                aligned,
                stem,
                alphabet=ALPHABETS[alphabet] if alphabet else None,
                symfrac=symfrac,
                fragthresh=fragthresh,
                hand=hand,
            )
            write_profile(handle, calibrate(profile, seed=seed))
