"""The command line: one file per command; the only place that knows Click.

Commands are imported when they are called, so that `--help` answers at once. Exit codes: 0 done, 1 the run failed,
2 the command was called wrongly, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from .. import __version__
from ..errors import LstmHmmError, UsageError

#: command -> one line of help; each lives in the module of its name
COMMANDS = {
    "annotate": "Find protein-coding genes (GFF3, GTF, BED, GenBank, FASTA).",
    "segment": "Partition every sequence into labelled regions (BED).",
    "calibrate": "Estimate a genome's own codon usage and start signals, for --calibration.",
    "train": "Train a model on annotated genomes.",
    "evaluate": "Compare predicted genes with a reference annotation.",
    "simulate": "Draw a genome and its true genes.",
    "models": "List and describe the models.",
}


class LazyGroup(click.Group):
    """Imports a command's module only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f".{cmd_name}", __package__), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="lstmhmm")
def lstmhmm() -> None:
    """Annotate and segment biological sequences with an LSTM-HMM.

    \b
    lstmhmm annotate genome.fa > genes.gff3
    """


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: errors meant for the user are one line on stderr."""
    try:
        code = lstmhmm.main(arguments, prog_name="lstmhmm", standalone_mode=False) or 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("lstmhmm: interrupted", err=True)
        code = 130
    except LstmHmmError as error:
        click.echo(f"lstmhmm: error: {error}", err=True)
        code = 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:
        # the reader of our stdout (head, less) went away: no error of ours, but the work was cut short
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
