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
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from ..calibration import Tables
from ..nn.hybrid import HybridParams, init_hybrid, score_windows
from ..nn.network import CodeMasks, NetworkConfig
from ..sequence import GeneticCode
from .checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from .dataset import Batch, WindowSampler
from .losses import framewise, sequence_discriminative
from .validation import GeneScores, score_batch


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: optimiser steps in all.
        learning_rate: peak of Adam; warmed up linearly, then lowered along a cosine.
        framewise_steps: steps on the framewise loss alone.
        crf_weight: weight of the sequence-discriminative loss (per 1000 bases) beside the framewise one.
        freeze: fit only the start model, the temperature and the transitions; three times as fast.
        ema: decay of the average of the weights, which is what is kept.
        seed: of initial weights and windows.
        report_every: steps between progress lines, validations and checkpoints.
    """

    steps: int = 4000
    learning_rate: float = 2e-3
    framewise_steps: int = 400
    crf_weight: float = 0.3
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
    crf: float
    validation: GeneScores | None
    bases_per_second: float


def _optimiser(config: TrainingConfig) -> optax.GradientTransformation:
    warmup = min(100, config.steps // 10 + 1)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, config.steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


def _copy(tree: HybridParams) -> HybridParams:
    """Buffers of their own, since a step gives up those of its state."""
    return jax.tree.map(jnp.copy, tree)


def init_state(network: NetworkConfig, config: TrainingConfig, start_from: HybridParams | None = None) -> TrainState:
    """The state before the first step, from random weights or from those of a model."""
    params = start_from or init_hybrid(jax.random.key(config.seed), network)
    params = jax.tree.map(jnp.asarray, params)
    return TrainState(params, _copy(params), _optimiser(config).init(params), jnp.int32(0))


class Inputs(NamedTuple):
    """One batch as a step reads it; `n` windows are shared out among the devices.

    Attributes:
        codes: [n, time] uint8.
        allowed: [2, n, time] uint16.
        lengths: [n] int32.
        tables: with a leading axis of n.
    """

    codes: jax.Array
    allowed: jax.Array
    lengths: jax.Array
    tables: Tables


_SPLIT = Inputs._make((P("data"), P(None, "data"), P("data"), Tables._make([P("data")] * 4)))


@partial(jax.jit, static_argnames=("network", "config", "with_crf", "devices"), donate_argnames="state")
def train_step(
    state: TrainState,
    inputs: Inputs,
    code: CodeMasks,
    *,
    network: NetworkConfig,
    config: TrainingConfig,
    with_crf: bool,
    devices: int = 1,
) -> tuple[TrainState, jax.Array]:
    """One optimiser step, data-parallel; returns the new state and [framewise, sequence-discriminative] losses."""

    def loss(params: HybridParams, part: Inputs, code: CodeMasks) -> tuple[jax.Array, jax.Array]:
        tracks = score_windows(params, network, part.codes, part.tables, code, frozen=config.freeze)
        allowed = part.allowed.reshape(-1, part.allowed.shape[2])
        frame = framewise(tracks, allowed)
        crf = sequence_discriminative(params, tracks, allowed, part.lengths) if with_crf else jnp.float32(0)
        return frame + config.crf_weight * crf, jnp.stack([frame, crf])

    def gradient_of(params: HybridParams, part: Inputs, code: CodeMasks) -> tuple[HybridParams, jax.Array]:
        return jax.lax.pmean(jax.grad(loss, has_aux=True)(params, part, code), "data")

    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    gradient, losses = jax.shard_map(
        gradient_of, mesh=mesh, in_specs=(P(), _SPLIT, P()), out_specs=(P(), P()), check_vma=False
    )(state.params, inputs, code)
    gradient.transitions["stay"] = jnp.zeros(())  # the others are relative to it
    updates, optimiser = _optimiser(config).update(gradient, state.optimiser, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = jnp.minimum(config.ema, (1 + state.step) / (10 + state.step))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, params)
    return TrainState(params, average, optimiser, state.step + 1), losses


def train(
    sampler: WindowSampler,
    network: NetworkConfig,
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
        config: how to train.
        folder: for the checkpoint.
        validation: batches to score the averaged weights on at each report.
        start_from: weights to fine-tune instead of random ones.
        report: called at each report.
        stop_after: seconds after which to stop early, with a checkpoint.
        workers: threads that prepare windows.

    Every device that JAX sees takes its share of the windows.

    Raises:
        InputError: the checkpoint belongs to another configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = init_state(network, config, start_from)
    checkpoint = folder / CHECKPOINT
    settings = _settings(config, sampler)
    if checkpoint.exists():
        state = jax.tree.map(jnp.asarray, load_checkpoint(checkpoint, state, settings))
    elif start_from is None:
        state = _with_class_frequencies(state, sampler, config)
    devices = max(d for d in range(1, len(jax.devices()) + 1) if sampler.batch % d == 0)
    began, last, sums, since = time.monotonic(), time.monotonic(), jnp.zeros(2), 0
    first = int(state.step)
    for step, (batch, number) in zip(
        range(first, config.steps), _prepared(sampler, config, first, workers), strict=False
    ):
        allowed = batch.allowed.reshape(2, sampler.batch, sampler.window)
        state, losses = train_step(
            state,
            Inputs._make((batch.codes, allowed, batch.lengths, batch.tables)),
            CodeMasks.of(GeneticCode.from_number(number)),
            network=network,
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
                parts = [
                    score_batch(state.average, network, b, CodeMasks.of(GeneticCode.from_number(n)))
                    for b, n in validation
                ]
                scores = sum(parts[1:], parts[0])
            frame, crf = (float(x) / since for x in sums)
            bases = sampler.batch * sampler.window * since
            report(Progress(done, frame, crf, scores, bases / (time.monotonic() - last)))
            last, sums, since = time.monotonic(), jnp.zeros(2), 0
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


def _with_class_frequencies(state: TrainState, sampler: WindowSampler, config: TrainingConfig) -> TrainState:
    """Sets the codon positions' class frequency to that of the sampled windows."""
    from ..hmm.grammars.bacteria import INDEX

    shares = []
    for n in range(4):
        batch, _ = sampler.draw(np.random.default_rng([config.seed, 2**31 + n]))
        known = batch.allowed[(batch.allowed > 0) & ((batch.allowed & (batch.allowed - 1)) == 0)]
        shares.append((known != 1 << INDEX["I"]).mean())
    frequency = jnp.full(3, float(np.mean(shares)) / 3, jnp.float32)
    params = state.params._replace(frequency=frequency)
    return state._replace(params=params, average=_copy(params))
