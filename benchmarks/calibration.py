"""Are the scores probabilities? Genes that lstmhmm finds on annotated genomes, their scores against what is right.

    python benchmarks/calibration.py [FOLDER]

FOLDER holds one folder per genome with ``genome.fa.gz`` and ``annotation.gff3.gz``.

A gene's score is judged against whether the reference has a gene with that stop, its start score, among those,
against whether the start is right too. Expected calibration error: mean distance of score and share of right ones
over 15 bins of equal size. AUROC: how well the score tells right from wrong. Brier score: mean squared distance,
beside that of a constant, the share of right ones.

Writes docs/calibration.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pages import ROOT, table, versions

from lstmhmm_bio import runtime

BINS = 15
MANY_GENES = 500
HEADER = ("genes", "mean score", "right", "ECE", "AUROC", "Brier", "constant")

Figures = tuple[int, float, float, float, float, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared/data/valid/prok")
    parser.add_argument("--model", default="bacteria", help="bundled name or path")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/calibration.md")
    arguments = parser.parse_args()
    runtime.configure(0, "cpu")
    sets = sorted(p.parent for p in arguments.folder.glob("*/genome.fa.gz"))
    if not sets:
        parser.error(f"{arguments.folder}: no folder in it has a genome.fa.gz")
    rows = {}
    for folder in sets:
        rows[folder.name] = judge(folder, arguments.model)
        print(folder.name, *rows[folder.name], sep="\n  ", file=sys.stderr)
    arguments.output.write_text(report(rows, arguments.model), "utf-8")


class Calls(NamedTuple):
    """Genes found on one genome.

    Attributes:
        scores: [genes, 2] of gene and start.
        right: [genes, 2] bool, stop and start.
        lengths: [genes] bases.
        whole: [genes] bool, not cut by a record's end.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    lengths: NDArray[np.float64]
    whole: NDArray[np.bool_]


def judge(folder: Path, model: str) -> tuple[Figures, Figures]:
    """Figures of the stops and of the starts of one genome."""
    calls = calls_of(folder, model)
    ends = calls.right[:, 0]
    return figures(calls.scores[:, 0], ends), figures(calls.scores[ends, 1], calls.right[ends, 1])


def calls_of(folder: Path, model: str) -> Calls:
    """What a model finds on one genome."""
    from lstmhmm_bio.annotate import Annotator
    from lstmhmm_bio.evaluation import evaluate_files
    from lstmhmm_bio.io import Gff3Writer, open_output, read_records
    from lstmhmm_bio.io.reference import common_code, read_transcripts
    from lstmhmm_bio.model import load_model

    fasta = str(folder / "genome.fa.gz")
    annotator = Annotator(
        load_model(model), genetic_code=common_code(read_transcripts(folder / "annotation.gff3.gz")) or 11
    )
    calibration = annotator.calibrate(read_records(fasta))
    genes = {}
    with tempfile.TemporaryDirectory() as temporary:
        prediction = f"{temporary}/genes.gff3"
        with open_output(prediction) as handle:
            writer = Gff3Writer(handle)
            for annotation in annotator.annotate(read_records(fasta), calibration):
                writer.write(annotation)
                for g in annotation.genes:
                    genes[annotation.record.id, g.strand, g.end if g.strand == "+" else g.start] = g
        calls = evaluate_files(folder / "annotation.gff3.gz", prediction, genome=fasta).calls
    found = [genes[c.seqid, c.strand, c.stop] for c in calls]
    return Calls(
        np.array([(g.score, g.start_score) for g in found]),
        np.array([(c.right_stop, c.right_start) for c in calls]),
        np.array([g.length for g in found], float),
        np.array([g.has_start and g.has_stop for g in found]),
    )


def figures(score: NDArray[np.float64], right: NDArray[np.bool_]) -> Figures:
    """What `HEADER` names."""
    order = np.argsort(score, kind="stable")
    bins = np.array_split(order, BINS)
    error = sum(len(b) * abs(score[b].mean() - right[b].mean()) for b in bins if len(b)) / len(score)
    brier, constant = np.mean((score - right) ** 2), np.mean((right.mean() - right) ** 2)
    return len(score), score.mean(), right.mean(), error, auroc(score, right), brier, constant


def auroc(score: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Probability that a right one scores higher than a wrong one, ties half (Mann and Whitney 1947)."""
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    n, m = right.sum(), (~right).sum()
    return float((rank[right].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def report(rows: dict[str, tuple[Figures, Figures]], model: str) -> str:
    made_by = versions(model).rpartition(", Pyrodigal")[0]
    parts = [f"# Are the scores probabilities?\n\nWritten by `python benchmarks/calibration.py`: {made_by}.\n\n"]
    parts.append(__doc__.split("\n\n")[3] + "\n")
    for i, what in enumerate(("Genes (score, stop right)", "Starts (start score, among right stops)")):
        lines = [(name, *both[i]) for name, both in rows.items()]
        many = np.array([line[1:] for line in lines if line[1] >= MANY_GENES])
        lines.append((f"**mean of the {len(many)} with >= {MANY_GENES} genes**", *many.mean(0)))
        cells = [(n, f"{int(count):,}", *(f"{x:.3f}" for x in rest)) for n, count, *rest in lines]
        parts.append(f"\n## {what}\n\n" + table(("genome", *HEADER), cells))
    return "".join(parts)


if __name__ == "__main__":
    main()
