"""Fits the weights of RNA-seq evidence, prints them as the table `evidence` of recipes/recipes.toml, and writes the
share of them that counts into model cards.

    python benchmarks/fit_evidence.py FASTA ANNOTATION EVIDENCE... --share 0.7 --cards lstmhmm_bio/models/eudicots.toml

EVIDENCE are spliced alignments of the genome FASTA or GFF files with intron rows. What is fitted is in
`lstmhmm_bio.evidence`.
"""

from __future__ import annotations

import argparse
import tomllib
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import tomli_w

from lstmhmm_bio.evidence import IntronEvidence, fit
from lstmhmm_bio.io import read_records
from lstmhmm_bio.io.introns import Intron
from lstmhmm_bio.io.reference import read_transcripts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fasta")
    parser.add_argument("annotation")
    parser.add_argument("evidence", nargs="+")
    parser.add_argument("--share", type=float, default=1.0, help="of the log odds that counts (default: all)")
    parser.add_argument("--cards", nargs="+", type=Path, default=[])
    arguments = parser.parse_args()
    records = list(read_records(arguments.fasta))
    introns: defaultdict[str, set[Intron]] = defaultdict(set)
    for t in read_transcripts(arguments.annotation):
        if not t.unsure:
            introns[t.seqid].update((a[1], b[0], t.strand) for a, b in pairwise(t.segments))
    evidence = IntronEvidence.read(arguments.evidence, sequences={r.id: r.codes for r in records})
    weights = fit(records, introns, evidence)
    print(tomli_w.dumps({"evidence": {"share": arguments.share} | weights.card()}))
    for path in arguments.cards:
        card = tomllib.loads(path.read_text("utf-8"))
        card["evidence"] = weights.shared(arguments.share).card()
        path.write_text(tomli_w.dumps(card), "utf-8")


if __name__ == "__main__":
    main()
