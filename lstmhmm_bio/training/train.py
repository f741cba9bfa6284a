"""From sheets of genomes to a model with its card: what `lstmhmm train` does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..annotate import Annotator
from ..features import Record
from ..hmm.grammars import decoding_grammar, eukaryote, training_grammar
from ..io import read_records
from ..model import Model, load_model, save_model
from ..nn.network import NetworkConfig
from .dataset import Batch, LabeledGenome, WindowSampler
from .held_out import held_out_scores
from .labelling import AT_AC, Doubtful, load_genome
from .loop import TrainingConfig, train
from .run import Run, check_sizes
from .sheet import SheetRow

VALIDATION_BATCHES = 3  # per genetic code
SITE_WEIGHT = 0.2
MARGIN = 300  # bases beside a gene that a model finds where the annotation has none
ACCESSIONS = 12  # of a genome's sequences that its model's card names


def fit(
    genomes: list[SheetRow],
    valid: list[SheetRow],
    folder: Path,
    *,
    name: str,
    kind: str,
    network: dict[str, int],
    training: dict[str, Any],
    batch: int,
    window: int,
    sampling: dict[str, Any] | None = None,
    start_from: str | None = None,
    max_minutes: float | None = None,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains a model and writes it; returns the path of its card.

    Args:
        genomes: to fit.
        valid: to score while training, and the finished model on in full.
        folder: for checkpoint, log (`progress.jsonl`) and model.
        name: of the model.
        kind: of its grammar; when fine-tuning that of the model counts.
        network: fields of `NetworkConfig`; when fine-tuning those of the model count.
        training: fields of `TrainingConfig`.
        batch: windows a step, a multiple of 4.
        window: bases a window, a multiple of the network's stride.
        sampling: settings of `WindowSampler` other than its defaults.
        start_from: a model to fine-tune.
        max_minutes: stop early after this time.
        workers: threads that prepare windows.
        say: gets progress lines.

    Raises:
        UsageError: sizes that do not fit together.
        InputError: unreadable genomes, or a checkpoint of another configuration in `folder`.
    """
    base = load_model(start_from) if start_from else None
    grammar = training_grammar(base.grammar.kind if base else kind)
    config = base.config if base else NetworkConfig(**network, classes=len(grammar.class_bits), sites=grammar.sites)
    check_sizes(config, window, batch)
    labelled = _load_all(genomes, grammar.kind, workers, base)
    for genome in labelled:
        say(_describe(genome))
    sampler = WindowSampler(labelled, window=window, batch=batch, **(sampling or {}))
    # the sites of bacteria are learned through the HMM alone
    training = {"site_weight": SITE_WEIGHT if grammar.kind == "eukaryote" else 0.0, **training}
    plan = TrainingConfig(**training)
    run = Run(folder, say)
    params = train(
        sampler,
        config,
        grammar,
        plan,
        folder,
        validation=_validation(_load_all(valid, grammar.kind, workers), batch, window) if valid else None,
        start_from=base.params if base else None,
        report=run.report,
        stop_after=60 * max_minutes if max_minutes else float("inf"),
        workers=workers,
    )
    earlier = [*base.card.get("earlier_training", []), base.card.get("training", {})] if base else []
    card: dict[str, Any] = {
        "version": "1",
        "genetic_codes": sampler.genetic_codes,
        "training": {
            **run.facts({"batch": batch, "window": window, **(sampling or {}), **training}, base),
            "genomes": [_entry(g) for g in labelled],
        },
    }
    settings = _grammar_settings(grammar.kind, labelled)
    if settings:
        card["grammar"] = settings
    if lengths := _untranslated_lengths(labelled):
        card["untranslated"] = lengths
    if earlier:
        card["earlier_training"] = [{k: v for k, v in stage.items() if k != "genomes"} for stage in earlier]
    decoding = decoding_grammar(grammar.kind, settings)
    model = Model(name, config, decoding, jax.tree.map(np.asarray, params), sampler.prior, card)
    path = save_model(model, folder)
    if valid:
        card["held_out"] = {}
        for held_out, scores in held_out_scores(model, valid).items():
            percent = {f"{level}_f1": round(100 * score.f1, 2) for level, score in scores.items()}
            say("  ".join([f"{held_out}, held out:", *(f"{level} {value}" for level, value in percent.items())]))
            card["held_out"][held_out] = percent
        path = save_model(model, folder)
    return path


def _grammar_settings(kind: str, genomes: list[LabeledGenome]) -> dict[str, Any]:
    """What the grammar of the finished model learns from the labels: the shortest intron but one in a thousand, and
    whether there are AT-AC introns.
    """
    if kind != "eukaryote":
        return {}
    introns = np.sort(np.concatenate([np.array(g.introns, int) for g in genomes]))
    shortest = int(introns[len(introns) // 1000]) if len(introns) else eukaryote.SHORTEST_INTRON
    settings: dict[str, Any] = {"min_intron": min(shortest, eukaryote.LONGEST_MINIMUM)}
    if any(genome.unrepresentable.get(AT_AC) for genome in genomes):
        settings["at_ac_introns"] = True
    return settings


def _untranslated_lengths(genomes: list[LabeledGenome]) -> dict[str, float]:
    """Mean lengths of untranslated regions where annotations have them; nothing where none does."""
    pairs = np.array([pair for genome in genomes for pair in genome.untranslated], float).reshape(-1, 2)
    kinds = zip(("five_prime", "three_prime"), pairs.T, strict=True)
    return {kind: round(float(lengths[lengths > 0].mean()), 1) for kind, lengths in kinds if lengths.any()}


def _entry(genome: LabeledGenome) -> dict[str, Any]:
    """What the card says of a training genome: its size and its first sequences' accessions."""
    return {
        "name": genome.name,
        "sequences": [r.id for r in genome.records[:ACCESSIONS]],
        "bases": genome.bases,
        "genes": genome.genes,
        "genetic_code": genome.genetic_code,
    }


def _load_all(rows: list[SheetRow], kind: str, workers: int, base: Model | None = None) -> list[LabeledGenome]:
    """Reads the genomes side by side, in processes of their own.

    Where an annotation is incomplete, any state is allowed in the genes that the base model finds beside it; without a
    base model, anywhere between its genes.
    """
    doubtful = [None if row.complete else _spans_of_genes(base, row) if base else whole_record for row in rows]
    if workers == 1 or len(rows) < 4:
        return [_load(row, kind, d) for row, d in zip(rows, doubtful, strict=True)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_load, rows, repeat(kind), doubtful))


def _load(row: SheetRow, kind: str, doubtful: Doubtful | None) -> LabeledGenome:
    return load_genome(
        row.fasta,
        row.annotation,
        name=row.name,
        clade=row.clade,
        kind=kind,
        genetic_code=row.genetic_code,
        doubtful=doubtful,
    )


def whole_record(record: Record) -> list[tuple[int, int]]:
    """All of it is doubtful."""
    return [(0, len(record))]


@dataclass(frozen=True)
class Spans:
    """Doubtful spans by record name."""

    by_record: dict[str, list[tuple[int, int]]]

    def __call__(self, record: Record) -> list[tuple[int, int]]:
        return self.by_record.get(record.id, [])


def _spans_of_genes(model: Model, row: SheetRow) -> Spans:
    """Where a model finds genes, with a margin."""
    annotator = Annotator(model, genetic_code=row.genetic_code)
    fasta = str(row.fasta)
    calibration = annotator.calibrate(read_records(fasta))
    found = annotator.annotate(read_records(fasta), calibration)
    return Spans({a.record.id: [(max(g.start - MARGIN, 0), g.end + MARGIN) for g in a.genes] for a in found})


def _describe(genome: LabeledGenome) -> str:
    out = f"{genome.name}: {genome.bases:,} bases, GC {100 * genome.gc:.1f} %, {genome.genes:,} genes"
    masked = ", ".join(f"{n} {why}" for why, n in sorted(genome.unrepresentable.items()) if n)
    return f"{out}; masked: {masked}" if masked else out


def _validation(genomes: list[LabeledGenome], batch: int, window: int) -> list[tuple[Batch, int]]:
    """The same windows at every report, from all validation genomes, their tables from their own other genes."""
    sampler = WindowSampler(genomes, window=window, batch=batch)
    draws = (sampler.draw(np.random.default_rng([0, n])) for n in range(100))
    picked: dict[int, list[tuple[Batch, int]]] = {}
    for drawn, number in draws:
        if len(picked.setdefault(number, [])) < VALIDATION_BATCHES:
            picked[number].append((drawn, number))
    return [pair for pairs in picked.values() for pair in pairs]
