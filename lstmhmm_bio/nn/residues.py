"""A network that says which residues may replace each residue of a protein, from the protein around it.

Two LSTMs read the protein from either end; what they know before they come to a residue, and the residue itself, give
the frequencies of residues at that place in homologous proteins. It is the idea of context-specific profiles (Biegert
and Soeding, PNAS 106:3770, 2009) with an LSTM in the place of a library of windows.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .lstm import LSTMParams, bilstm, init_lstm, on_host
from .sites import Dense, init_dense

#: amino acids, and the code of everything else
RESIDUES = 20
UNKNOWN = RESIDUES


class ResidueParams(NamedTuple):
    """Weights.

    Attributes:
        ahead, back: LSTMs that read one-hot codes, [RESIDUES + 1] inputs.
        context: of what both know, [2 * hidden, units].
        own: [RESIDUES + 1, units] of the residue itself.
        out: [units, RESIDUES].
        substitution: [RESIDUES + 1, RESIDUES] added for the residue itself, nat.
    """

    ahead: LSTMParams
    back: LSTMParams
    context: Dense
    own: Array
    out: Dense
    substitution: Array


def init_residues(rng: np.random.Generator, hidden: int, units: int) -> ResidueParams:
    """Random initial weights; the residue itself tells nothing yet."""
    return ResidueParams(
        init_lstm(rng, RESIDUES + 1, hidden),
        init_lstm(rng, RESIDUES + 1, hidden),
        init_dense(rng, 2 * hidden, units),
        on_host(np.zeros((RESIDUES + 1, units))),
        init_dense(rng, units, RESIDUES, scale=0.1),
        on_host(np.zeros((RESIDUES + 1, RESIDUES))),
    )


def log_replacements(params: ResidueParams, codes: Array, lengths: Array, *, hidden: bool = False) -> Array:
    """Log frequencies of the residues that stand in homologous proteins at each place.

    Args:
        params: the weights.
        codes: [batch, time] integers, those of amino acids or `UNKNOWN`.
        lengths: [batch]; beyond is padding.
        hidden: the residue itself is not shown, only what is around it.

    Returns:
        [batch, time, RESIDUES] in nat; without meaning in the padding.
    """
    x = jax.nn.one_hot(codes.T, RESIDUES + 1)
    mask = (jnp.arange(codes.shape[1])[:, None] < lengths).astype(x.dtype)
    ahead, back = jnp.split(bilstm(params.ahead, params.back, x, mask), 2, axis=-1)
    edge = jnp.zeros_like(ahead[:1])
    around = jnp.concatenate([jnp.concatenate([edge, ahead[:-1]]), jnp.concatenate([back[1:], edge])], axis=-1)
    units, scores = around @ params.context.w + params.context.b, params.out.b
    if not hidden:
        units, scores = units + params.own[codes.T], scores + params.substitution[codes.T]
    scores = jnp.tanh(units) @ params.out.w + scores
    return jnp.swapaxes(jax.nn.log_softmax(scores), 0, 1)
