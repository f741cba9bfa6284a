"""Accuracy and speed on annotated eukaryotic genomes, beside AUGUSTUS' figures from a table.

    python benchmarks/eukaryotes.py FOLDER --augustus augustus.tsv

FOLDER holds one folder per set with ``genome.fa.gz``, ``annotation.gff3.gz`` and perhaps ``*.bam`` (RNA-seq). The table
has columns name, exon_f1, gene_f1, cpu_s. Writes docs/eukaryotes.md and the table in README.md.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pages import ROOT, fill, table

from lstmhmm_bio.evaluation import evaluate_files

#: model of a set, by the beginning of its name
MODELS = {"scer": "yeasts", "spom": "yeasts", "spar": "yeasts", "dmel": "drosophila", "atha": "eudicots"}
HEADER = ("set", "model", "base F1", "exon F1", "intron F1", "gene F1", "AUGUSTUS exon F1", "gene F1", "times as fast")


@dataclass(frozen=True)
class Row:
    """F1 in percent of one set, and CPU seconds."""

    name: str
    model: str
    base: float
    exon: float
    intron: float
    gene: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--augustus", type=Path, required=True)
    arguments = parser.parse_args()
    with arguments.augustus.open() as handle:
        augustus = {row["name"]: row for row in csv.DictReader(handle, delimiter="\t")}
    rows = []
    for folder in sorted(arguments.folder.iterdir()):
        model = MODELS.get(folder.name[:4])
        if model:
            rows.append((measure(folder, model), augustus.get(folder.name)))
            rows += [(measure(folder, model, bam), None) for bam in sorted(folder.glob("*.bam"))]
    cells = [cells_of(row, rival) for row, rival in rows]
    page = table(HEADER, cells)
    (ROOT / "docs/eukaryotes.md").write_text(REPORT.format(table=page), "utf-8")
    fill("eukaryotes", page)


def measure(folder: Path, model: str, bam: Path | None = None) -> Row:
    """Annotates a set as a user would."""
    with tempfile.TemporaryDirectory() as temporary:
        out = f"{temporary}/genes.gff3"
        command = [sys.executable, "-m", "lstmhmm_bio", "annotate", str(folder / "genome.fa.gz"), "--model", model]
        command += ["-o", out, "--quiet", *(["--evidence", str(bam)] if bam else [])]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, env=os.environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found = evaluate_files(folder / "annotation.gff3.gz", out, mode="euk").scores
    scores = [100 * found[level].f1 for level in ("base", "exon", "intron", "gene")]
    print(folder.name, *(f"{x:.1f}" for x in scores), f"{cpu:.0f} s", sep="  ", file=sys.stderr)
    return Row(folder.name + (" with RNA-seq" if bam else ""), model, *scores, cpu)


def cells_of(row: Row, rival: dict[str, str] | None) -> list[str]:
    scores = [f"{x:.1f}" for x in (row.base, row.exon, row.intron, row.gene)]
    if rival is None:
        return [row.name, row.model, *scores, "", "", ""]
    return [
        row.name, row.model, *scores, f"{float(rival['exon_f1']):.1f}", f"{float(rival['gene_f1']):.1f}",
        f"{float(rival['cpu_s']) / row.cpu:.1f}",
    ]  # fmt: skip


REPORT = """# Accuracy on eukaryotes

Written by `python benchmarks/eukaryotes.py`. Validation sequence that no model was trained on: other chromosomes of the
same species (the species themselves are in the training data). F1 in percent of coding bases, of exons and introns with
both ends right, and of genes with all exons right, against the reference annotation. AUGUSTUS 3.5, ab initio, with the
parameters of the species (its *Arabidopsis* and fly parameters were trained on the same species); its CPU time is from
another run on the same machine.

{table}
"""


if __name__ == "__main__":
    main()
