"""The command line: one file per command; the only place that knows Click.

Commands are imported when they are called, so that `--help` answers at once. Exit codes: 0 done, 1 the run failed,
2 the command was called wrongly, 128 + n stopped by signal n (130 Ctrl-C, 143 SIGTERM, 141 nobody reads our output).
Whatever the reason, an output file is whole or not there.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from .. import __version__
from ..errors import LstmHmmError, UsageError, printable

# read when NumPy is imported: its linear algebra is small here, and threads of it would only be started and spin
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

#: command -> one line of help; each lives in the module of its name
COMMANDS = {
    "annotate": "Find protein-coding genes (GFF3, GTF, BED, GenBank, FASTA).",
    "segment": "Partition every sequence into labelled regions (BED).",
    "score": "Score how anomalous every part of a genome is (bedGraph, bigWig, BED).",
    "plot": "Draw a region: genes, segments, scores, read depth (SVG, PNG, PDF).",
    "embed": "Write the LSTM's features per base, window or record (npz, Parquet).",
    "calibrate": "Estimate a genome's own codon usage and start signals, for --calibration.",
    "merge": "Join the outputs of shards, or of single records, as those of one run.",
    "train": "Train a model on annotated genomes.",
    "evaluate": "Compare predicted genes with a reference annotation.",
    "profile": "Build, show and search with profile HMMs.",
    "align": "Align sequences to a profile, or to each other by learning one.",
    "simulate": "Draw a genome and its true genes.",
    "models": "List and describe the models.",
}


_READER_GONE = 128 + signal.SIGPIPE
#: new objects after which Python looks for cycles: imports and genes make hundreds of thousands, hardly any in a cycle,
#: and with its own 700 it spends 3 % of the time of a bacterial genome on that
_COLLECT_AFTER = 100_000


class Stopped(BaseException):
    """A signal asked the run to end; no `Exception`, so that nothing on its way takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class LazyGroup(click.Group):
    """Imports a command's module only to run it or to show its own help.

    Args:
        table: command -> one line of help.
        prefix: of the names of their modules.
    """

    def __init__(self, *args: Any, table: dict[str, str], prefix: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table, self._prefix = table, prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table:
            return None
        return getattr(importlib.import_module(f".{self._prefix}{cmd_name}", __package__), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._table.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise Stopped(signal.SIGPIPE) from None  # Click's main would exit with 1


@click.group(cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="lstmhmm")
def lstmhmm() -> None:
    """Annotate and segment biological sequences with an LSTM-HMM.

    \b
    lstmhmm annotate genome.fa > genes.gff3
    lstmhmm COMMAND --help
    """  # noqa: D301  (the escape is Click's: no re-wrapping)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits: errors meant for the user are one line on stderr."""
    gc.set_threshold(_COLLECT_AFTER)
    code: int | None = None
    try:
        with _signals_raise():
            try:
                code = _run(arguments)
            except BrokenPipeError:  # no reader of stderr either
                code = _READER_GONE
    except Stopped as stop:  # before the run began, or after it ended
        code = 128 + stop.number if code is None else code
    _drop_unwritable()
    gc.freeze()  # else Python, on its way out, goes through all that is left once more, for a tenth of a second or two
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """The exit code of a command line; tells errors on stderr."""
    try:
        code = lstmhmm.main(arguments, prog_name="lstmhmm", standalone_mode=False) or 0
        if sys.stdout:
            sys.stdout.flush()
        return code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except LstmHmmError as error:
        _say(f"error: {error}")
        return 2 if isinstance(error, UsageError) else 1
    except Stopped as stop:
        if stop.number != signal.SIGPIPE:
            _say(f"stopped by {signal.Signals(stop.number).name}")
        return 128 + stop.number
    except BrokenPipeError:
        return _READER_GONE
    except OSError as error:
        _say(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
        return 1


def _say(text: str) -> None:
    """One line on stderr."""
    click.echo("lstmhmm: " + printable(text), err=True)


def _drop_unwritable() -> None:
    """What a stream cannot write goes nowhere, so that Python's own last flush has nothing to complain about."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Signals that end a process become `Stopped`, so that temporary files are removed on the way out.

    Those that are ignored (nohup, jobs of a script in the background) stay so. Callbacks of the interpreter (those of
    garbage collection, say) swallow exceptions; one swallowed there is raised again a moment later.
    """

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    def swallowed(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, Stopped):
            number = unraisable.exc_value.number
            signal.signal(signal.SIGALRM, lambda *_: stop(number, None))
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
            hook(unraisable)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {s: signal.signal(s, stop) for s in signals if signal.getsignal(s) is not signal.SIG_IGN}
    before[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
