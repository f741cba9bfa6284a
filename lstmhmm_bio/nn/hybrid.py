"""The hybrid: the network's outputs as the scores that a grammar reads."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..calibration import Tables
from ..hmm.emissions import scaled_likelihood_ratio
from ..hmm.grammars.grammar import Grammar
from .borders import BorderParams, border_scores, init_borders
from .lstm import on_host
from .network import (
    CodeMasks,
    Dropout,
    NetworkConfig,
    NetworkParams,
    class_logits,
    encode,
    init_network,
    read_out,
    signals,
)
from .sites import SITES, SURE, Surroundings, class_sums, site_scores


class HybridParams(NamedTuple):
    """Everything that training fits.

    Attributes:
        network: LSTM and heads.
        log_temperature: [groups] of the class scores, see `Grammar.class_groups`.
        class_bias: [groups] added to every class score; balances genes against intergenic sequence per base.
        frequency: [classes] class frequencies (measured, not fitted).
        transitions: transition weight by name.
        borders: models of regions' beginnings and ends; None if there are none.
    """

    network: NetworkParams
    log_temperature: Array
    class_bias: Array
    frequency: Array
    transitions: dict[str, Array]
    borders: BorderParams | None = None


class Tracks(NamedTuple):
    """Scores along windows, both strands (rows [0, n) as given, [n, 2 n) reverse complements).

    Attributes:
        classes: [2 n, time, classes] class scores.
        sites: [2 n, time, sites] score of a site that is here (0 where none is); or of borders.
        marks: [2 n, time] uint16 of `Grammar.marks`.
        logits: [2 n, time, classes] class logits before scaling, for the framewise loss.
    """

    classes: Array
    sites: Array
    marks: Array
    logits: Array


def init_hybrid(rng: np.random.Generator, config: NetworkConfig, grammar: Grammar) -> HybridParams:
    """Initial parameters; every class is given the frequency 0.15 until it is measured."""
    groups = max(grammar.class_groups) + 1
    return HybridParams(
        init_network(rng, config),
        on_host(np.full(groups, np.log(0.3))),
        on_host(np.zeros(groups)),
        on_host(np.full(config.classes, 0.15)),
        {k: on_host(np.array(v)) for k, v in grammar.initial_weights.items()},
        init_borders(rng, config.borders) if config.borders else None,
    )


def score_windows(
    params: HybridParams,
    config: NetworkConfig,
    grammar: Grammar,
    codes: Array,
    tables: Tables,
    code: CodeMasks,
    *,
    frozen: bool = False,
    dropout: Dropout | None = None,
) -> Tracks:
    """Runs network and scaling over windows.

    Args:
        params: the model.
        config: its sizes.
        grammar: that reads the scores.
        codes: [n, time] uint8, time a multiple of the stride; padding is 4.
        tables: calibration tables with a leading axis of n.
        code: genetic code.
        frozen: no gradients into LSTM, class head and border models, only into site models, temperatures and biases.
        dropout: noise for training.
    """
    s = signals(codes, tables, code)
    rows, time = s.codes.shape
    features = encode(params.network, config, s, jnp.asarray(tables.summary), dropout)
    if frozen:
        features = jax.lax.stop_gradient(features)
    read = read_out(params.network, features)
    logits = class_logits(params.network, config, read.head)
    if frozen:
        logits = jax.lax.stop_gradient(logits)
    frequency = jax.lax.stop_gradient(params.frequency)
    group = np.array(grammar.class_groups)
    known = s.codes < 4
    classes = scaled_likelihood_ratio(logits, frequency, jnp.exp(params.log_temperature)[group])
    classes = jnp.where(known[:, :, None], classes + params.class_bias[group], grammar.unknown_base)
    # what site models see has no temperature: that of genes of a thousand bases leaves nothing of a dozen
    seen = jnp.clip(scaled_likelihood_ratio(logits, frequency, 1 / SURE), -1, 1)
    sums = class_sums(jnp.where(known[:, :, None], seen, 0.0), known)
    marks = grammar.marks(s.codes, code)
    both = jax.tree.map(lambda x: jnp.concatenate([x, x]), tables)
    around = Surroundings(s.codes, both, features, sums, s.frames)
    columns = []
    for name in config.sites:
        here = (marks & grammar.site_marks[name]) != 0
        own = params.network.sites[name]
        columns.append(site_scores(own, SITES[name], config.candidates, around, read.sites[name], here))
    sites = jnp.stack(columns, -1) if columns else jnp.zeros((rows, time, 0))
    if params.borders is not None:
        found = border_scores(params.borders, s.codes)
        if frozen:
            found = jax.lax.stop_gradient(found)
        found = jnp.exp(params.borders.log_temperature) * found
        sites = jnp.concatenate([sites, jnp.where(known[:, :, None], found, 0.0)], -1)
    return Tracks(classes, sites, marks, logits)
