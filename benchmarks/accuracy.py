"""Accuracy of lstmhmm and Pyrodigal, side by side, on annotated genomes.

    python benchmarks/accuracy.py [FOLDER] [--contigs 1000 2000 5000 20000]

FOLDER holds one folder per genome with ``genome.fa.gz`` and ``annotation.gff3.gz``. Both programs see the same files in
the same run; what they write is scored by `lstmhmm_bio.evaluation`. Pyrodigal is trained on each genome ("single"
mode; "meta" below 20 kb), both get the annotation's genetic code. With --contigs, contigs of these lengths are cut from
the genomes, shuffled, and annotated as metagenomes by both. Writes docs/accuracy.md and the summary in README.md.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pages import ROOT, fill, table, versions

from lstmhmm_bio import runtime

if TYPE_CHECKING:
    from lstmhmm_bio.agreement import Call

LEVELS = {"stop": ("sensitivity", "precision", "f1"), "exact": ("f1",), "start|stop": ("sensitivity",)}
HEADER = ("stop sens.", "stop prec.", "stop F1", "exact F1", "start given stop")
SINGLE_MODE_FROM = 20_000  # bases; Pyrodigal does not train on less
MANY_GENES = 500
RESAMPLINGS = 10_000
#: not cut into contigs: too small, and of another genetic code, which Pyrodigal's meta mode does not take
NOT_CUT = ("phage", "mbovis")
CONTIGS_PER_GENOME = 300


@dataclass(frozen=True)
class Comparison:
    """Both programs on one genome.

    Attributes:
        name: of the set.
        sequences: names of its records.
        code: NCBI genetic code.
        genes: judged reference genes.
        scores: [2, 5] in per cent, rows lstmhmm and Pyrodigal, columns as in `HEADER`.
        units: [genes, 2, 2, 2] bool, every gene that the reference or one of the programs has, by its stop: (stop, both
            ends), (lstmhmm, Pyrodigal), (called, right).
    """

    name: str
    sequences: tuple[str, ...]
    code: int
    genes: int
    scores: np.ndarray
    units: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared/data/valid/prok")
    parser.add_argument("--contigs", type=int, nargs="+", metavar="LENGTH", default=[], help="also score cut contigs")
    parser.add_argument(
        "--cutter", type=Path, default=ROOT.parent / "shared/tools/cut_contigs.py", help="for --contigs"
    )
    parser.add_argument("--model", default="bacteria", help="bundled name or path")
    parser.add_argument("--threads", type=int, default=0, help="default: all cores")
    parser.add_argument("-o", "--output", type=Path, help="another page; README.md then stays as it is")
    arguments = parser.parse_args()
    runtime.configure(arguments.threads, "cpu")

    sets = sorted(p.parent for p in arguments.folder.glob("*/genome.fa.gz"))
    if not sets:
        parser.error(f"{arguments.folder}: no folder in it has a genome.fa.gz")
    genomes = []
    for folder in sets:
        files = folder / "genome.fa.gz", folder / "annotation.gff3.gz"
        genomes.append(compare(folder.name, *files, model=arguments.model))
        print(*row(genomes[-1].name, genomes[-1].scores), sep="  ", file=sys.stderr)
    contigs = []
    for length in arguments.contigs:
        contigs.append(compare_contigs(sets, length, arguments.cutter, model=arguments.model))
        print(*row(contigs[-1].name, contigs[-1].scores), sep="  ", file=sys.stderr)

    page = arguments.output or ROOT / "docs/accuracy.md"
    page.write_text(report(genomes, contigs, arguments.model), "utf-8")
    if not arguments.output:
        fill("accuracy", summary(genomes, contigs))


# ---- running both programs


def compare(name: str, fasta: Path, annotation: Path, *, model: str, meta: bool = False) -> Comparison:
    from lstmhmm_bio.evaluation import evaluate_files
    from lstmhmm_bio.io import read_records
    from lstmhmm_bio.io.reference import common_code, read_transcripts

    code = common_code(read_transcripts(annotation)) or 11
    sequences = tuple(record.id for record in read_records(str(fasta)))
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        for run in (run_lstmhmm, run_pyrodigal):
            prediction = Path(temporary) / f"{run.__name__}.gff3"
            run(fasta, prediction, code=code, meta=meta, model=model)
            results.append(evaluate_files(annotation, prediction, genome=fasta, keep_partial=meta))
    scores = [[100 * getattr(r.scores[level], m) for level, ms in LEVELS.items() for m in ms] for r in results]
    genes = [(o.seqid, o.strand, o.stop) for o in results[0].outcomes]
    return Comparison(name, sequences, code, len(genes), np.array(scores), units(genes, [r.calls for r in results]))


def units(genes: Iterable[tuple[str, str, int]], calls: Sequence[Sequence[Call]]) -> np.ndarray:
    """`Comparison.units` of the reference's genes, which come first, and of both programs' calls."""
    index = {gene: i for i, gene in enumerate(genes)}
    for call in itertools.chain(*calls):
        index.setdefault((call.seqid, call.strand, call.stop), len(index))
    out = np.zeros((len(index), 2, 2, 2), bool)
    for program, own in enumerate(calls):
        for call in own:
            out[index[call.seqid, call.strand, call.stop], :, program] = (
                (True, call.right_stop),
                (True, call.right_start),
            )
    return out


def compare_contigs(sets: Iterable[Path], length: int, cutter: Path, *, model: str) -> Comparison:
    cut = [str(folder) for folder in sets if not folder.name.startswith(NOT_CUT)]
    with tempfile.TemporaryDirectory() as temporary:
        stem = f"{temporary}/contigs"
        options = ["--length", str(length), "--per-genome", str(CONTIGS_PER_GENOME), "--seed", "1", "-o", stem]
        subprocess.run([sys.executable, str(cutter), *options, *cut], check=True)
        return compare(f"{length:,} bases", Path(stem + ".fa"), Path(stem + ".gff3"), model=model, meta=True)


def run_lstmhmm(fasta: Path, output: Path, *, code: int, meta: bool, model: str) -> None:
    from lstmhmm_bio.annotate import Annotator
    from lstmhmm_bio.io import Gff3Writer, open_output, read_records
    from lstmhmm_bio.model import load_model

    annotator = Annotator(load_model(model), genetic_code=code)
    learn = annotator.calibrate_groups if meta else annotator.calibrate
    calibration = learn(read_records(str(fasta)))
    with open_output(str(output)) as handle:
        writer = Gff3Writer(handle)
        for annotation in annotator.annotate(read_records(str(fasta)), calibration):
            writer.write(annotation)


def run_pyrodigal(fasta: Path, output: Path, *, code: int, meta: bool, model: str) -> None:
    import pyrodigal

    records = read_fasta(fasta)
    finder = pyrodigal.GeneFinder(meta=meta or sum(map(len, records.values())) < SINGLE_MODE_FROM)
    if not finder.meta:
        with warnings.catch_warnings():  # it prefers to train on 100 kb
            warnings.simplefilter("ignore")
            finder.train(*records.values(), translation_table=code)
    with output.open("w") as handle:
        for n, (name, sequence) in enumerate(records.items()):
            finder.find_genes(sequence).write_gff(handle, sequence_id=name, header=n == 0)


def read_fasta(path: Path) -> dict[str, bytes]:
    """Sequences by name, read without lstmhmm."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    entries = (entry.partition(b"\n") for entry in data.split(b">")[1:])
    return {head.split()[0].decode(): b"".join(body.split()) for head, _, body in entries}


# ---- writing it down


def row(name: str, scores: np.ndarray) -> list[str]:
    """Cells "lstmhmm / Pyrodigal (difference)"."""
    return [name, *(f"{a:.2f} / {b:.2f} ({a - b:+.2f})" for a, b in scores.T)]


def mean_rows(genomes: list[Comparison]) -> list[list[str]]:
    large = [g for g in genomes if g.genes >= MANY_GENES]
    rows = [row(f"**mean of {len(genomes)}**", np.mean([g.scores for g in genomes], axis=0))]
    if 0 < len(large) < len(genomes):
        name = f"**mean of the {len(large)} with >= {MANY_GENES} genes**"
        rows.append(row(name, np.mean([g.scores for g in large], axis=0)))
    return rows


def gains(genome: Comparison, weights: np.ndarray) -> np.ndarray:
    """[samples, 2] F1 of lstmhmm less that of Pyrodigal, per cent, of stops and of both ends.

    Args:
        genome: both programs' genes.
        weights: [samples, units], how often a sample holds each of `Comparison.units`.
    """
    reference = weights[:, : genome.genes].sum(1)[:, None, None]
    called, right = np.moveaxis(np.tensordot(weights, genome.units.astype(np.float32), 1), -1, 0)
    f1 = 200 * right / (reference + called)
    return f1[..., 0] - f1[..., 1]


def resampled(genome: Comparison) -> np.ndarray:
    """`gains` of samples of the units, drawn with replacement."""
    rng, n = np.random.default_rng(1), len(genome.units)
    samples = []
    for _ in range(RESAMPLINGS // 100):
        draws = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(100)]
        samples.append(gains(genome, np.stack(draws).astype(np.float32)))
    return np.concatenate(samples)


def interval(mean: np.ndarray, samples: np.ndarray) -> list[str]:
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    return [f"{m:+.2f} ({a:+.2f} to {b:+.2f})" for m, a, b in zip(mean, low, high, strict=True)]


def bootstrap_rows(genomes: list[Comparison]) -> list[list[str]]:
    means = [gains(g, np.ones((1, len(g.units)), np.float32))[0] for g in genomes]
    samples = [resampled(g) for g in genomes]
    rows = [[g.name, *interval(m, s)] for g, m, s in zip(genomes, means, samples, strict=True)]
    if len(genomes) > 1:
        rows.append(["**mean**", *interval(np.mean(means, axis=0), np.mean(samples, axis=0))])
    return rows


def report(genomes: list[Comparison], contigs: list[Comparison], model: str) -> str:
    names = [
        [g.name, ", ".join(g.sequences[:3]) + (" ..." if len(g.sequences) > 3 else ""), str(g.code), f"{g.genes:,}"]
        for g in genomes
    ]
    text = f"""# Accuracy

Written by `python benchmarks/accuracy.py`: {versions(model)}.

Every cell is lstmhmm / Pyrodigal (difference), in per cent; both annotated the same files in the same run. None of
these genomes was trained on, but settings were chosen on them. *Stop*: genes with the right 3' end. *Exact*: both ends
right. *Start given stop*: of the genes with the right 3' end, those with the right start. Genes that the reference
flags (pseudogenes, partial, with exceptions) and predictions that lie mostly on them are set aside. Pyrodigal was
trained on each genome (single mode), lstmhmm calibrated itself; both were given the genetic code. What is "right" is
what the reference annotation says: most annotated starts are themselves predictions, many by tools of Prodigal's kind.

{table(("genome", *HEADER), [*(row(g.name, g.scores) for g in genomes), *mean_rows(genomes)])}
## Genomes

{table(("genome", "sequences", "genetic code", "genes judged"), names, text_columns=2)}
## Is the difference more than chance?

Difference of the F1 (lstmhmm - Pyrodigal, percentage points) with 95 % intervals from {RESAMPLINGS:,} paired
bootstrap samples of the genes, annotated or called by either program, of each genome. They say how sure the difference
on *these genomes* is; other genomes differ more than genes do.

{table(("genome", "stop F1", "exact F1"), bootstrap_rows(genomes))}"""
    if contigs:
        sure = [[c.name, f"{c.genes:,}", *bootstrap_rows([c])[0][1:]] for c in contigs]
        text += f"""
## Contigs of metagenomes

Up to {CONTIGS_PER_GENOME} contigs of one length from each genome but the phage and those of genetic code 4, shuffled
into one file; a cut gene counts with its whole codons inside the contig. `lstmhmm annotate --meta`, in which the
contigs of a file that are alike learn from each other, against Pyrodigal's meta mode, which takes each by itself.

{table(("contigs", *HEADER), [row(c.name, c.scores) for c in contigs])}
{table(("contigs", "genes judged", "stop F1", "exact F1"), sure)}"""
    return text


def summary(genomes: list[Comparison], contigs: list[Comparison]) -> str:
    """Means, for README.md."""
    rows = [[f"{len(genomes)} genomes", *row("", np.mean([g.scores for g in genomes], axis=0))[1:]]]
    rows += [row(f"contigs of {c.name}, `--meta`", c.scores) for c in contigs]
    return table(("lstmhmm / Pyrodigal (difference), %", *HEADER), rows)


if __name__ == "__main__":
    main()
