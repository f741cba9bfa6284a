"""Aligning families: `lstmhmm align --learn` beside clustalo and mafft, by the sum of pairs.

    python benchmarks/families.py FAMILIES [--sets balifam100 ...] [--only N] > table.md

FAMILIES is a folder with `NAME.fasta[.gz]` and `NAME.ref` (EGF, Bowman, rhv) and folders of `in/` and `ref/` files. Of
reference alignments only columns in capitals count: the share of their pairs of residues that stand in one column.
Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lstmhmm_bio.profiles.msa import Alignment, read_alignments

TOOLS = {
    "lstmhmm": [sys.executable, "-m", "lstmhmm_bio", "align", "--learn", "-t", "1", "{in}", "-o", "{out}"],
    "clustalo": ["clustalo", "--threads=1", "--force", "-i", "{in}", "-o", "{out}"],
    "mafft": ["sh", "-c", "mafft --auto --quiet --anysymbol --thread 1 {in} > {out}"],
}


def sum_of_pairs(reference: Alignment, test: Alignment) -> float:
    """The share of residue pairs in the reference's capital columns that the test alignment has in one column."""
    rows = {name: i for i, name in enumerate(test.names)}
    capital = reference.is_residue & (reference.rows < ord("a"))
    small = reference.is_residue & ~capital
    counted = capital.any(axis=0) & ~small.any(axis=0)
    columns = np.full(reference.rows.shape, -1)
    for i, name in enumerate(reference.names):
        columns[i, reference.is_residue[i]] = np.flatnonzero(test.is_residue[rows[name]])
    right = total = 0
    for column in columns[:, counted].T:
        present = column[column >= 0]
        total += _pairs(np.array([len(present)]))
        right += _pairs(np.unique(present, return_counts=True)[1])
    return right / total


def _pairs(counts: NDArray[np.integer]) -> int:
    return int((counts * (counts - 1) // 2).sum())


def families(folder: Path, sets: list[str], only: int) -> Iterator[tuple[str, Path, Path]]:
    """Set or family, sequences and reference alignment."""
    for name in ("egf", "bowman", "rhv"):
        if name in sets:
            (sequences,) = (path for path in folder.glob(f"{name}.fasta*"))
            yield name, sequences, folder / f"{name}.ref"
    for name in sets:
        if (folder / name).is_dir():
            for sequences in sorted((folder / name / "in").iterdir())[: only or None]:
                stem = sequences.name.removesuffix(".gz")
                (reference,) = (folder / name / "ref").glob(f"{stem}*")
                yield name, sequences, reference


def _processor_seconds() -> float:
    """Of all processes that have ended: unlike the clock they do not depend on what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*", default=["egf", "bowman", "rhv", "balifam100", "balifam1000"])
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--only", type=int, default=0, help="families of each folder")
    options = parser.parse_args()
    results: dict[str, list[list[tuple[float, float]]]] = {}
    print("| family | sequences |", " | ".join(f"{tool} SP | s" for tool in options.tools), "|")
    print("|---|---:|" + "---:|---:|" * len(options.tools))
    with tempfile.TemporaryDirectory() as scratch:
        for group, sequences, reference_path in families(options.folder, options.sets, options.only):
            plain, out = Path(scratch) / "in.fa", Path(scratch) / "out.afa"
            opened = gzip.open if sequences.suffix == ".gz" else open
            with opened(sequences, "rb") as source, plain.open("wb") as target:
                shutil.copyfileobj(source, target)
            reference = next(read_alignments(str(reference_path)))
            row = []
            for tool in options.tools:
                command = [part.replace("{in}", str(plain)).replace("{out}", str(out)) for part in TOOLS[tool]]
                start = _processor_seconds()
                subprocess.run(command, check=True, capture_output=True)
                seconds = _processor_seconds() - start
                row.append((sum_of_pairs(reference, next(read_alignments(str(out)))), seconds))
            results.setdefault(group, []).append(row)
            number = plain.read_bytes().count(b">")
            cells = " | ".join(f"{score:.3f} | {seconds:.1f}" for score, seconds in row)
            print(f"| {sequences.name.removesuffix('.gz')} | {number} | {cells} |", flush=True)
    for group, rows in results.items():
        if len(rows) > 1:
            means = np.mean(rows, axis=0)
            print(f"| **{group}**, mean | | " + " | ".join(f"{a:.3f} | {b:.1f}" for a, b in means) + " |")


if __name__ == "__main__":
    main()
