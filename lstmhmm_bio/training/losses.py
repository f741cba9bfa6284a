"""Training objectives.

`framewise` is the cross-entropy of codon positions base by base. `sequence_discriminative` is the negative log
probability of the labelled paths under the whole hybrid (a conditional random field, or maximum mutual information):
-log P(labels | x) = log Z(all paths) - log Z(paths that the labels allow). It fits starts, transitions and
temperature at the level of genes.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from ..hmm.grammars import bacteria
from ..hmm.graph import NEG
from ..hmm.recursions import forward
from ..nn.hybrid import HybridParams, Tracks

#: bit sets of the states in which a base is codon position 1, 2, 3
_POSITION_BITS = np.array(
    [sum(1 << i for i, s in enumerate(bacteria.STATES) if set(s) & set(letters)) for letters in ("1S", "2", "3T")],
    np.int32,
)
_STATE_BITS = np.array([1 << i for i in range(len(bacteria.STATES))], np.int32)


def framewise(tracks: Tracks, allowed: Array) -> Array:
    """Mean cross-entropy (nat) of the codon positions over bases whose label is certain.

    Args:
        tracks: of the windows.
        allowed: [2 n, time] state bit sets, 0 at padding.
    """
    bits = allowed.astype(jnp.int32)[..., None]
    inside = (bits & _POSITION_BITS) != 0
    certain = (inside != ((bits & ~_POSITION_BITS) != 0)).astype(jnp.float32)
    loss = optax.sigmoid_binary_cross_entropy(tracks.logits, inside.astype(jnp.float32))
    return (loss * certain).sum() / jnp.maximum(certain.sum(), 1.0)


def sequence_discriminative(params: HybridParams, tracks: Tracks, allowed: Array, lengths: Array) -> Array:
    """Mean of -log P(labels | x) in nat per 1000 bases of one strand.

    Args:
        params: the model, for its transition weights.
        tracks: of the windows.
        allowed: [2 n, time] state bit sets, 0 at padding.
        lengths: [n] real bases.
    """
    e = bacteria.emissions(tracks.coding, tracks.start, tracks.starts_here, tracks.stop_ends_here, impossible=NEG)
    rows, time, _ = e.shape
    # the padding of reverse complements comes first: turn it to the end
    both = jnp.concatenate([lengths, lengths])
    shift = jnp.where(jnp.arange(rows) < rows // 2, 0, time - both)
    index = jnp.minimum(jnp.arange(time)[None] + shift[:, None], time - 1)
    e = jnp.take_along_axis(e, index[..., None], axis=1)
    bits = jnp.take_along_axis(allowed.astype(jnp.int32), index, axis=1)
    clamped = jnp.where((bits[..., None] & _STATE_BITS) != 0, e, NEG)
    scores = bacteria.GRAPH.scores(params.transitions)
    log_z = forward(bacteria.GRAPH, scores, jnp.concatenate([e, clamped]), jnp.concatenate([both, both]))
    loss = log_z[:rows] - log_z[rows:]
    # a window whose labels the masks forbid says nothing
    possible = (loss < -0.5 * NEG).astype(jnp.float32)
    return 1000 * (loss * possible).sum() / jnp.maximum((both * possible).sum(), 1.0)
