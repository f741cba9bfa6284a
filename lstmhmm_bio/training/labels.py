"""Training on a user's own labels: what `lstmhmm train --labels` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .. import calibration
from ..errors import InputError, UsageError
from ..features import Record
from ..hmm.grammars import decoding_grammar, labels
from ..hmm.grammars.grammar import Grammar
from ..hmm.grammars.labels import Labels
from ..io.labels import LabelRegion, read_labels
from ..model import Model, load_model, save_model
from ..nn.hybrid import HybridParams, init_hybrid
from ..nn.network import NetworkConfig
from ..sequence import GeneticCode, Segments, own_segments
from .borders import fit_borders
from .checkpoint import CHECKPOINT
from .dataset import LabeledGenome, LabeledRecord, WindowSampler, block_sums
from .loop import TrainingConfig, init_state, train, with_class_frequencies
from .run import Run, check_sizes

#: share of neighbourhoods that are drawn around a region of a label drawn at random, so that rare ones are seen
_AROUND_REGIONS = 0.6
#: steps of a round of fitting the models of regions' borders, at most as many as the network has
_BORDER_STEPS = 500
#: steps and peak learning rate of fitting temperatures, biases and transitions behind a finished network
_SCALING_STEPS, _SCALING_RATE = 100, 0.02


class LabelSampler(WindowSampler):
    """Draws windows, most of them around regions of labels, which are drawn the rarer the more often.

    Class frequencies are measured on the windows as drawn, and scaled likelihoods divide by them.
    """

    reach = 0.5

    def __init__(self, genomes: Sequence[LabeledGenome], description: Labels, *, window: int, batch: int) -> None:
        super().__init__(genomes, window=window, batch=batch)
        self._regions = [_regions_by_label(genome, description) for genome in genomes]
        bases = [
            1 + sum((r.allowed == 1 << i).sum() for g in genomes for r in g.records)
            for i in range(len(description.names))
        ]
        self._chance = 1 / np.sqrt(bases)

    def _place(self, index: int, rng: np.random.Generator) -> tuple[LabeledRecord, int]:
        by_label = self._regions[index]
        if not by_label or rng.random() > _AROUND_REGIONS:
            return super()._place(index, rng)
        chance = self._chance[list(by_label)]
        middles = by_label[rng.choice(list(by_label), p=chance / chance.sum())]
        record, middle = middles[rng.integers(len(middles))].tolist()
        return self.genomes[index].records[record], middle


def load_labelled(fasta: str, regions: dict[str, list[LabelRegion]], source: str, description: Labels) -> LabeledGenome:
    """A genome with its labels.

    Args:
        fasta: sequences.
        regions: labelled stretches by sequence name.
        source: the file they came from, for messages.
        description: the grammar.

    Raises:
        InputError: the files share no sequence name, a region ends beyond its sequence, or two regions follow each
            other that the grammar does not let.
    """
    from ..io import read_records

    code = GeneticCode.from_number(11, labels.training_grammar(description).start_codons)
    records, all_codes = [], []
    for record in read_records(fasta):
        mine = regions.get(record.id, [])
        beyond = [r for r in mine if r.end > len(record)]
        if beyond:
            raise InputError(
                f"{source}: region {beyond[0].start}-{beyond[0].end} ({beyond[0].name}) ends beyond {record.id!r}, "
                f"which has {len(record)} bases; give the sequence that the labels were made on"
            )
        records.append(_labelled_record(record, mine, source, description, code))
        all_codes.append(record.codes)
    if not regions.keys() & {r.id for r in records}:
        raise InputError(f"{source}: none of its sequence names is in {fasta}; they must match")
    count = sum(len(rows) for rows in regions.values())
    gc = calibration.gc_content(np.concatenate(all_codes))
    name = Path(fasta).name.split(".")[0]
    return LabeledGenome(name, fasta, tuple(records), code.number, gc, count)


def fit_labels(
    genomes: Sequence[tuple[str, str]],
    description: Labels | None,
    folder: Path,
    *,
    types: Sequence[str],
    background: str,
    coding: str,
    name: str,
    start_from: str | None,
    network: dict[str, int],
    training: dict[str, Any],
    batch: int,
    window: int,
    max_minutes: float | None,
    workers: int,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains a model of labels and writes it; returns the path of its card.

    Args:
        genomes: pairs of sequence file and label file.
        description: the grammar; None for one that lets the labels of the files follow each other in any way.
        folder: for checkpoint, log (`progress.jsonl`) and model.
        types: labels to read without a grammar; all if empty.
        background: without a grammar, the label of bases without a region; "" to leave them out.
        coding: without a grammar, the label whose regions teach codon tables; "" for none.
        name: of the model.
        start_from: a model to start from: all of it if it has the same labels, else its encoder.
        network: fields of `NetworkConfig`; with `start_from` those of that model count.
        training: fields of `TrainingConfig`, for fitting the network framewise; temperatures and transitions are
            fitted after that, by the sequence-discriminative loss.
        batch: windows a step, a multiple of 4.
        window: bases a window, a multiple of the network's stride.
        max_minutes: stop early after this time.
        workers: threads that prepare windows.
        say: gets progress lines.

    Raises:
        UsageError: sizes or labels that do not fit together.
        InputError: unreadable files, labels that appear nowhere, or a checkpoint of another configuration.
    """
    regions = [read_labels(path, description.names if description else types) for _, path in genomes]
    if description is None:
        names = sorted({r.name for rows in regions for row in rows.values() for r in row} - {labels.MASK})
        try:
            description = Labels.of_names(names, background=background, coding=coding)
        except ValueError as error:
            raise UsageError(
                f"the labels make no grammar: {error}; give --background, or choose --label-types"
            ) from None
    grammar = labels.training_grammar(description)
    base = load_model(start_from) if start_from else None
    sizes = base.config if base else NetworkConfig(**network)  # type: ignore[arg-type]
    config = replace(sizes, classes=len(description.labels), sites=(), borders=0)
    check_sizes(config, window, batch)
    labelled = [
        load_labelled(fasta, rows, path, description) for (fasta, path), rows in zip(genomes, regions, strict=True)
    ]
    _say_what_is_there(labelled, description, say)
    sampler = LabelSampler(labelled, description, window=window, batch=batch)
    plan = TrainingConfig(**training, framewise_steps=training["steps"])
    run = Run(folder, say)
    limit = 60 * max_minutes if max_minutes else float("inf")
    start = _initial_params(base, description, config, grammar, plan, sampler)
    params = train(
        sampler, config, grammar, plan, folder, start_from=start, report=run.report, stop_after=limit, workers=workers
    )
    say("borders of regions")
    config = replace(config, borders=len(description.bordered))
    params = params._replace(
        borders=fit_borders(labelled, description.bordered, steps=min(_BORDER_STEPS, plan.steps), seed=plan.seed)
    )
    # the sequence-discriminative loss would lower every confidence long before it had found the temperatures
    say("temperatures and transitions")
    rest = TrainingConfig(
        steps=_SCALING_STEPS, learning_rate=_SCALING_RATE, framewise_steps=0, freeze=True, seed=plan.seed
    )
    # a checkpoint of an earlier end of this run would bring back the network of that time
    (folder / "scaling" / CHECKPOINT).unlink(missing_ok=True)
    params = train(
        sampler, config, grammar, rest, folder / "scaling", start_from=params, report=run.report, workers=workers
    )
    card: dict[str, Any] = {
        "version": "1",
        "grammar": description.to_table(),
        "training": {
            **run.facts({"batch": batch, "window": window, **training}, base),
            "sequences": [
                {"name": g.name, "bases": g.bases, "regions": g.genes, "first": g.records[0].id} for g in labelled
            ],
        },
    }
    decoding = decoding_grammar(grammar.kind, card["grammar"])
    return save_model(Model(name, config, decoding, jax.tree.map(np.asarray, params), sampler.prior, card), folder)


def _initial_params(
    base: Model | None,
    description: Labels,
    config: NetworkConfig,
    grammar: Grammar,
    plan: TrainingConfig,
    sampler: WindowSampler,
) -> HybridParams:
    """Where training starts: a model of the same labels, or random weights with, if given, a model's encoder.

    The class head begins at the classes' frequencies: rare ones would otherwise spend the training on getting there.
    """
    same = base is not None and base.card.get("grammar", {}) == description.to_table()
    if base and same:
        params = base.params._replace(borders=None)
    else:
        params = init_hybrid(np.random.default_rng(plan.seed), config, grammar)
    if base and not same:
        learned = base.params.network
        head = (learned.head[0], params.network.head[1])
        params = params._replace(network=params.network._replace(stem=learned.stem, lstm=learned.lstm, head=head))
    params = with_class_frequencies(init_state(config, grammar, plan, params), sampler, grammar, plan).params
    if same:
        return params
    hidden, out = params.network.head
    logit = jnp.log(params.frequency) - jnp.log1p(-params.frequency)
    head = (hidden, out._replace(b=jnp.tile(logit, config.stride)))
    return params._replace(network=params.network._replace(head=head))


def _labelled_record(
    record: Record, regions: list[LabelRegion], source: str, description: Labels, code: GeneticCode
) -> LabeledRecord:
    allowed = labels.lattice(len(record), regions, description)
    forbidden = labels.forbidden_steps(allowed, description)
    if forbidden:
        position, first, second = forbidden[0]
        raise InputError(
            f"{source}: {record.id!r} has {second!r} right after {first!r} at base {position} of a strand, which the "
            f"grammar does not let; mend the labels or its 'next'"
        )
    chains: dict[str, list[Segments]] = {"+": [], "-": []}
    for r in regions:
        if r.name == description.coding and r.strand in chains and (r.end - r.start) % 3 == 0:
            segments = ((r.start, r.end),)
            chains[r.strand].append(own_segments(segments, r.strand, len(record)))
    return LabeledRecord(record.id, record.codes, allowed, block_sums(record.codes, chains, code))


def _regions_by_label(genome: LabeledGenome, description: Labels) -> dict[int, NDArray[np.int64]]:
    """For each label that a genome has, but the background: record and middle of its regions, [regions, 2]."""
    out = {}
    for i, name in enumerate(description.names):
        if name == description.background:
            continue
        found = []
        for number, record in enumerate(genome.records):
            inside = np.concatenate([[False], record.allowed[0] == 1 << i, [False]])
            inside_reverse = np.concatenate([[False], record.allowed[1, ::-1] == 1 << i, [False]])
            for row in (inside, inside_reverse):
                edges = np.flatnonzero(np.diff(row.astype(np.int8)))
                middles = (edges[::2] + edges[1::2]) // 2
                found.append(np.stack([np.full(len(middles), number), middles], axis=1))
        regions = np.concatenate(found)
        if len(regions):
            out[i] = regions
    return out


def _say_what_is_there(genomes: Sequence[LabeledGenome], description: Labels, say: Callable[[str], None]) -> None:
    """One line per label: its share of all bases of both strands.

    Raises:
        InputError: a label has no certain base.
    """
    bases = 2 * sum(genome.bases for genome in genomes)
    for i, name in enumerate(description.names):
        count = sum(int((record.allowed == 1 << i).sum()) for genome in genomes for record in genome.records)
        if not count:
            raise InputError(f"no base is certainly {name!r}; check the names in the label files")
        say(f"{name}: {count:,} bases, {100 * count / bases:.2f} % of both strands")
