"""Fitting border models: the ends of labelled regions against everything else.

Nearly all bases are plainly no border, so after each round of training the models are tried on bases drawn at random,
and those that they take for borders most are drawn more often in the next. Examples are varied by substitutions, which
makes up for their being few and related.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from ..nn.borders import FIRST, HIDDEN, WIDTH, BorderParams, correction, init_borders
from ..sequence import reverse_complement
from .dataset import LabeledGenome

#: rounds, and peak learning rate
ROUNDS, RATE = 4, 3e-3
#: examples of one model in a step: borders, random bases, bases near borders, and those that were mistaken for borders
COUNTS = (64, 192, 96, 160)
#: bases tried in a round, and how many of each model's worst are kept
TRIED, WORST = 400_000, 4_000
#: bases beside a border that are drawn as near, most of them very near
NEAR_STEPS = np.array([1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 15, 20, 40, 70])
#: substitutions per base, at most; share of units left out
MUTATED, DROPOUT = 0.1, 0.3

#: codes and labels of one strand
_Strand = tuple[NDArray[np.uint8], NDArray[np.unsignedinteger]]


def borders(allowed: NDArray[np.unsignedinteger], label: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last bases of a label's regions on a strand, where it is certain what lies on both sides.

    Args:
        allowed: [length] bit sets over the labels.
        label: the number of its bit.
    """
    inside = allowed == 1 << label
    certain = (allowed & (allowed - 1)) == 0
    steps = certain[1:] & certain[:-1]
    return np.flatnonzero(steps & inside[1:] & ~inside[:-1]) + 1, np.flatnonzero(steps & inside[:-1] & ~inside[1:])


def fit_borders(genomes: Sequence[LabeledGenome], labels: Sequence[int], *, steps: int, seed: int) -> BorderParams:
    """Fits models of the beginnings and ends of the regions of some labels.

    Args:
        genomes: with labels.
        labels: numbers of the labels, in the order of the models; each has certain bases.
        steps: optimiser steps of a round.
        seed: of initial weights and examples.
    """
    rng = np.random.default_rng([seed, 3])
    strands = [strand for g in genomes for r in g.records for strand in _strands(r.codes, r.allowed)]
    models = [(label, end) for label in labels for end in (0, 1)]
    true = [_windows_at_borders(strands, *model) for model in models]
    near = [_windows_near_borders(strands, *model, rng) for model in models]
    usable = np.array([bool(len(windows)) for windows in true], np.float32)
    params = init_borders(rng, len(labels))
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, ROUNDS * steps))
    state, average = optimiser.init(params), params
    for number in range(ROUNDS):
        elsewhere = [_tried(strands, *model, rng) for model in models]
        mistaken = [_worst(average, i, w) if number else w for i, w in enumerate(elsewhere)]
        sources = list(zip(true, elsewhere, near, mistaken, strict=True))
        for step in range(number * steps, (number + 1) * steps):
            examples = [
                np.concatenate([_draw(windows, count, rng) for windows, count in zip(of_model, COUNTS, strict=True)])
                for of_model in sources
            ]
            key = jax.random.fold_in(jax.random.key(seed), step)
            drawn = _mutated(np.stack(examples), rng)
            params, state, average = _step(params, state, average, drawn, usable, key, optimiser=optimiser)
    return average


def _strands(codes: NDArray[np.uint8], allowed: NDArray[np.unsignedinteger]) -> list[_Strand]:
    return [(codes, allowed[0]), (reverse_complement(codes), allowed[1])]


def _windows(codes: NDArray[np.uint8], at: NDArray[np.int64], end: int) -> NDArray[np.uint8]:
    """What the model of beginnings (0) or ends (1) sees of some bases: [bases, WIDTH]."""
    index = at[:, None] + FIRST[end] + np.arange(WIDTH)
    inside = (index >= 0) & (index < len(codes))
    return np.where(inside, codes[np.clip(index, 0, len(codes) - 1)], np.uint8(4))


def _windows_at_borders(strands: Sequence[_Strand], label: int, end: int) -> NDArray[np.uint8]:
    return np.concatenate([_windows(codes, borders(allowed, label)[end], end) for codes, allowed in strands])


def _windows_near_borders(
    strands: Sequence[_Strand], label: int, end: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Windows at random steps beside the borders, four to each."""
    steps, found = np.concatenate([-NEAR_STEPS, NEAR_STEPS]), []
    for codes, allowed in strands:
        at = borders(allowed, label)[end]
        beside = np.concatenate([at + rng.choice(steps, len(at)) for _ in range(4)])
        beside = beside[(beside >= 0) & (beside < len(codes))]
        found.append(_windows(codes, np.setdiff1d(beside, at), end))
    return np.concatenate(found)


def _tried(strands: Sequence[_Strand], label: int, end: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Windows at random bases that are no such border."""
    total, found = sum(len(codes) for codes, _ in strands), []
    share = min(1, TRIED / total)
    for codes, allowed in strands:
        at = rng.integers(0, max(len(codes), 1), int(np.ceil(share * len(codes))))
        certain = (allowed[at] & (allowed[at] - 1)) == 0
        found.append(_windows(codes, np.setdiff1d(at[certain], borders(allowed, label)[end]), end))
    return np.concatenate(found)


def _worst(params: BorderParams, model: int, windows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Those of the windows, none of them at a border, that score best."""
    one = jax.tree.map(lambda x: x[model], params)
    if not len(windows):
        return windows
    size = 8192
    scores = [
        np.asarray(_score(one, np.resize(windows[k : k + size], (size, WIDTH))))[: len(windows) - k]
        for k in range(0, len(windows), size)
    ]
    return windows[np.argsort(-np.concatenate(scores))[:WORST]]


@jax.jit
def _score(model: BorderParams, windows: jax.Array) -> jax.Array:
    x = jax.nn.one_hot(windows, 4).reshape(len(windows), -1)
    return (x @ model.screen.w + model.screen.b)[:, 0] + correction(model.layers, windows)


def _draw(source: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    return source[rng.integers(0, len(source), count)] if len(source) else np.full((count, WIDTH), 4, np.uint8)


def _mutated(windows: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Windows [models, examples, WIDTH] with substitutions."""
    rate = rng.uniform(0, MUTATED, (*windows.shape[:2], 1)).astype(np.float32)
    hit = (rng.random(windows.shape, np.float32) < rate) & (windows < 4)
    return np.where(hit, rng.integers(0, 4, windows.shape, np.uint8), windows)


@partial(jax.jit, static_argnames="optimiser")
def _step(
    params: BorderParams,
    state: Any,
    average: BorderParams,
    windows: jax.Array,
    usable: jax.Array,
    key: jax.Array,
    *,
    optimiser: optax.GradientTransformation,
) -> tuple[BorderParams, Any, BorderParams]:
    """One step of all models; those without a border to learn from (`usable` 0) stay as they are."""
    examples = windows.shape[1]
    right = (jnp.arange(examples) < COUNTS[0]).astype(jnp.float32)
    # scores are log likelihood ratios: the logit adds the log odds of borders among the examples
    odds = np.log(COUNTS[0] / (examples - COUNTS[0]))

    def loss(params: BorderParams) -> jax.Array:
        kept = jax.random.bernoulli(key, 1 - DROPOUT, (len(windows), examples, HIDDEN[0])) / (1 - DROPOUT)
        x = jax.nn.one_hot(windows, 4).reshape(*windows.shape[:2], -1)
        rough = (jnp.einsum("mei,mio->meo", x, params.screen.w) + params.screen.b[:, None])[..., 0]
        fine = jax.lax.stop_gradient(rough) + jax.vmap(correction)(params.layers, windows, kept)
        both = optax.sigmoid_binary_cross_entropy(jnp.stack([rough, fine]) + odds, right)
        return (both.mean((0, 2)) * usable).sum()

    updates, state = optimiser.update(jax.grad(loss)(params), state, params)
    params = optax.apply_updates(params, updates)
    average = jax.tree.map(lambda a, p: 0.99 * a + 0.01 * p, average, params)
    return params, state, average
