"""Sheets of genomes: tab-separated tables that name what to train on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError


@dataclass(frozen=True)
class SheetRow:
    """One genome: its files and, where given, its name, clade and NCBI genetic code.

    `complete` is false where the annotation lacks genes, as windows around one gene each do: what lies between the
    annotated ones is then no example of intergenic sequence.
    """

    fasta: Path
    annotation: Path
    name: str
    clade: str
    genetic_code: int | None
    complete: bool = True


def read_sheet(path: Path) -> list[SheetRow]:
    """Rows of a sheet with columns `fasta`, `annotation` and optionally `name`, `clade`, `genetic_code`, `complete`.

    Paths are relative to the sheet. The default name is the FASTA's up to its first dot, the default clade the name;
    `complete` is yes (the default) or no.

    Raises:
        InputError: not a text file, or a column, a file or all rows are missing, a genetic code is no number, or
            `complete` neither yes nor no.
    """
    rows = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a readable text file ({error}); the sheet is tab-separated with a header"
        ) from None
    reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = {"fasta", "annotation"} - set(reader.fieldnames or ())
    if missing:
        raise InputError(f"{path}: no column {' and '.join(sorted(missing))}; the sheet is tab-separated with a header")
    for n, row in enumerate(reader, 2):
        fasta, annotation = (path.parent / (row[c] or "") for c in ("fasta", "annotation"))
        for file in (fasta, annotation):
            if not file.is_file():
                raise InputError(f"{path} line {n}: {file} does not exist")
        number = (row.get("genetic_code") or "").strip()
        if number and not number.isdigit():
            raise InputError(f"{path} line {n}: genetic code {number!r} is no number")
        complete = (row.get("complete") or "yes").strip()
        if complete not in ("yes", "no"):
            raise InputError(f"{path} line {n}: complete is {complete!r}; it must be yes or no")
        name = row.get("name") or fasta.name.split(".")[0]
        clade = row.get("clade") or name
        rows.append(SheetRow(fasta, annotation, name, clade, int(number) if number else None, complete == "yes"))
    if not rows:
        raise InputError(f"{path}: lists no genome")
    return rows
