"""Errors meant for the user.

Library code raises these with one complete line: which file, which record, what is wrong and what to do. The command
line prints that line and exits with 2 for a `UsageError` (the command was called wrongly) and 1 for the others (the
run failed). Any other exception that escapes is a bug.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with blanks for control characters, which bad input brings into messages and pictures."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


class LstmHmmError(Exception):
    """Base of every error that is the user's to mend."""


class UsageError(LstmHmmError):
    """Options or arguments that cannot work together or do not exist."""


class InputError(LstmHmmError):
    """A file that cannot be read as what it should be."""


class OutputError(LstmHmmError):
    """A result that cannot be written."""


class ModelError(LstmHmmError):
    """A model that is unknown, incomplete or damaged."""
