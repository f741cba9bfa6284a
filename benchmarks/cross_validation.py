"""Introns of *S. cerevisiae* in cross-validation over its chromosomes.

    python benchmarks/cross_validation.py TRAIN -o RUNS

Its chromosomes have some twenty introns each, too few on those held out for validation. Each half of the training
chromosomes is annotated by a model of the recipe `yeasts-fold`, from random weights, that has seen neither them nor
their counterparts in *S. paradoxus*. TRAIN is the folder that `recipes/retrain.py` takes. An interrupted run goes on
where it stopped. Writes docs/introns.md.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from eukaryotes import scores_of, together_of
from pages import ROOT, table

from lstmhmm_bio.agreement import Score
from lstmhmm_bio.io.reference import read_reference

BUDDING, OTHERS = ("euk/scer_s288c", "euk/spar_cbs432"), ("euk/spom_972h",)
#: number of each chromosome of *S. cerevisiae* by the accession of its sequence; those of *S. paradoxus* have it as
#: their name, and both have the same genes (Yue et al., Nat. Genet. 49:913, 2017)
CHROMOSOMES = {
    "BK006935.2": "I", "BK006936.2": "II", "BK006937.2": "III", "BK006938.2": "IV", "BK006939.2": "V",
    "BK006940.2": "VI", "BK006941.2": "VII", "BK006934.2": "VIII", "BK006943.2": "X", "BK006945.2": "XII",
    "BK006947.3": "XIV", "BK006949.2": "XVI",
}  # fmt: skip
HALVES = ({"I", "III", "IV", "VI", "VIII", "XII"}, {"II", "V", "VII", "X", "XIV", "XVI"})
FILES = ("genome.fa.gz", "annotation.gff3.gz")

REPORT = """# Introns of Saccharomyces cerevisiae

Written by `python benchmarks/cross_validation.py`: cross-validation over the training chromosomes. Each half of them
was annotated by a model that had seen neither these nor the same chromosomes of *S. paradoxus*; it is the
first of the four stages of `yeasts`, on the rest (recipe `yeasts-fold`). Precision and sensitivity of introns
with both ends right, F1 of exons and genes, in percent.

{table}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows, both = [], []
    for n, held_out in enumerate(HALVES, 1):
        scores = fold(arguments.train, arguments.output / str(n), held_out)
        rows.append(cells(", ".join(c for c in CHROMOSOMES.values() if c in held_out), scores))
        both += scores
    rows.append(cells("all", both))
    header = ("chromosomes", "introns", "predicted", "right", "precision", "sensitivity", "exon F1", "gene F1")
    (ROOT / "docs/introns.md").write_text(REPORT.format(table=table(header, rows)), "utf-8")


def fold(train: Path, folder: Path, held_out: Collection[str]) -> list[dict[str, Score]]:
    """Trains without some chromosomes, annotates these: scores of each."""
    for name in OTHERS:
        (folder / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / "train" / name).exists():
            (folder / "train" / name).symlink_to((train / name).resolve())
    for name in BUDDING:
        split(train / name, folder / "train" / name, lambda c: c not in held_out)
    split(train / BUDDING[0], folder / "test", lambda c: c in held_out)
    command = [sys.executable, str(ROOT / "recipes/retrain.py"), "yeasts-fold", str(folder / "train")]
    subprocess.run([*command, "-o", str(folder / "runs")], check=True)
    card, genes = folder / "runs/yeasts-fold/yeasts-fold.toml", folder / "genes.gff3"
    command = [sys.executable, "-m", "lstmhmm_bio", "annotate", str(folder / "test/genome.fa.gz"), "-o", str(genes)]
    subprocess.run([*command, "--model", str(card), "--quiet"], check=True)
    return list(scores_of(folder / "test", read_reference(genes, allow_empty=True).transcripts).values())


def split(source: Path, target: Path, chosen: Callable[[str], bool]) -> None:
    """Copies what belongs to the chosen chromosomes."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        with gzip.open(source / name, "rt") as lines, gzip.open(target / name, "wt") as out:
            inside = True
            for line in lines:
                if line.startswith(">") or (name == FILES[1] and not line.startswith("#")):
                    seqid = line.lstrip(">").split()[0]
                    inside = chosen(CHROMOSOMES.get(seqid, seqid.removeprefix("chr")))
                if inside:
                    out.write(line)


def cells(name: str, scores: Sequence[dict[str, Score]]) -> list[str]:
    """A row of the table."""
    introns, exons, genes = (together_of([s[level] for s in scores]) for level in ("intron", "exon", "gene"))
    counts = (introns.reference, introns.predicted, introns.matched_predicted)
    shares = (introns.precision, introns.sensitivity, exons.f1, genes.f1)
    return [name, *map(str, counts), *(f"{100 * x:.1f}" for x in shares)]


if __name__ == "__main__":
    main()
