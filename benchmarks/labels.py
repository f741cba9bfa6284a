"""Base-level accuracy of a segmentation by labels, per label, against an annotation.

    lstmhmm segment genome.fa --model model/ -o out.bed
    python benchmarks/labels.py genome.fa annotation.gff3 out.bed --types CDS,tRNA,rRNA --background other

Both strands of every base count once; bases that are masked in the annotation (pseudogenes, partial and exceptional
features) or carry two labels there do not. `--genes` reads a GFF3 of genes (`lstmhmm annotate`) instead of the BED, for
comparison: its CDS against the background.
"""

from __future__ import annotations

import argparse

import numpy as np

from lstmhmm_bio.hmm.grammars.labels import Labels, lattice
from lstmhmm_bio.io import read_records
from lstmhmm_bio.io.labels import read_labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("genome")
    parser.add_argument("annotation")
    parser.add_argument("found")
    parser.add_argument("--types", default="CDS,tRNA,rRNA")
    parser.add_argument("--background", default="other")
    parser.add_argument("--genes", action="store_true")
    arguments = parser.parse_args()
    types = arguments.types.split(",")
    labels = Labels.of_names(types, background=arguments.background)
    truth = read_labels(arguments.annotation, types)
    found = read_labels(arguments.found, ["CDS"] if arguments.genes else ())
    counts = np.zeros((len(labels.names), 3), np.int64)  # in both, in the annotation, found
    for record in read_records(arguments.genome):
        right, called = (lattice(len(record), rows.get(record.id, []), labels) for rows in (truth, found))
        certain = (right & (right - 1)) == 0
        for i in range(len(labels.names)):
            a, b = (right == 1 << i) & certain, (called == 1 << i) & certain
            counts[i] += (a & b).sum(), a.sum(), b.sum()
    for name, (both, true, positive) in zip(labels.names, counts.tolist(), strict=True):
        recall, precision = both / max(true, 1), both / max(positive, 1)
        f1 = 2 * both / max(true + positive, 1)
        print(f"{name}\t{true} bases\trecall {recall:.4f}\tprecision {precision:.4f}\tF1 {f1:.4f}")


if __name__ == "__main__":
    main()
