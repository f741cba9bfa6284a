"""State paths drawn from the posterior: forward filtering, backward sampling."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from .graph import NEG, Graph, Scores
from .kernels import kernel_of, padded_arcs
from .recursions import filter_block, start, time_major


def sample_paths(
    graph: Graph, scores: Scores, emissions: jax.Array, lengths: jax.Array, key: jax.Array, samples: int
) -> jax.Array:
    """Independent draws of whole paths, each with its posterior probability.

    Args:
        graph: the topology (static).
        scores: log weights of the transitions.
        emissions: [batch, time, states] float32 log scores.
        lengths: [batch] int32; what lies beyond is padding and ignored.
        key: `jax.random` key.
        samples: draws per sequence (static).

    Returns:
        [samples, batch, time] int32 state indices, 0 at padding.
    """
    last, history = filter_block(kernel_of(graph), scores, start(graph, len(emissions)), time_major(emissions), lengths)
    source, edge = padded_arcs(graph.predecessors)
    batch = jnp.arange(len(emissions))
    weight = jnp.where(edge >= 0, scores.edges[edge], jnp.float32(100 * NEG))

    def back(state: jax.Array, inputs: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        alpha, t, key = inputs
        sources = jnp.asarray(source)[:, state]
        slot = jax.random.categorical(key, alpha[sources, batch] + weight[:, state], axis=0)
        before = jnp.take_along_axis(sources, slot[None], axis=0)[0]
        inside = t < lengths
        return jnp.where(inside, before, state), jnp.where(inside, state, 0)

    key, key_end = jax.random.split(key)
    ends = last.log_alpha + scores.final[:, None]
    state = jax.random.categorical(key_end, ends, axis=0, shape=(samples, len(emissions))).astype(jnp.int32)
    times = jnp.arange(emissions.shape[1], dtype=jnp.int32)
    _, paths = lax.scan(back, state, (history, times, jax.random.split(key, len(times))), reverse=True)
    return jnp.moveaxis(paths, 0, -1)
