"""Measures untranslated regions found by RNA-seq against an annotation that has them.

    python benchmarks/untranslated.py SET [--model eudicots] [-o docs/untranslated.md]

SET is a folder with genome.fa.gz, annotation.gff3.gz and alignments (*.bam). `lstmhmm annotate --evidence --utr` runs
on it, and at both ends of every gene whose CDS is right the transcript's end is compared with that of the nearest
annotated isoform of the same CDS.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from pages import table, version

from lstmhmm_bio.io.reference import Transcript, read_transcripts

NEAR = (20, 50, 100)


def main() -> None:
    """Annotates, compares, writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("--model", default="eudicots")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    reference = read_transcripts(arguments.set / "annotation.gff3.gz")
    with tempfile.TemporaryDirectory() as folder:
        predicted = read_transcripts(annotated(arguments.set, arguments.model, Path(folder) / "genes.gff3"))
    text = page(arguments.set.name, arguments.model, reference, predicted)
    if arguments.output:
        arguments.output.write_text(text)
    else:
        sys.stdout.write(text)


def annotated(folder: Path, model: str, output: Path) -> Path:
    """Genes with untranslated regions of a set, as a file."""
    evidence = [word for bam in sorted(folder.glob("*.bam")) for word in ("--evidence", str(bam))]
    command = [sys.executable, "-m", "lstmhmm_bio", "annotate", str(folder / "genome.fa.gz"), "--model", model]
    subprocess.run([*command, *evidence, "--utr", "--quiet", "-o", str(output)], check=True)
    return output


def page(name: str, model: str, reference: list[Transcript], predicted: list[Transcript]) -> str:
    """The comparison as Markdown."""
    isoforms: defaultdict[tuple[str, str, tuple[tuple[int, int], ...]], list[Transcript]] = defaultdict(list)
    for t in reference:
        isoforms[t.seqid, t.strand, t.segments].append(t)
    pairs = [(t, isoforms[key]) for t in predicted if (key := (t.seqid, t.strand, t.segments)) in isoforms]
    rows = []
    for prime, end in ((5, 0), (3, 1)):
        mine = [outside(t)[end] for t, _ in pairs]
        theirs = [[outside(isoform)[end] for isoform in known] for _, known in pairs]
        both = [(m, min(t, key=lambda x, m=m: abs(x - m))) for m, t in zip(mine, theirs, strict=True) if m and any(t)]
        difference = np.array([m - t for m, t in both])
        away = np.abs(difference)
        missed = sum(not m and any(t) for m, t in zip(mine, theirs, strict=True))
        extra = sum(m > 0 and not any(t) for m, t in zip(mine, theirs, strict=True))
        row = [f"{prime}'", str(len(both)), str(missed), str(extra), f"{np.median(difference):+.0f}"]
        rows.append([*row, f"{np.median(away):.0f}", *(f"{100 * (away <= near).mean():.0f} %" for near in NEAR)])
    found = [(spliced(t), set().union(*map(spliced, known))) for t, known in pairs]
    right = sum(len(a & b) for a, b in found)
    header = ["end", "both have a UTR", "only the annotation", "only lstmhmm", "median difference", "median distance"]
    return (
        "# Untranslated regions\n\n"
        f"Written by `python benchmarks/untranslated.py`: {version(model)}.\n\n"
        f"{name} with its RNA-seq: {len(predicted)} genes, of {len(pairs)} of which the whole\n"
        "CDS is annotated. At their ends, in bases of the genome (a negative difference: the annotated transcript\n"
        "reaches farther; of several isoforms the one counts whose end is nearest):\n\n"
        + table(header + [f"within {near}" for near in NEAR], rows)
        + f"\nIntrons outside the CDS: {sum(len(a) for a, _ in found)} found, {right} of them annotated; all isoforms "
        f"together have {sum(len(b) for _, b in found)}.\n"
    )


def outside(t: Transcript) -> tuple[int, int]:
    """How far a transcript reaches beyond its CDS, before and behind it in reading direction, in bases of genome."""
    exons = t.exons or t.segments
    left, right = t.start - min(exons[0][0], t.start), max(exons[-1][1], t.end) - t.end
    return (left, right) if t.strand == "+" else (right, left)


def spliced(t: Transcript) -> set[tuple[int, int]]:
    """A transcript's introns outside the CDS."""
    introns = {(a[1], b[0]) for a, b in pairwise(t.exons)}
    return {(start, end) for start, end in introns if end <= t.start or start >= t.end}


if __name__ == "__main__":
    main()
