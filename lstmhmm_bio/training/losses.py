"""Training objectives.

`framewise` is the cross-entropy of the classes base by base, `sitewise` that of the sites among their candidates.
`sequence_discriminative` is the negative log probability of the labelled paths under the whole hybrid (a conditional
random field, or maximum mutual information): -log P(labels | x) = log Z(all paths) - log Z(paths of the labels).
It fits starts, splice sites, transitions and temperatures at the level of genes.
"""

from __future__ import annotations

import jax.numpy as jnp
import optax
from jax import Array

from ..hmm.grammars.grammar import Grammar
from ..hmm.graph import NEG
from ..hmm.recursions import partition
from ..nn.hybrid import HybridParams, Tracks


def framewise(grammar: Grammar, tracks: Tracks, allowed: Array) -> Array:
    """Mean cross-entropy (nat) of the classes over bases whose label is certain.

    Args:
        grammar: that the labels speak of.
        tracks: of the windows.
        allowed: [2 n, time] state bit sets, 0 at padding.
    """
    bits = allowed.astype(jnp.int32)[..., None]
    inside = (bits & grammar.class_bits) != 0
    certain = (inside != ((bits & ~grammar.class_bits) != 0)).astype(jnp.float32)
    loss = optax.sigmoid_binary_cross_entropy(tracks.logits, inside.astype(jnp.float32))
    return (loss * certain).sum() / jnp.maximum(certain.sum(), 1.0)


def sitewise(grammar: Grammar, tracks: Tracks, allowed: Array) -> Array:
    """Mean over the kinds of sites of the cross-entropy (nat) per true site, over candidates whose label is certain.

    The scores are taken as log likelihood ratios: the logit of a candidate adds the log odds of true ones in the batch.
    """
    bits = allowed.astype(jnp.int32)
    total = jnp.float32(0)
    for i, (name, states) in enumerate(grammar.site_bits.items()):
        candidate = (tracks.marks & grammar.site_marks[name]) != 0
        true = (bits & states) != 0
        certain = candidate & (true != ((bits & ~states) != 0))
        weight = certain.astype(jnp.float32)
        right = (weight * true).sum()
        odds = jnp.log((right + 0.5) / (weight.sum() - right + 0.5))
        loss = optax.sigmoid_binary_cross_entropy(tracks.sites[..., i] + odds, true.astype(jnp.float32))
        total += (loss * weight).sum() / (right + 1.0)
    return total / len(grammar.site_bits)


def sequence_discriminative(
    grammar: Grammar, params: HybridParams, tracks: Tracks, allowed: Array, lengths: Array
) -> Array:
    """Mean of -log P(labels | x) in nat per 1000 bases of one strand.

    Args:
        grammar: that the labels speak of.
        params: the model, for its transition weights.
        tracks: of the windows.
        allowed: [2 n, time] state bit sets, 0 at padding.
        lengths: [n] real bases.
    """
    rows, time = allowed.shape

    def emit(scored: tuple[Array, Array], fixed: tuple[Array, Array]) -> Array:
        """Emissions of one position, [states, 2 rows]: of all paths, and of those of the labels."""
        (classes, sites), (marks, bits) = scored, fixed
        e = grammar.emissions(classes.T, sites.T, marks, impossible=NEG, axis=0)
        return jnp.concatenate([e, jnp.where((bits & grammar.bits[:, None]) != 0, e, NEG)], axis=1)

    by_position = jnp.moveaxis(tracks.classes, 0, -1), jnp.moveaxis(tracks.sites, 0, -1)
    fixed = tracks.marks.T, allowed.astype(jnp.int32).T
    # the padding of reverse complements comes first
    begins = jnp.concatenate([jnp.zeros_like(lengths), time - lengths])
    ends = jnp.concatenate([lengths, jnp.full_like(lengths, time)])
    log_z = partition(
        grammar.graph,
        emit,
        grammar.scores(params.transitions),
        by_position,
        fixed,
        jnp.tile(begins, 2),
        jnp.tile(ends, 2),
    )
    loss = log_z[:rows] - log_z[rows:]
    # a window whose labels the masks forbid says nothing
    possible = (loss < -0.5 * NEG).astype(jnp.float32)
    return 1000 * (loss * possible).sum() / jnp.maximum(((ends - begins) * possible).sum(), 1.0)
