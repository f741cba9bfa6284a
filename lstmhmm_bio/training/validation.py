"""Gene-level scores on windows: what the progress line shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..calibration import Tables
from ..hmm.grammars.grammar import Grammar
from ..hmm.graph import NEG, Scores
from ..hmm.viterbi import viterbi
from ..nn.hybrid import HybridParams, score_windows
from ..nn.network import CodeMasks, NetworkConfig
from .dataset import Batch


@dataclass(frozen=True)
class GeneScores:
    """Genes with a stop codon inside the windows: in the labels, predicted, and right by stop and by both ends."""

    reference: int
    predicted: int
    stop: int
    exact: int

    def __add__(self, other: GeneScores) -> GeneScores:
        return GeneScores(*(a + b for a, b in zip(self._values, other._values, strict=True)))

    @property
    def _values(self) -> tuple[int, int, int, int]:
        return self.reference, self.predicted, self.stop, self.exact

    @property
    def stop_f1(self) -> float:
        return 2 * self.stop / max(self.reference + self.predicted, 1)

    @property
    def exact_f1(self) -> float:
        return 2 * self.exact / max(self.reference + self.predicted, 1)


@partial(jax.jit, static_argnames=("network", "grammar"))
def _emissions(
    params: HybridParams, codes: Array, tables: Tables, code: CodeMasks, network: NetworkConfig, grammar: Grammar
) -> tuple[Array, Scores]:
    tracks = score_windows(params, network, grammar, codes, tables, code)
    e = grammar.emissions(tracks.classes, tracks.sites, tracks.marks, impossible=NEG)
    return e, grammar.scores(params.transitions)


def score_batch(
    params: HybridParams, network: NetworkConfig, grammar: Grammar, batch: Batch, code: CodeMasks
) -> GeneScores:
    """Decodes the windows of a batch and compares genes that have both ends inside with the labels."""
    e, scores = _emissions(params, batch.codes, batch.tables, code, network, grammar)
    # padding decodes as intergenic, also where it comes first in a reverse complement
    _, paths = viterbi(grammar.graph, scores, e, jnp.full(len(e), e.shape[1], jnp.int32))
    total = GeneScores(0, 0, 0, 0)
    bits = np.array([1 << i for i in range(len(grammar.graph.states))])
    for path, allowed in zip(paths, batch.allowed, strict=True):
        reference = _complete(grammar, allowed)
        predicted = _complete(grammar, bits[path])
        # predictions that touch bases without a certain label are neither right nor wrong
        certain = _certain(grammar, allowed)
        unknown = np.concatenate([[0], np.cumsum(~certain & (allowed > 0))])
        predicted = {e: g for e, g in predicted.items() if e in reference or unknown[e] == unknown[g[0]]}
        right = reference.keys() & predicted.keys()
        exact = sum(reference[e] == predicted[e] for e in right)
        total += GeneScores(len(reference), len(predicted), len(right), exact)
    return total


def _certain(grammar: Grammar, allowed: np.ndarray) -> np.ndarray:
    """Whether it is known of each base to which classes it belongs: [time] bool."""
    bits = allowed.astype(np.int64)[:, None]
    return (((bits & grammar.class_bits) != 0) != ((bits & ~grammar.class_bits) != 0)).all(1)


def _complete(grammar: Grammar, allowed: np.ndarray) -> dict[int, tuple]:
    """{end: (start, what lies between)} of the genes with both ends, from bit sets of states."""
    return {chain[-1][1]: (chain[0][0], chain) for chain in grammar.whole(allowed)}
