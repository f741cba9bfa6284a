"""Options in groups, and those that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Any], Any]


class GroupedOption(click.Option):
    """An option that stands under a heading in `--help`."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help lists its options by group, in the order in which the groups first appear."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if row is not None:
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(row)
        for name, rows in groups.items():
            with formatter.section(name):
                formatter.write_dl(rows)


class CodeNumber(click.ParamType):
    """The number of a genetic code, None for "auto"."""

    name = "code"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value is None or value == "auto":
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'auto'", param, ctx)


def option(group: str, *declarations: str, **attributes: Any) -> Decorator:
    """`click.option` under a heading."""
    return click.option(*declarations, cls=GroupedOption, group=group, **attributes)


def compose(*decorators: Decorator) -> Decorator:
    """One decorator from several, applied so that the first stands first in the help."""

    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


class Shard(click.ParamType):
    """``I/N`` as the tuple (I, N)."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        index, _, count = str(value).partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            self.fail(f"{value!r} is no shard; write I/N with I from 1 to N, such as 2/4", param, ctx)
        return int(index), int(count)


input_options = compose(
    option(
        "Input",
        "--region",
        metavar="NAME[:START-END]",
        help="Only this record or part of it; of BAM/CRAM the reads that overlap it.",
    ),
    option("Input", "--reference", metavar="FASTA", help="Reference of a CRAM."),
)

model_options = compose(
    option(
        "Model",
        "--model",
        default="bacteria",
        show_default=True,
        metavar="NAME|PATH",
        help="A bundled model, the .toml card of your own, or auto: the bundled one that fits best.",
    ),
    option(
        "Model",
        "-g",
        "--genetic-code",
        default="auto",
        show_default=True,
        type=CodeNumber(),
        metavar="N|auto",
        help="NCBI translation table; auto: of bacteria 11, 4 or 25, as the genome's own genes say (11 under --meta), "
        "else the model's.",
    ),
)

meta_option = option(
    "Model",
    "--meta",
    is_flag=True,
    help="Metagenome: records that are alike are taken together, not all as one genome.",
)

calibration_options = compose(
    option(
        "Model",
        "--calibration",
        metavar="FILE|none",
        help="Tables of this genome or metagenome from `lstmhmm calibrate`, instead of a first pass; none: each record "
        "by itself, as reads of BAM always are.",
    ),
    meta_option,
)

running_options = compose(
    option(
        "Running",
        "-t",
        "--threads",
        default=0,
        show_default="all cores",
        type=click.IntRange(0),
        metavar="N",
        help="CPU cores; the output does not depend on it.",
    ),
    option("Running", "--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "gpu"])),
    option("Running", "--no-cache", is_flag=True, help="Keep no compiled programs for the next run."),
    option("Running", "-q", "--quiet", is_flag=True, help="No progress and no notes; warnings and errors remain."),
)
