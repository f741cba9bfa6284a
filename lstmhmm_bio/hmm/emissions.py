"""From network outputs to HMM emissions: scaled likelihoods.

A network trained by cross-entropy gives posteriors p(c | x); an HMM wants likelihoods p(x | c). By Bayes' rule
log p(x | c) = log p(c | x) - log pi_c + const, with pi_c the class frequency in training (Bourlard & Morgan 1994).
For a binary class the ratio of the two likelihoods is logit p(c | x) - logit pi_c, and the constant cancels.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def scaled_likelihood_ratio(logits: Array, frequency: Array, temperature: Array | float) -> Array:
    """Tempered log p(x | c) - log p(x | not c).

    Args:
        logits: [..., classes] logit of the class posterior.
        frequency: [classes] class frequency in training, in (0, 1).
        temperature: factor below 1 that makes up for neighbouring bases not being independent; learned.
    """
    return temperature * (logits - (jnp.log(frequency) - jnp.log1p(-frequency)))
