"""The finished model on genomes that it was not fitted to: annotated as a user would, compared with their reference."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..agreement import Mode, Score
from ..annotate import Annotator
from ..evaluation import evaluate_files
from ..io import Gff3Writer, open_output, read_records
from ..model import Model
from .sheet import SheetRow

#: mode of `lstmhmm evaluate` and the levels that are reported, by kind of grammar
LEVELS: dict[str, tuple[Mode, tuple[str, ...]]] = {
    "bacteria": ("prok", ("stop", "exact")),
    "eukaryote": ("euk", ("base", "exon", "intron", "gene")),
}


def held_out_scores(model: Model, genomes: Sequence[SheetRow]) -> dict[str, dict[str, Score]]:
    """Scores of each genome, by its name and level.

    Raises:
        InputError: a genome or its annotation cannot be read.
    """
    mode, levels = LEVELS[model.grammar.kind]
    found = {}
    for genome in genomes:
        annotator = Annotator(model, genetic_code=genome.genetic_code)
        calibration = annotator.calibrate(read_records(str(genome.fasta)))
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "genes.gff3")
            with open_output(path) as handle:
                writer = Gff3Writer(handle, provenance=model.name)
                for annotation in annotator.annotate(read_records(str(genome.fasta)), calibration):
                    writer.write(annotation)
            scores = evaluate_files(str(genome.annotation), path, mode).scores
        found[genome.name] = {level: scores[level] for level in levels}
    return found
