"""`lstmhmm profile`: profile hidden Markov models; each command is in the module `profile_NAME`."""

from __future__ import annotations

import importlib

import click

COMMANDS = {
    "build": "Build profiles from alignments.",
    "search": "Find the sequences, and the domains in them, that match profiles.",
    "show": "Describe profiles, or draw their logos.",
}


class _Commands(click.Group):
    """Imports a command's module only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f".profile_{cmd_name}", __package__), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands)
def profile() -> None:
    """Build, show and search with profile HMMs (HMMER3 files)."""
