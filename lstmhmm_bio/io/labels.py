"""Reading a user's labels: regions of BED or GFF3 files, grammars of TOML files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..hmm.grammars.labels import MASK, Labels
from .compression import open_input

#: attributes of GFF3 features that are no safe examples of their type
_DOUBT = re.compile(r"(?:^|;)\s*(?:pseudo|partial|exception|check_failed)=(?!false)", re.IGNORECASE)


class LabelRegion(NamedTuple):
    """A labelled stretch: 0-based half-open, strand "+", "-" or "." for both."""

    start: int
    end: int
    name: str
    strand: str


def read_labels(path: str, types: Collection[str] = ()) -> dict[str, list[LabelRegion]]:
    """Labelled regions by sequence name.

    Of BED the fourth column is the label, of GFF3 the feature type. GFF3 features that are flagged as pseudo, partial
    or exceptional become regions to mask.

    Args:
        path: BED (4 columns or more) or GFF3 file, also compressed; found by content.
        types: labels to read; all if empty. Those named "mask" always are.

    Raises:
        InputError: a line that is neither, or no region at all.
    """
    regions: dict[str, list[LabelRegion]] = {}
    with open_input(path) as stream:
        for number, raw in enumerate(stream, 1):
            line = raw.decode(errors="replace").rstrip("\r\n")
            if line.startswith("##FASTA"):
                break
            if not line.strip() or line.startswith(("#", "track", "browser")):
                continue
            seqid, region = _parse(line.split("\t"), f"{path} line {number}")
            if not types or region.name in types or region.name == MASK:
                regions.setdefault(seqid, []).append(region)
    if not regions:
        wanted = f" of the types {', '.join(sorted(types))}" if types else ""
        raise InputError(f"{path}: holds no regions{wanted}; give BED with names in column 4, or GFF3")
    return regions


def read_label_grammar(path: str) -> Labels:
    """A grammar of labels, see `hmm.grammars.labels`.

    Raises:
        InputError: no TOML, or not a grammar.
    """
    try:
        return Labels.from_table(tomllib.loads(Path(path).read_text("utf-8")))
    except (OSError, UnicodeDecodeError, ValueError) as error:  # TOMLDecodeError is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: not a grammar of labels ({reason}); see docs/segmentation.md") from None


def _parse(columns: list[str], where: str) -> tuple[str, LabelRegion]:
    """Sequence name and region of one line."""
    if len(columns) == 9 and columns[3].isdigit() and columns[4].isdigit():
        seqid, name, start, end, strand = columns[0], columns[2], int(columns[3]) - 1, int(columns[4]), columns[6]
        if _DOUBT.search(columns[8]):
            name = MASK
    elif len(columns) >= 4 and columns[1].isdigit() and columns[2].isdigit():
        seqid, name, start, end = columns[0], columns[3], int(columns[1]), int(columns[2])
        strand = columns[5] if len(columns) > 5 else "."
    else:
        raise InputError(f"{where} is neither BED with a name in column 4 nor GFF3; fields are separated by tabs")
    if not name or not 0 <= start < end:
        raise InputError(f"{where}: a region needs a name, and an end after its start")
    return seqid, LabelRegion(start, end, name, strand if strand in ("+", "-") else ".")
