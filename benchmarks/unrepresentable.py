"""How many annotated genes the grammar cannot represent, and which CDS are masked in training.

    python benchmarks/unrepresentable.py [FOLDER]

FOLDER holds one folder per genome with ``genome.fa.gz`` and ``annotation.gff3.gz``. Writes docs/unrepresentable.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from pages import ROOT, table

from lstmhmm_bio.training.labelling import load_genome

#: what the grammar cannot say; the other reasons are doubts about the label
GRAMMAR = ("unusual start codon", "overlap not in the grammar")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared/data/train/prok")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/unrepresentable.md")
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    counts, genes = [], 0
    for fasta in sorted(arguments.folder.glob("*/genome.fa.gz")):
        name = fasta.parent.name
        genome = load_genome(fasta, fasta.with_name("annotation.gff3.gz"), name=name, clade=name)
        counts.append((name, genome.genes, genome.unrepresentable))
        total.update(genome.unrepresentable)
        genes += genome.genes
    if not counts:
        parser.error(f"{arguments.folder}: no folder in it has a genome.fa.gz")
    reasons = [*GRAMMAR, *sorted((r for r in total if r not in GRAMMAR and total[r]), key=lambda r: (-total[r], r))]

    def row(name: str, genes: int, why: dict[str, int]) -> list[str]:
        return [name, f"{genes:,}", *(f"{why.get(r, 0):,}" for r in reasons)]

    rows = [row(*count) for count in counts]
    impossible = sum(total[r] for r in GRAMMAR)
    share = 100 * impossible / (genes + total["unusual start codon"])
    arguments.output.write_text(
        f"""# Genes that cannot be represented

Written by `python benchmarks/unrepresentable.py` from the training genomes, which hold {genes:,} genes that serve as
labels. The grammar has no path for {impossible:,} genes ({share:.2f} % of those that are not in doubt):

- *unusual start codon*: {total[GRAMMAR[0]]:,} genes begin with a codon that the model does not start at. Such a gene
  can still be found, with another start.
- *overlap not in the grammar*: {total[GRAMMAR[1]]:,} genes lie over two others at once, or inside another gene in its
  own frame. (A gene inside another on the same strand in another frame, and any overlap with the opposite strand, can
  be represented.)

The other columns are CDS that are no labels because they are in doubt: *flagged* by the annotation (pseudogenes,
partial, exceptions, failed checks) or at odds with their own genetic code. Training allows any path over all of these.

{table(("genome", "labels", *reasons), [*rows, row("**all**", genes, total)])}""",
        "utf-8",
    )


if __name__ == "__main__":
    main()
