"""A table with one line per genome, as MultiQC's custom content (https://docs.seqera.io/multiqc/custom_content).

Run by Snakemake: reads the GFF3 files and the evaluations as JSON, and writes a `*_mqc.tsv`.
"""

import json
from pathlib import Path

HEADER = """\
# id: "lstmhmm"
# section_name: "lstmhmm"
# description: "Protein-coding genes, and their agreement with a reference where there is one."
# format: "tsv"
# plot_type: "table"
# pconfig:
#     id: "lstmhmm_table"
#     title: "lstmhmm: genes"
#     namespace: "lstmhmm"
# headers:
#     genes: {title: "Genes", format: "{:,.0f}", scale: "Blues"}
#     partial: {title: "Partial", description: "genes cut by the end of a record", format: "{:,.0f}"}
#     density: {title: "Coding", description: "share of the bases that lie in genes", suffix: " %", max: 100, min: 0}
#     score: {title: "Mean score", description: "mean probability of a gene", max: 1, min: 0, format: "{:,.3f}"}
#     stop_f1: {title: "Stop F1", description: "of right 3' ends", suffix: " %", max: 100, min: 0}
#     exact_f1: {title: "Exact F1", description: "both ends right", suffix: " %", max: 100, min: 0}
"""
COLUMNS = ("Sample", "genes", "partial", "density", "score", "stop_f1", "exact_f1")


def figures_of(genes: Path) -> dict[str, float]:
    """What a GFF3 file of lstmhmm tells of a genome."""
    bases = coding = count = partial = 0
    scores = 0.0
    end = 0
    for line in genes.read_text().splitlines():
        if line.startswith("##sequence-region"):
            bases += int(line.split()[3])
            end = 0
        elif "\tgene\t" in line:
            columns = line.split("\t")
            first, last = int(columns[3]) - 1, int(columns[4])
            coding += max(0, last - max(first, end))  # genes overlap
            end = max(end, last)
            count += 1
            partial += "partial=true" in columns[8]
            scores += float(columns[5])
    return {
        "genes": count,
        "partial": partial,
        "density": round(100 * coding / max(bases, 1), 2),
        "score": round(scores / max(count, 1), 4),
    }


def agreement(evaluation: Path) -> dict[str, float]:
    """F1 of stops and of whole genes, in %."""
    scores = json.loads(evaluation.read_text())["scores"]
    return {f"{level}_f1": round(100 * scores[level]["f1"], 2) for level in ("stop", "exact")}


def main(genes: list[str], evaluations: list[str], output: str) -> None:
    """Writes the table; a genome is named after the folder of its files."""
    scores = {Path(path).parent.name: agreement(Path(path)) for path in evaluations}
    rows = []
    for path in map(Path, genes):
        row = {"Sample": path.parent.name, **figures_of(path), **scores.get(path.parent.name, {})}
        rows.append("\t".join(str(row.get(column, "")) for column in COLUMNS))
    Path(output).write_text("\n".join([HEADER + "\t".join(COLUMNS), *rows]) + "\n")


if "snakemake" in globals():
    job = globals()["snakemake"]
    main(job.input.genes, job.input.evaluations, job.output[0])
