"""The training loop: Adam on the framewise loss, then on both losses together; checkpoints; true resume.

Step n draws its windows from a generator seeded by (seed, n) and everything else is in the checkpoint, so a resumed
run continues as if it had never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from ..calibration import Tables
from ..hmm.grammars.grammar import Grammar
from ..nn.hybrid import HybridParams, init_hybrid, score_windows
from ..nn.network import CodeMasks, Dropout, NetworkConfig
from ..runtime import keep_memory
from ..sequence import GeneticCode
from .checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from .dataset import Batch, WindowSampler
from .losses import framewise, sequence_discriminative, sitewise
from .validation import GeneScores, score_batch

#: bytes that a process keeps between steps: the arrays of one are a block of some 200 MB, and clearing a new one takes
#: a fifth of a step
_STEP_MEMORY = (1 << 31) - 1


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: optimiser steps in all.
        learning_rate: peak of Adam; warmed up linearly, then lowered along a cosine.
        framewise_steps: steps on the framewise loss alone.
        site_weight: weight of the site-wise loss beside the framewise one.
        crf_weight: weight of the sequence-discriminative loss (per 1000 bases) beside the framewise one.
        dropout: share of the LSTM's outputs that a step leaves out at random.
        freeze: fit only the site models, the temperatures and the transitions; three times as fast.
        ema: decay of the average of the weights, which is what is kept.
        seed: of initial weights and windows.
        report_every: steps between progress lines, validations and checkpoints.
    """

    steps: int = 4000
    learning_rate: float = 2e-3
    framewise_steps: int = 400
    site_weight: float = 0.0
    crf_weight: float = 0.3
    dropout: float = 0.0
    freeze: bool = False
    ema: float = 0.998
    seed: int = 1
    report_every: int = 200


class TrainState(NamedTuple):
    """Everything a step changes."""

    params: HybridParams
    average: HybridParams
    optimiser: Any
    step: jax.Array


@dataclass(frozen=True)
class Progress:
    """One progress report: mean losses since the last, validation scores of the averaged weights, speed."""

    step: int
    framewise: float
    sitewise: float
    crf: float
    validation: GeneScores | None
    bases_per_second: float


#: learning rates as multiples of the network's. Adam moves a weight by at most the learning rate a step; a transition
#: (or `SiteParams.inner`) that may have to move by several nat would never arrive
TRANSITION_RATE, TEMPERATURE_RATE = 20.0, 5.0


def _rates(params: HybridParams) -> HybridParams:
    """The multiple of the learning rate of each weight. Weights that count once per base are left at 1: a long gene or
    intron multiplies them by thousands.
    """
    rates = jax.tree.map(lambda _: 1.0, params)
    if rates.borders is not None:
        rates = rates._replace(borders=rates.borders._replace(log_temperature=TEMPERATURE_RATE))
    sites = {
        name: site if site.inner is None else site._replace(inner=TRANSITION_RATE)
        for name, site in rates.network.sites.items()
    }
    return rates._replace(
        network=rates.network._replace(sites=sites),
        log_temperature=TEMPERATURE_RATE,
        transitions={k: 1.0 if k.endswith("stay") else TRANSITION_RATE for k in params.transitions},
    )


def _optimiser(config: TrainingConfig) -> optax.GradientTransformation:
    warmup = min(100, config.steps // 10 + 1)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, max(config.steps, warmup + 1))
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


def _copy(tree: HybridParams) -> HybridParams:
    """Buffers of their own, since a step gives up those of its state."""
    return jax.tree.map(jnp.copy, tree)


def init_state(
    network: NetworkConfig, grammar: Grammar, config: TrainingConfig, start_from: HybridParams | None = None
) -> TrainState:
    """The state before the first step, from random weights or from those of a model."""
    params = start_from or init_hybrid(np.random.default_rng(config.seed), network, grammar)
    params = jax.tree.map(jnp.asarray, params)
    return TrainState(params, _copy(params), _optimiser(config).init(params), jnp.int32(0))


class Inputs(NamedTuple):
    """One batch as a step reads it; `n` windows are shared out among the devices.

    Attributes:
        codes: [n, time] uint8.
        allowed: [2, n, time] state bit sets.
        lengths: [n] int32.
        tables: with a leading axis of n.
    """

    codes: jax.Array
    allowed: jax.Array
    lengths: jax.Array
    tables: Tables


_SPLIT = Inputs._make((P("data"), P(None, "data"), P("data"), Tables._make([P("data")] * len(Tables._fields))))


@partial(jax.jit, static_argnames=("network", "grammar", "config", "with_crf", "devices"), donate_argnames="state")
def train_step(
    state: TrainState,
    inputs: Inputs,
    code: CodeMasks,
    *,
    network: NetworkConfig,
    grammar: Grammar,
    config: TrainingConfig,
    with_crf: bool,
    devices: int = 1,
) -> tuple[TrainState, jax.Array]:
    """One optimiser step, data-parallel; returns the new state and the three losses of `Progress`."""

    def loss(params: HybridParams, part: Inputs, code: CodeMasks) -> tuple[jax.Array, jax.Array]:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), state.step), lax.axis_index("data"))
        dropout = Dropout(key, config.dropout) if config.dropout else None
        tracks = score_windows(
            params, network, grammar, part.codes, part.tables, code, frozen=config.freeze, dropout=dropout
        )
        allowed = part.allowed.reshape(-1, part.allowed.shape[2])
        frame = framewise(grammar, tracks, allowed)
        site = sitewise(grammar, tracks, allowed) if config.site_weight else jnp.float32(0)
        crf = sequence_discriminative(grammar, params, tracks, allowed, part.lengths) if with_crf else jnp.float32(0)
        return frame + config.site_weight * site + config.crf_weight * crf, jnp.stack([frame, site, crf])

    def gradient_of(params: HybridParams, part: Inputs, code: CodeMasks) -> tuple[HybridParams, jax.Array]:
        return lax.pmean(jax.grad(loss, has_aux=True)(params, part, code), "data")

    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    gradient, losses = jax.shard_map(
        gradient_of, mesh=mesh, in_specs=(P(), _SPLIT, P()), out_specs=(P(), P()), check_vma=False
    )(state.params, inputs, code)
    gradient.transitions["stay"] = jnp.zeros(())  # the others are relative to it
    updates, optimiser = _optimiser(config).update(gradient, state.optimiser, state.params)
    updates = jax.tree.map(jnp.multiply, updates, _rates(updates))
    params = optax.apply_updates(state.params, updates)
    decay = jnp.minimum(config.ema, (1 + state.step) / (10 + state.step))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, params)
    return TrainState(params, average, optimiser, state.step + 1), losses


def train(
    sampler: WindowSampler,
    network: NetworkConfig,
    grammar: Grammar,
    config: TrainingConfig,
    folder: Path,
    *,
    validation: list[tuple[Batch, int]] | None = None,
    start_from: HybridParams | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    stop_after: float = float("inf"),
    workers: int = 1,
) -> HybridParams:
    """Trains and returns the averaged weights; continues from the checkpoint in `folder` if there is one.

    Args:
        sampler: of training windows.
        network: sizes.
        grammar: that the labels speak of.
        config: how to train.
        folder: for the checkpoint.
        validation: batches to score the averaged weights on at each report.
        start_from: weights to fine-tune instead of random ones.
        report: called at each report.
        stop_after: seconds after which to stop early, with a checkpoint.
        workers: threads that prepare windows.

    Every accelerator that JAX sees takes its share of the windows. On a CPU only one device does: a second gains a
    tenth, and XLA aborts where one waits about a minute for the other, as happens beside other work.

    Raises:
        InputError: the checkpoint belongs to another configuration.
    """
    keep_memory(_STEP_MEMORY, _STEP_MEMORY)
    folder.mkdir(parents=True, exist_ok=True)
    state = init_state(network, grammar, config, start_from)
    checkpoint = folder / CHECKPOINT
    settings = _settings(config, sampler)
    if checkpoint.exists():
        state = jax.tree.map(jnp.asarray, load_checkpoint(checkpoint, state, settings))
    elif start_from is None:
        state = with_class_frequencies(state, sampler, grammar, config)

    def code_of(number: int) -> CodeMasks:
        return CodeMasks.of(GeneticCode.from_number(number, grammar.start_codons))

    usable = 1 if jax.default_backend() == "cpu" else len(jax.devices())
    devices = max(d for d in range(1, usable + 1) if sampler.batch % d == 0)
    began, last, sums, since = time.monotonic(), time.monotonic(), jnp.zeros(3), 0
    first = int(state.step)
    for step, (batch, number) in zip(
        range(first, config.steps), _prepared(sampler, config, first, workers), strict=False
    ):
        allowed = batch.allowed.reshape(2, sampler.batch, sampler.window)
        state, losses = train_step(
            state,
            Inputs._make((batch.codes, allowed, batch.lengths, batch.tables)),
            code_of(number),
            network=network,
            grammar=grammar,
            config=config,
            with_crf=step >= config.framewise_steps,
            devices=devices,
        )
        sums += losses  # on the device: reading them here would wait for every step
        since += 1
        done = step + 1
        late = time.monotonic() - began > stop_after
        if done % config.report_every == 0 or done == config.steps or late:
            save_checkpoint(checkpoint, state, settings)
            scores = None
            if validation:
                parts = [score_batch(state.average, network, grammar, b, code_of(n)) for b, n in validation]
                scores = sum(parts[1:], parts[0])
            frame, site, crf = (float(x) / since for x in sums)
            bases = sampler.batch * sampler.window * since
            report(Progress(done, frame, site, crf, scores, bases / (time.monotonic() - last)))
            last, sums, since = time.monotonic(), jnp.zeros(3), 0
        if late:
            break
    return state.average


def _settings(config: TrainingConfig, sampler: WindowSampler) -> dict[str, str]:
    """What must be the same for a run to continue; it may go on for more steps, though."""
    facts = asdict(config) | {"batch": sampler.batch, "window": sampler.window}
    return {k: str(v) for k, v in facts.items() if k not in ("steps", "report_every")}


def _prepared(sampler: WindowSampler, config: TrainingConfig, first: int, workers: int) -> Iterator[tuple[Batch, int]]:
    """Batches in order, drawn ahead by threads."""
    with ThreadPoolExecutor(workers) as pool:
        draw = partial(_draw, sampler, config.seed)
        ahead = [pool.submit(draw, n) for n in range(first, first + 2 * workers)]
        n = first + 2 * workers
        while True:
            yield ahead.pop(0).result()
            ahead.append(pool.submit(draw, n))
            n += 1


def _draw(sampler: WindowSampler, seed: int, n: int) -> tuple[Batch, int]:
    return sampler.draw(np.random.default_rng([seed, n]))


def with_class_frequencies(
    state: TrainState, sampler: WindowSampler, grammar: Grammar, config: TrainingConfig
) -> TrainState:
    """Sets the classes' frequencies to those of the sampled windows."""
    inside, certain = np.full((2, len(grammar.class_bits)), 1.0)
    for n in range(4):
        batch, _ = sampler.draw(np.random.default_rng([config.seed, 2**31 + n]))
        bits = batch.allowed[batch.allowed > 0].astype(np.int32)[:, None]
        yes, no = (bits & grammar.class_bits) != 0, (bits & ~grammar.class_bits) != 0
        inside += (yes & ~no).sum(0)
        certain += (yes != no).sum(0)
    params = state.params._replace(frequency=jnp.asarray(inside / certain, jnp.float32))
    return state._replace(params=params, average=_copy(params))
