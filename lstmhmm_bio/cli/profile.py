"""`lstmhmm profile`: profile hidden Markov models; each command is in the module `profile_NAME`."""

from __future__ import annotations

import click

from . import LazyGroup

COMMANDS = {
    "build": "Build profiles from alignments.",
    "search": "Find the sequences, and the domains in them, that match profiles.",
    "show": "Describe profiles, or draw their logos.",
}


@click.group(cls=LazyGroup, table=COMMANDS, prefix="profile_")
def profile() -> None:
    """Build, show and search with profile HMMs (HMMER3 files)."""
