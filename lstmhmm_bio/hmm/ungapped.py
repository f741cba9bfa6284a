"""The best series of ungapped local alignments of sequences to a profile: a cheap bound on what a search may find.

The recursion is that of HMMER's MSV filter (Eddy, PLoS Comput. Biol. 7:e1002195, 2011) in nat and floating point:
every diagonal begins anywhere with the same probability, and any number of them follow each other.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from .chain import Flanks

#: log odds of what cannot be
_NEVER = -1e30


@jax.jit
def ungapped_scores(
    log_odds: jax.Array, size: jax.Array, flanks: Flanks, codes: jax.Array, lengths: jax.Array
) -> jax.Array:
    """Scores [batch] in nat, of multihit paths.

    Args:
        log_odds: [codes, length] of match states, those of padding low.
        size: scalar, nodes that are no padding.
        flanks: of each sequence.
        codes: [batch, time] integers; the loop ends with the longest sequence, not with the padding.
        lengths: [batch], at least 1 where the score is looked at.
    """
    loop, move, again, leave = (jnp.log(x) for x in flanks)
    enter = move + jnp.log(2.0 / (size * (size + 1.0)))

    def step(t: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        diagonal, joined, closed, best = carry
        begin = jnp.maximum(t * loop, joined) + enter
        before = jnp.pad(diagonal[:, :-1], ((0, 0), (1, 0)), constant_values=_NEVER)
        diagonal = jnp.maximum(before, begin[:, None]) + log_odds[codes[:, t]]
        end = jnp.max(diagonal, axis=1)
        joined = jnp.maximum(joined + loop, end + again)
        closed = jnp.maximum(closed + loop, end + leave)
        return diagonal, joined, closed, jnp.where(t + 1 == lengths, closed + move, best)

    never = jnp.full(lengths.shape, _NEVER, jnp.float32)
    start = (jnp.full((len(codes), log_odds.shape[1]), _NEVER, jnp.float32), never, never, never)
    return lax.fori_loop(0, jnp.max(lengths), step, start)[3]
