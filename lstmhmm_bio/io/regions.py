"""Regions of a record, written ``NAME``, ``NAME:START-END`` or ``NAME:START`` as in samtools (1-based, inclusive)."""

from __future__ import annotations

import re

from ..errors import UsageError

_SPAN = re.compile(r"([0-9]+)(?:-([0-9]*))?")


def span_in(region: str, name: str, length: int) -> tuple[int, int] | None:
    """The 0-based half-open span that a region means on one record, or None if it means another record.

    Names may hold colons. An end beyond the record is cut to its length; commas in numbers are ignored.

    Raises:
        UsageError: the span is upside down or off the record.
    """
    if region == name:
        return 0, length
    record, _, numbers = region.rpartition(":")
    match = _SPAN.fullmatch(numbers.replace(",", ""))
    if record != name or not match:
        return None
    start, end = int(match[1]), int(match[2] or length)
    if start < 1 or start > length:
        raise UsageError(f"region {region!r} starts off the record: {name!r} has the positions 1 to {length}")
    if end < start:
        raise UsageError(f"region {region!r} ends before it starts")
    return start - 1, min(end, length)


def id_of(name: str, start: int, end: int) -> str:
    """The id of a record that was cut to a 0-based half-open span."""
    return f"{name}:{start + 1}-{end}"


def no_such_record(region: str, source: str) -> UsageError:
    """The error for a region that no record of a file answers to."""
    return UsageError(
        f"{source}: no record for region {region!r}; write NAME or NAME:START-END with a name of the file"
    )
