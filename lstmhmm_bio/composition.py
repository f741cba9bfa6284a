"""Markov models of nucleotide composition, many at once: log-likelihoods of blocks from their word counts.

A block of a few thousand bases is summarised by the counts of its hexamers on both strands. Any Markov model up to
order 5 gives its log-likelihood as a sum over these counts, so that thousands of blocks are scored under their own, all
different models in a few array operations. Everything here is in bits.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from numpy.typing import NDArray

from .calibration import HEXAMERS
from .sequence import kmer_indices, reverse_complement_kmers

WORD = 6
#: how strongly a context's counts are drawn towards the next shorter context's frequencies, in counts
SHRINKAGE = 8.0
#: the same for a codon after another codon towards the codon's own frequency
CODON_SHRINKAGE = 20.0
#: contexts of the adaptive models are this many bases long, less one
ADAPTIVE_WORD = 4
#: weight of the genome's own model as their prior, in counts per context
ADAPTIVE_PRIOR = 100.0


def block_counts(words: NDArray[np.integer], edges: NDArray[np.int64]) -> NDArray[np.float32]:
    """Hexamers by block.

    Args:
        words: [length] index of the hexamer that begins at each position, -1 for none.
        edges: [blocks + 1] ascending positions, the first 0 and the last at most the length.

    Returns:
        [blocks, 4096].
    """
    blocks = len(edges) - 1
    within = np.asarray(words[: edges[-1]], np.int64)
    rows = np.repeat(np.arange(blocks), np.diff(edges))
    known = within >= 0
    flat = np.bincount(rows[known] * HEXAMERS + within[known], minlength=blocks * HEXAMERS)
    return flat.reshape(blocks, HEXAMERS).astype(np.float32)


def both_strands(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Counts [..., 4096] of one strand plus those of the other."""
    return counts + np.take(counts, reverse_complement_kmers(WORD), axis=-1)


def hexamers(codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Index of the hexamer at each position, -1 where it is unknown or cut off."""
    return kmer_indices(codes, WORD)


def shorter(counts: Array, length: int) -> Array:
    """Counts [..., 4**length] of the last letters of words."""
    return counts.reshape(*counts.shape[:-1], -1, 4**length).sum(-2)


def _by_context(counts: Array, length: int) -> Array:
    """Counts of the last `length` letters of words: contexts and next letters, [..., 4**(length - 1), 4]."""
    return shorter(counts, length).reshape(*counts.shape[:-1], -1, 4)


def markov(counts: Array) -> Array:
    """Interpolated Markov models of order 5: log2 P(last letter | the five before), [rows, 4096], of counts so shaped.

    Every order is shrunk towards the one below, the lowest towards equal frequencies.
    """
    orders = [counts]
    while orders[-1].shape[-1] > 4:
        orders.append(orders[-1].reshape(len(counts), 4, -1).sum(1))  # without the first letter
    p = jnp.full((len(counts), 1, 4), 0.25)
    for order in reversed(orders):
        n = order.reshape(len(counts), -1, 4)
        lower = jnp.broadcast_to(p[:, None], (len(counts), n.shape[1] // p.shape[1], *p.shape[1:])).reshape(n.shape)
        p = (n + SHRINKAGE * lower) / (n.sum(-1, keepdims=True) + SHRINKAGE)
    return jnp.log2(p).reshape(counts.shape)


def codons(counts: Array) -> Array:
    """Model of in-frame hexamers: log2 P(codon | codon before), [..., 4096], of counts so shaped."""
    pairs = counts.reshape(*counts.shape[:-1], 64, 64)
    single = pairs.sum(-2) + 0.5
    single = single / single.sum(-1, keepdims=True)
    total = pairs.sum(-1, keepdims=True) + CODON_SHRINKAGE
    return jnp.log2((pairs + CODON_SHRINKAGE * single[..., None, :]) / total).reshape(counts.shape)


def adaptive(counts: Array, context: Array, prior: Array) -> Array:
    """Log2-likelihood of blocks under a Markov model of order 3 that learns while it reads.

    It is the Dirichlet-multinomial probability of the block's words given what was seen before: the prior's and the
    context's counts. Both strands count, so that the logarithm is halved.

    Args:
        counts: [blocks, 4096] of both strands.
        context: [blocks, 256] counts of `ADAPTIVE_WORD` letters of the sequence around each block, without it.
        prior: [4096] counts whose frequencies are the prior.

    Returns:
        [blocks] bits.
    """
    n = _by_context(counts, ADAPTIVE_WORD)
    expected = _by_context(prior, ADAPTIVE_WORD)
    a = context.reshape(n.shape) + ADAPTIVE_PRIOR * expected / expected.sum(-1, keepdims=True)
    whole, total = a.sum(-1), n.sum(-1)
    terms = (gammaln(whole) - gammaln(whole + total)).sum(-1) + (gammaln(a + n) - gammaln(a)).sum((-1, -2))
    return terms / (2 * jnp.log(2.0))


def log2_mean(values: Array) -> Array:
    """Log2 of the mean of 2**values over the last axis."""
    top = values.max(-1, keepdims=True)
    return top[..., 0] + jnp.log2(jnp.exp2(values - top).mean(-1))


def sums_over(counts: Array, members: Array) -> Array:
    """Sums of rows [rows, words], exact for whole counts: in row i of the rows that `members` [rows, rows] names."""
    return jnp.matmul(members.astype(jnp.float32), counts, precision="highest")


def entropy(counts: Array) -> Array:
    """Bits per base of blocks [blocks, 4096] given the two bases before: below 2, and low in simple repeats."""
    n = _by_context(counts, 3)
    p = n / jnp.maximum(n.sum((-1, -2), keepdims=True), 1)
    conditional = n / jnp.maximum(n.sum(-1, keepdims=True), 1)
    return -(p * jnp.log2(jnp.maximum(conditional, 1e-9))).sum((-1, -2))
