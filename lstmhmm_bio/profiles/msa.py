"""Multiple alignments: Stockholm, A2M and aligned FASTA.

Stockholm is as Pfam and Rfam define it (Easel's User Guide, "Stockholm format"), A2M as UCSC SAM does: consensus
columns hold capitals and ``-``, insertions small letters and optional ``.``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..io.compression import input_name, open_input

_GAPS = b"-._~"
_LINE = 60
#: endings of file names -> formats of `write_alignment`
FORMATS = {"sto": "stockholm", "stk": "stockholm", "sth": "stockholm", "a2m": "a2m", "afa": "afa", "fa": "afa",
           "fasta": "afa", "fas": "afa"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Alignment:
    """Aligned sequences.

    Attributes:
        names: [sequences] unique ids.
        rows: [sequences, columns] ASCII letters; small letters and ``.`` stand in insertions where `rf` says so.
        descriptions: [sequences], or empty.
        columns: Stockholm's #=GC: "RF", "MM", "SS_cons", "PP_cons", ... -> a string of the alignment's width.
        posteriors: [sequences, columns] ASCII, #=GR PP, or None.
        facts: Stockholm's #=GF: "ID", "AC", "DE", "GA", ... -> text.
        weights: [sequences] as given by the file (#=GS WT), or None.
    """

    names: tuple[str, ...]
    rows: NDArray[np.uint8]
    descriptions: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    posteriors: NDArray[np.uint8] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    weights: NDArray[np.float64] | None = None

    @property
    def is_residue(self) -> NDArray[np.bool_]:
        """[sequences, columns]: no gap."""
        return ~np.isin(self.rows, np.frombuffer(_GAPS, np.uint8))


def read_alignments(path: str) -> Iterator[Alignment]:
    """The alignments of a file, plain or compressed: any number in Stockholm, one in A2M or aligned FASTA.

    Args:
        path: a file, or "-" for standard input.

    Raises:
        InputError: the file is none of these or is inconsistent; the message names line or record.
    """
    source = input_name(path)
    with open_input(path) as stream:
        head = stream.peek().removeprefix(b"\xef\xbb\xbf").lstrip()
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace")
        if head.startswith(b"# STOCKHOLM"):
            yield from _read_stockholm(text, source)
        elif head.startswith(b">"):
            yield _read_fasta(text, source)
        else:
            raise InputError(f"{source} is no alignment read here; give Stockholm, A2M or aligned FASTA")


def _read_stockholm(text: TextIO, source: str) -> Iterator[Alignment]:
    parts: dict[str, list[str]] = {}
    columns: dict[str, list[str]] = {}
    posteriors: dict[str, list[str]] = {}
    facts: dict[str, str] = {}
    weights: dict[str, float] = {}
    descriptions: dict[str, str] = {}
    is_open = False
    for number, raw in enumerate(text, 1):
        line = raw.strip()
        if line.startswith("# STOCKHOLM"):
            is_open = True
            for kept in (parts, columns, posteriors, facts, weights, descriptions):
                kept.clear()
        elif line == "//":
            yield _finish_stockholm(
                parts, columns, posteriors, facts, weights, descriptions, f"{source}: line {number}"
            )
            is_open = False
        elif not line or (line.startswith("#") and not line.startswith("#=")):
            continue
        elif not is_open:
            raise InputError(f"{source}: line {number} stands outside an alignment; '# STOCKHOLM 1.0' is missing")
        else:
            words = line.split(None, 1)
            rest = line.split(None, 3) if words[0] in ("#=GS", "#=GR") else line.split(None, 2)
            try:
                if words[0] == "#=GF":
                    facts[rest[1]] = " ".join(filter(None, (facts.get(rest[1]), rest[2] if len(rest) > 2 else "")))
                elif words[0] == "#=GC":
                    columns.setdefault(rest[1], []).append(rest[2])
                elif words[0] == "#=GS":
                    if rest[2] == "WT":
                        weights[rest[1]] = float(rest[3])
                    elif rest[2] == "DE":
                        descriptions[rest[1]] = rest[3]
                elif words[0] == "#=GR":
                    if rest[2] == "PP":
                        posteriors.setdefault(rest[1], []).append(rest[3])
                else:
                    name, letters = line.split()
                    parts.setdefault(name, []).append(letters)
            except (IndexError, ValueError):
                raise InputError(f"{source}: line {number} is not Stockholm: {line[:40]!r}") from None
    if is_open:
        raise InputError(f"{source}: the last alignment does not end in '//': the file is truncated")


def _finish_stockholm(
    parts: dict[str, list[str]],
    columns: dict[str, list[str]],
    posteriors: dict[str, list[str]],
    facts: dict[str, str],
    weights: dict[str, float],
    descriptions: dict[str, str],
    where: str,
) -> Alignment:
    rows = {name: "".join(letters) for name, letters in parts.items()}
    table = _table(rows, where)
    width = table.shape[1]
    joined = {name: "".join(pieces) for name, pieces in columns.items()}
    for name, line in joined.items():
        if len(line) != width:
            raise InputError(f"{where}: #=GC {name} is {len(line)} columns wide, the alignment {width}")
    pp = None
    if posteriors:
        blank = "." * width
        pp = _table({name: "".join(posteriors.get(name, [blank])) for name in rows}, where)
        if pp.shape[1] != width:
            raise InputError(f"{where}: #=GR PP is {pp.shape[1]} columns wide, the alignment {width}")
    return Alignment(
        tuple(rows),
        table,
        tuple(descriptions.get(name, "") for name in rows) if descriptions else (),
        joined,
        pp,
        dict(facts),
        np.array([weights.get(name, 1.0) for name in rows]) if weights else None,
    )


def _table(rows: Mapping[str, str], where: str) -> NDArray[np.uint8]:
    """[sequences, columns] of strings of one length."""
    if not rows:
        raise InputError(f"{where}: the alignment holds no sequences")
    width = len(next(iter(rows.values())))
    for name, row in rows.items():
        if len(row) != width:
            raise InputError(f"{where}: {name!r} is {len(row)} columns wide, the sequences before it {width}")
    letters = "".join(rows.values()).encode("latin-1", "replace")
    return np.frombuffer(letters, np.uint8).reshape(len(rows), width)


def _read_fasta(text: TextIO, source: str) -> Alignment:
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    rows: dict[str, str] = {}
    descriptions = []
    for title, letters in SimpleFastaParser(text):
        name, _, description = title.partition(" ")
        if name in rows or not name:
            raise InputError(f"{source}: {f'two records are named {name!r}' if name else 'a record has no id'}; rename")
        rows[name] = letters.replace(" ", "")
        descriptions.append(description.strip())
    # A2M without dots has rows of any length; with dots it is told from aligned FASTA by its name alone
    is_a2m = source.removesuffix(".gz").endswith(".a2m") or len({len(row) for row in rows.values()}) > 1
    if is_a2m:
        if len({len(_INSERTED.sub("", row)) for row in rows.values()}) > 1:
            raise InputError(f"{source}: the sequences differ in length; align them first (lstmhmm align --learn)")
        rows, rf = _pad(rows)
    table = _table(rows, source)
    return Alignment(tuple(rows), table, tuple(descriptions) if any(descriptions) else (), {"RF": rf} if is_a2m else {})


_INSERTED = re.compile("[a-z.]+")


def _pad(rows: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """A2M with every dot, and its RF line."""
    pieces = {name: _split(row.replace(".", "")) for name, row in rows.items()}
    widths = np.max([[len(inserted) for _, inserted in row] for row in pieces.values()], axis=0)
    padded = {
        name: "".join(
            column + inserted.ljust(width, ".") for (column, inserted), width in zip(row, widths, strict=True)
        )
        for name, row in pieces.items()
    }
    rf = "".join(("x" if i else "") + "." * width for i, width in enumerate(widths))
    return padded, rf


def _split(row: str) -> list[tuple[str, str]]:
    """(consensus column, what is inserted after it); the first pair's column is empty."""
    return [(column, inserted) for column, inserted in re.findall(r"(^|[^a-z])([a-z]*)", row)]


def format_of_output(path: str | None, default: str = "stockholm") -> str:
    """The alignment format that a file's name asks for.

    Raises:
        UsageError: the ending is none of `FORMATS`.
    """
    if path is None or path == "-":
        return default
    ending = path.removesuffix(".gz").rpartition(".")[2].lower()
    if ending not in FORMATS:
        raise UsageError(f"{path}: no alignment format is written as .{ending}; use .sto, .a2m or .afa")
    return FORMATS[ending]


def write_alignment(handle: TextIO, alignment: Alignment, kind: str) -> None:
    """Write an alignment.

    Args:
        handle: open for text.
        alignment: for A2M its case and dots must follow its RF line.
        kind: "stockholm" (all annotations, each sequence on one line), "a2m" or "afa".
    """
    if kind == "stockholm":
        _write_stockholm(handle, alignment)
        return
    descriptions = alignment.descriptions or ("",) * len(alignment.names)
    for name, description, row in zip(alignment.names, descriptions, alignment.rows, strict=True):
        letters = row.tobytes().decode().replace(".", "" if kind == "a2m" else "-")
        handle.write(f">{name} {description}".rstrip() + "\n")
        for i in range(0, len(letters), _LINE):
            handle.write(letters[i : i + _LINE] + "\n")


def _write_stockholm(handle: TextIO, alignment: Alignment) -> None:
    handle.write("# STOCKHOLM 1.0\n")
    for key, value in alignment.facts.items():
        handle.write(f"#=GF {key} {value}\n")
    for name, description in zip(alignment.names, alignment.descriptions, strict=False):
        if description:
            handle.write(f"#=GS {name} DE {description}\n")
    handle.write("\n")
    posteriors = alignment.posteriors
    width = max(map(len, [*alignment.names, *(f"#=GC {name}" for name in alignment.columns)]))
    if posteriors is not None:
        width = max(width, max(len(f"#=GR {name} PP") for name in alignment.names))
    for i, (name, row) in enumerate(zip(alignment.names, alignment.rows, strict=True)):
        handle.write(f"{name:<{width}} {row.tobytes().decode()}\n")
        if posteriors is not None:
            handle.write(f"{f'#=GR {name} PP':<{width}} {posteriors[i].tobytes().decode()}\n")
    for name, line in alignment.columns.items():
        handle.write(f"{f'#=GC {name}':<{width}} {line}\n")
    handle.write("//\n")
