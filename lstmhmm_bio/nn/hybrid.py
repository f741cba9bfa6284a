"""The hybrid: the network's outputs as the scores that the bacterial grammar reads."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..calibration import Tables
from ..hmm.emissions import scaled_likelihood_ratio
from ..hmm.grammars import bacteria
from .network import (
    CodeMasks,
    NetworkConfig,
    NetworkParams,
    codon_logits,
    encode,
    init_network,
    signals,
    start_scores,
)

#: every 64-base stretch of a strand may hold this many start codons on average; more are left out in padding
CANDIDATES_PER_64 = 6


class HybridParams(NamedTuple):
    """Everything that training fits.

    Attributes:
        network: LSTM and heads.
        log_temperature: [] of the codon scores.
        coding_bias: [] added to every codon score; balances genes against intergenic sequence per base.
        frequency: [3] class frequencies of the codon positions (measured, not fitted).
        transitions: transition weight by name, see `bacteria.INITIAL_WEIGHTS`.
    """

    network: NetworkParams
    log_temperature: Array
    coding_bias: Array
    frequency: Array
    transitions: dict[str, Array]


class Tracks(NamedTuple):
    """Scores along windows, both strands (rows [0, n) as given, [n, 2 n) reverse complements).

    Attributes:
        coding: [2 n, time, 3] score of codon positions.
        start: [2 n, time] score of a start codon that begins here (0 where none does).
        starts_here, stop_ends_here: [2 n, time] bool.
        logits: [2 n, time, 3] codon logits before scaling, for the framewise loss.
    """

    coding: Array
    start: Array
    starts_here: Array
    stop_ends_here: Array
    logits: Array


def init_hybrid(key: Array, config: NetworkConfig) -> HybridParams:
    """Initial parameters; codon positions are given the frequency 0.15 until it is measured."""
    return HybridParams(
        init_network(key, config),
        jnp.log(jnp.float32(0.3)),
        jnp.float32(0.0),
        jnp.full(3, 0.15),
        {k: jnp.float32(v) for k, v in bacteria.INITIAL_WEIGHTS.items()},
    )


def score_windows(
    params: HybridParams,
    config: NetworkConfig,
    codes: Array,
    tables: Tables,
    code: CodeMasks,
    *,
    frozen: bool = False,
) -> Tracks:
    """Runs network and scaling over windows.

    Args:
        params: the model.
        config: its sizes.
        codes: [n, time] uint8, time a multiple of the stride; padding is 4.
        tables: calibration tables with a leading axis of n.
        code: genetic code.
        frozen: no gradients into the LSTM and the codon head, only into start model, temperature and bias.
    """
    s = signals(codes, tables, code)
    time = s.codes.shape[1]
    features = encode(params.network, config, s, jnp.asarray(tables.summary))
    logits = codon_logits(params.network, config, features)
    if frozen:
        features, logits = jax.lax.stop_gradient((features, logits))
    frequency = jax.lax.stop_gradient(params.frequency)
    coding = scaled_likelihood_ratio(logits, frequency, jnp.exp(params.log_temperature)) + params.coding_bias
    coding = jnp.where(s.codes[:, :, None] < 4, coding, 0.0)
    k = max(8, time * CANDIDATES_PER_64 // 64)
    candidates = jax.vmap(lambda row: jnp.nonzero(row, size=k, fill_value=time)[0])(s.starts_here)
    scores = start_scores(params.network, config, s, tables, features, coding, candidates)
    start = jax.vmap(lambda i, v: jnp.zeros(time).at[i].set(v, mode="drop"))(candidates, scores)
    return Tracks(coding, start, s.starts_here, s.stop_ends_here, logits)
