"""Speed of the HMM engine by number of states, in million positions (bases of one strand) per second.

    python benchmarks/hmm_speed.py [--length 196608] [--states 14 29 60 120] [--no-flag]

Forward: Viterbi's forward pass with back-pointers; Viterbi: path included, online for the long sequences; posterior:
forward-backward, blockwise for the long ones. "long" is a batch of 2 (the two strands of a chromosome), "short" one of
64 x 1000 positions. Each number is the best of three. The last lines show that time is linear in length.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable
from functools import partial

#: lets XLA compile a whole scan, if its step touches less than this, into one function instead of dispatching several
#: small kernels per step
FLAG = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=100000000"
BLOCK = 16_384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=12 * BLOCK, help="positions of a long sequence")
    parser.add_argument("--states", type=int, nargs="+", default=[14, 29, 60, 120])
    parser.add_argument("--no-flag", action="store_true", help=f"do without {FLAG}")
    arguments = parser.parse_args()
    if not arguments.no_flag:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}"

    import jax
    import jax.numpy as jnp
    import numpy as np

    from lstmhmm_bio.hmm.graph import Edge, Graph
    from lstmhmm_bio.hmm.kernels import kernel_of
    from lstmhmm_bio.hmm.recursions import forward, forward_backward, posteriors_blockwise
    from lstmhmm_bio.hmm.viterbi import ViterbiDecoder, _advance, _start, to_fixed_scores, viterbi

    def gene_like(states: int) -> Graph:
        """Chains with loops of three states that leave from and return to one background state."""
        names, edges, chains = ["N"], [Edge("N", "N", "stay")], 0
        while len(names) < states:
            chain = [f"c{chains}_{i}" for i in range(min(13, states - len(names)))]
            chains += 1
            names += chain
            edges += [Edge(i, j, "step") for i, j in itertools.pairwise(chain)]
            edges += [Edge(chain[i], chain[i - 2], "loop") for i in range(3, len(chain), 4)]
            edges += [Edge("N", chain[i], "enter") for i in {0, *range(5, len(chain), 6)}]
            edges += [Edge(chain[i], "N", "leave") for i in {len(chain) - 1, *range(2, len(chain), 5)}]
        ends = tuple((s, "step") for s in names)
        return Graph(tuple(names), tuple(edges), ends, ends)

    def seconds(run: Callable[[], object]) -> float:
        run()
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            jax.block_until_ready(run())
            times.append(time.perf_counter() - begin)
        return min(times)

    def online(graph: Graph, scores: object, emissions: jax.Array, blocks: int) -> None:
        decoder = ViterbiDecoder(graph, scores, 2)
        for _ in range(blocks):
            decoder.push(emissions)
        decoder.finish()

    def posterior(graph: Graph, scores: object, emissions: jax.Array, blocks: int, groups: jax.Array) -> None:
        lengths = jnp.full(2, blocks * BLOCK)
        for _, piece in posteriors_blockwise(graph, scores, lambda _: emissions, blocks, lengths, groups)[1]:
            piece.block_until_ready()

    weights = {"stay": -0.1, "enter": -3.0, "leave": -2.0, "loop": -0.5, "step": -0.2}
    blocks = max(1, arguments.length // BLOCK)

    def rates(states: int) -> list[float]:
        graph = gene_like(states)
        scores = graph.scores(weights)
        fixed = to_fixed_scores(scores)
        shapes = ((2, BLOCK, states), (64, 1000, states))
        long, short = (jax.random.normal(jax.random.key(0), shape) for shape in shapes)
        groups = jnp.asarray(np.eye(states, 4, dtype=np.float32))
        lengths = jnp.full(64, 1000)
        pass_only = jax.jit(partial(_advance, kernel_of(graph)))
        both = jax.jit(forward_backward, static_argnums=0)
        slope = jax.jit(jax.grad(lambda s, x: forward(graph, s, x, lengths).sum(), (0, 1)))
        size_long, size_short = 2 * blocks * BLOCK, short.shape[0] * short.shape[1]
        return [
            long.shape[0] * BLOCK / seconds(lambda: pass_only(fixed, _start(graph, 2), long, jnp.int32(BLOCK))),
            size_long / seconds(lambda: online(graph, scores, long, blocks)),
            size_long / seconds(lambda: posterior(graph, scores, long, blocks, groups)),
            size_short / seconds(lambda: pass_only(fixed, _start(graph, 64), short, lengths)),
            size_short / seconds(lambda: viterbi(graph, scores, short, lengths)),
            size_short / seconds(lambda: both(graph, scores, short, lengths)),
            size_short / seconds(lambda: slope(scores, short)),
        ]

    print(f"{'':>13} |{'long (batch 2)':^29}|{'short (batch 64)':^39}")
    print("states edges |  forward   Viterbi  posterior |  forward   Viterbi  posterior  gradient")
    for states in arguments.states:
        cells = [f"{rate / 1e6:9.2f}" for rate in rates(states)]
        edges = len(gene_like(states).edges)
        print(f"{states:6} {edges:5} |{' '.join(cells[:3])}  |{' '.join(cells[3:])}", flush=True)

    def at_once(length: int) -> float:
        graph = gene_like(14)
        scores, emissions = graph.scores(weights), jnp.zeros((2, length, 14))
        return seconds(lambda: viterbi(graph, scores, emissions, jnp.full(2, length)))

    for length in (100_000, 200_000, 400_000):
        print(f"Viterbi at once, 2 x {length}: {at_once(length):.3f} s")


if __name__ == "__main__":
    main()
