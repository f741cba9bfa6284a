"""Tiny networks, random tables and random sequences for tests of everything around the network."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np

from lstmhmm_bio.calibration import GC_GRID, PWM_WIDTH, Counts, Prior, Tables
from lstmhmm_bio.hmm.grammars import bacteria, decoding_grammar, eukaryote
from lstmhmm_bio.hmm.grammars.grammar import Grammar
from lstmhmm_bio.model import Model
from lstmhmm_bio.nn.hybrid import HybridParams, init_hybrid
from lstmhmm_bio.nn.network import NetworkConfig
from lstmhmm_bio.sequence import Codes

# with so many candidates all of a short window are looked at
NETWORK = NetworkConfig(stride=6, stem=8, hidden=4, head=6, site_head=6, motifs=3, candidates=48)
#: by kind of grammar
NETWORKS = {
    "bacteria": NETWORK,
    "eukaryote": replace(NETWORK, classes=4, sites=("start", "stop", "donor", "acceptor")),
}
GRAMMARS = {"bacteria": bacteria.GRAMMAR, "eukaryote": eukaryote.TRAINING}
#: what a card says of the grammar
SETTINGS = {"bacteria": {}, "eukaryote": {"min_intron": 5}}


def random_codes(rng: np.random.Generator, length: int, *, unknown: float = 0.0) -> Codes:
    codes = rng.integers(0, 4, length).astype(np.uint8)
    codes[rng.random(length) < unknown] = 4
    return codes


def random_params(seed: int, network: NetworkConfig = NETWORK, grammar: Grammar = bacteria.GRAMMAR) -> HybridParams:
    """Random weights, biases too, large enough for scores that tell sequences apart."""
    rng = np.random.default_rng(seed)
    shapes = init_hybrid(rng, network, grammar)
    return HybridParams(
        jax.tree.map(
            lambda x: (rng.normal(size=x.shape) / max((*x.shape, 3)[0], 3) ** 0.5).astype(np.float32), shapes.network
        ),
        np.full(shapes.log_temperature.shape, -1.0, np.float32),
        np.zeros(shapes.class_bias.shape, np.float32),
        np.full(network.classes, 0.15, np.float32),
        {name: np.float32(value) for name, value in grammar.initial_weights.items()},
    )


def random_counts(rng: np.random.Generator) -> Counts:
    zeros = Counts.zeros()
    return Counts(*(rng.integers(0, 40, a.shape).astype(np.float32) for a in vars(zeros).values()))


def random_tables(rng: np.random.Generator, n: int) -> Tables:
    """Tables of n windows; 0 where a k-mer is unknown, as real ones have it."""

    def table(*shape: int) -> np.ndarray:
        values = rng.normal(size=(n, *shape)).astype(np.float32)
        values[..., -1] = 0
        return values

    summary, intron_rate = (rng.normal(size=shape).astype(np.float32) for shape in ((n, 3), n))
    return Tables(table(4097), table(1025), table(PWM_WIDTH, 5), summary, intron_rate)


def random_model(seed: int, kind: str = "bacteria") -> Model:
    """A model that finds genes of its own imagination."""
    rng = np.random.default_rng(seed)
    counts = [random_counts(rng) for _ in range(2)]
    prior = Prior.fit(counts, [GC_GRID[0] / 100, GC_GRID[-1] / 100])
    network, settings = NETWORKS[kind], SETTINGS[kind]
    grammar = decoding_grammar(kind, settings)
    card = {"version": "7", "training": {"steps": 0}, **({"grammar": settings} if settings else {})}
    return Model("tiny", network, grammar, random_params(seed, network, grammar), prior, card)
