"""Accuracy and speed on annotated eukaryotic genomes, beside AUGUSTUS (if it is installed) in the same run.

    python benchmarks/eukaryotes.py FOLDER [--long SET]

FOLDER holds one folder per set with ``genome.fa.gz`` and ``annotation.gff3.gz`` and perhaps RNA-seq: alignments
``*.bam`` or introns ``rnaseq_*.gff3``. The records of sets named ``*_trainset`` are windows around one annotated gene
each, with neighbours that are not annotated: what is predicted elsewhere than on that gene is set aside. SET is the
folder of a training set with long records, for speed only (AUGUSTUS takes a minute per Mb). Writes docs/eukaryotes.md
and the table in README.md.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pages import ROOT, fill, table
from profile_speed import measure

from lstmhmm_bio.agreement import Score
from lstmhmm_bio.evaluation import evaluate
from lstmhmm_bio.io import read_records
from lstmhmm_bio.io.reference import Transcript, read_reference

#: model and AUGUSTUS' species of a set, by the beginning of its name
MODELS = {
    "scer": ("yeasts", "saccharomyces_cerevisiae_S288C"),
    "spom": ("yeasts", "schizosaccharomyces_pombe"),
    "dmel": ("drosophila", "fly"),
    "atha": ("eudicots", "arabidopsis"),
}
LEVELS = ("base", "exon", "intron", "gene")
HEADER = (
    "set", "model", "base F1", "exon F1", "intron F1", "gene F1", "CPU s",
    "AUGUSTUS: exon F1", "intron F1", "gene F1", "CPU s", "lstmhmm times as fast",
)  # fmt: skip
RESAMPLINGS = 2000
#: bases of the stretches of a record that are resampled; cuts lie between genes
BLOCK = 5000

#: of each record, scores by level
Scores = dict[str, dict[str, Score]]


@dataclass(frozen=True)
class Run:
    """One program on one set."""

    genes: list[Transcript]
    scores: Scores
    cpu: float

    def f1(self, level: str) -> float:
        """In per cent."""
        return f1_of([of_record[level] for of_record in self.scores.values()])


def f1_of(scores: Sequence[Score]) -> float:
    """F1 of all records together, in per cent."""
    return 100 * together_of(scores).f1


def together_of(scores: Sequence[Score]) -> Score:
    """The score of all records together."""
    sums = np.array([(s.reference, s.predicted, s.matched_reference, s.matched_predicted) for s in scores]).sum(axis=0)
    return Score(*sums.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--long", type=Path)
    arguments = parser.parse_args()
    rows, fly, gains = [], [], []
    for folder in sorted(arguments.folder.iterdir()):
        if folder.name[:4] not in MODELS:
            continue
        model, species = MODELS[folder.name[:4]]
        ours, theirs = lstmhmm(folder, model), augustus(folder, species)
        rows.append(cells_of(folder.name, model, ours, theirs))
        for evidence in sorted([*folder.glob("*.bam"), *folder.glob("rnaseq_*.gff3")]):
            informed = lstmhmm(folder, model, evidence)
            rows.append(cells_of(f"{folder.name} with {evidence.name}", model, informed, None))
            gains.append(gain(folder, ours, informed))
        if model == "drosophila" and theirs:
            fly.append((ours, theirs))
    page = table(HEADER, rows)
    on_long = long_records(arguments.long) if arguments.long else "Not measured on longer records."
    if gains:
        gains.append("(95 % intervals of a paired bootstrap over blocks of 5 kb.)")
    report = REPORT.format(table=page, gains=" ".join(gains) or "No RNA-seq.", fly=together(fly), long=on_long)
    (ROOT / "docs/eukaryotes.md").write_text(report, "utf-8")
    fill("eukaryotes", page)


def long_records(folder: Path) -> str:
    """Speed where start-up counts little."""
    model, species = MODELS[folder.name[:4]]
    megabases = sum(len(record) for record in read_records(str(folder / "genome.fa.gz"))) / 1e6
    ours, theirs = lstmhmm(folder, model), augustus(folder, species)
    text = f"On {megabases:.1f} Mb of the training set `{folder.name}`, lstmhmm took {ours.cpu:.1f} CPU seconds"
    if theirs is None:
        return f"{text}; AUGUSTUS was not run."
    return f"{text} and AUGUSTUS {theirs.cpu:.1f}: {theirs.cpu / ours.cpu:.1f} times as fast."


def lstmhmm(folder: Path, model: str, evidence: Path | None = None) -> Run:
    """Annotates a set as a user would; the second time is measured, when all programs are compiled."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "genes.gff3"
        command = [sys.executable, "-m", "lstmhmm_bio", "annotate", str(folder / "genome.fa.gz"), "--model", model]
        command += ["-t", "1", "-o", str(out), "--quiet", *(["--evidence", str(evidence)] if evidence else [])]
        _, cpu, _ = [measure(command, dict(os.environ)) for _ in range(2)][-1]
        return run_of(folder, out, cpu)


def augustus(folder: Path, species: str) -> Run | None:
    """The same by AUGUSTUS, ab initio; None where it is not installed."""
    if shutil.which("augustus") is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        genome, out = Path(temporary) / "genome.fa", Path(temporary) / "genes.gff3"
        with gzip.open(folder / "genome.fa.gz") as source, genome.open("wb") as target:
            shutil.copyfileobj(source, target)
        command = ["augustus", f"--species={species}", "--gff3=on", f"--outfile={out}", str(genome)]
        _, cpu, _ = measure(command, dict(os.environ))
        return run_of(folder, out, cpu)


def run_of(folder: Path, prediction: Path, cpu: float) -> Run:
    """A run by what it wrote."""
    genes = read_reference(prediction, allow_empty=True).transcripts
    return Run(genes, scores_of(folder, genes), cpu)


def scores_of(folder: Path, genes: Sequence[Transcript]) -> Scores:
    """Of each record of a set."""
    genome = {record.id: record.codes for record in read_records(str(folder / "genome.fa.gz"))}
    of_truth, of_guess = _by_record(_truth(folder)), _by_record(genes)
    if folder.name.endswith("_trainset"):
        of_guess = {seqid: _beside(of_guess.get(seqid, []), known) for seqid, known in of_truth.items()}
    return {
        seqid: evaluate(of_truth.get(seqid, []), of_guess.get(seqid, []), "euk", genome={seqid: codes}).scores
        for seqid, codes in genome.items()
    }


def _truth(folder: Path) -> list[Transcript]:
    return read_reference(folder / "annotation.gff3.gz").transcripts


def _by_record(transcripts: Sequence[Transcript]) -> dict[str, list[Transcript]]:
    found: dict[str, list[Transcript]] = defaultdict(list)
    for transcript in transcripts:
        found[transcript.seqid].append(transcript)
    return dict(found)


def _beside(predicted: Sequence[Transcript], genes: Sequence[Transcript]) -> list[Transcript]:
    """Those that share a strand and bases, exon or intron, with one of the genes."""

    def meets(a: Transcript, b: Transcript) -> bool:
        return a.strand == b.strand and a.segments[0][0] < b.segments[-1][1] and b.segments[0][0] < a.segments[-1][1]

    return [p for p in predicted if any(meets(p, gene) for gene in genes)]


def cells_of(name: str, model: str, ours: Run, theirs: Run | None) -> list[str]:
    cells = [name, model, *(f"{ours.f1(level):.1f}" for level in LEVELS), f"{ours.cpu:.1f}"]
    print(*cells, sep="  ", file=sys.stderr)
    if theirs is None:
        return cells + [""] * 5
    return [*cells, *(f"{theirs.f1(x):.1f}" for x in LEVELS[1:]), f"{theirs.cpu:.1f}", f"{theirs.cpu / ours.cpu:.1f}"]


def resampled(ours: Sequence[Score], theirs: Sequence[Score]) -> list[float]:
    """Differences of F1 over paired bootstrap samples of records, or of blocks."""
    samples = np.random.default_rng(1).integers(len(ours), size=(RESAMPLINGS, len(ours)))
    return [f1_of([ours[i] for i in s]) - f1_of([theirs[i] for i in s]) for s in samples]


def gain(folder: Path, without: Run, informed: Run) -> str:
    """What evidence adds to gene F1, with a paired bootstrap over blocks of the genome."""
    sides = [_truth(folder), without.genes, informed.genes]
    blocks = [[evaluate(truth, genes, "euk").scores["gene"] for genes in found] for truth, *found in _blocks(sides)]
    gains = resampled(*([of_block[side] for of_block in blocks] for side in (1, 0)))
    low, high = np.quantile(gains, (0.025, 0.975))
    found = informed.f1("gene") - without.f1("gene")
    return f"RNA-seq adds {found:+.1f} to the gene F1 of `{folder.name}` ({low:+.1f} to {high:+.1f})."


def _blocks(sides: Sequence[Sequence[Transcript]]) -> list[list[list[Transcript]]]:
    """Transcripts of each side, cut where none of any side lies, into blocks of at least `BLOCK` bases each."""
    blocks: list[list[list[Transcript]]] = []
    for seqid in sorted({t.seqid for side in sides for t in side}):
        found = [(t.segments[0][0], t.segments[-1][1], i, t) for i, side in enumerate(sides) for t in side]
        begin = reach = -BLOCK
        for start, end, i, t in sorted((x for x in found if x[-1].seqid == seqid), key=lambda x: x[:3]):
            if start >= max(reach, begin + BLOCK):
                begin = start
                blocks.append([[] for _ in sides])
            blocks[-1][i].append(t)
            reach = max(reach, end)
    return blocks


def together(runs: Sequence[tuple[Run, Run]]) -> str:
    """Both programs on all sets of fly together, with the standard error of the difference."""
    if not runs:
        return "AUGUSTUS was not run."
    pairs = [(a.scores[seqid], b.scores[seqid]) for a, b in runs for seqid in a.scores]
    found = []
    for level in ("exon", "gene"):
        sides = [[scores[level] for scores in side] for side in zip(*pairs, strict=True)]
        ours, theirs = map(f1_of, sides)
        error = np.std(resampled(*sides))
        found.append(f"{level} F1 {ours:.1f} and {theirs:.1f} (standard error of the difference {error:.1f})")
    return f"Both fly sets together, lstmhmm and AUGUSTUS: {'; '.join(found)}."


REPORT = """# Accuracy on eukaryotes

Written by `python benchmarks/eukaryotes.py`. Validation sequence that no model was trained on: other chromosomes of the
same species (the species themselves are in the training data). F1 in percent of coding bases, of exons and introns with
both ends right, and of genes with all exons right, against the reference annotation. The columns on the right are those
of AUGUSTUS 3.5 on the same files in the same run, ab initio, with the parameters of the species (those of *Arabidopsis*
and fly were trained on the same species). CPU seconds of one thread, start-up included. Of `dmel_chr2R_trainset`,
windows around one annotated gene each, predictions elsewhere than on that gene are set aside.

{table}
{gains}

{fly} (Standard errors by resampling records.)

{long}
"""


if __name__ == "__main__":
    main()
