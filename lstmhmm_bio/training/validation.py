"""Gene-level scores on windows: what the progress line shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..calibration import Tables
from ..hmm.grammars import bacteria
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


@partial(jax.jit, static_argnames="network")
def _emissions(
    params: HybridParams, codes: Array, tables: Tables, code: CodeMasks, network: NetworkConfig
) -> tuple[Array, Scores]:
    tracks = score_windows(params, network, codes, tables, code)
    e = bacteria.emissions(tracks.coding, tracks.start, tracks.starts_here, tracks.stop_ends_here, impossible=NEG)
    return e, bacteria.GRAPH.scores(params.transitions)


def score_batch(params: HybridParams, network: NetworkConfig, batch: Batch, code: CodeMasks) -> GeneScores:
    """Decodes the windows of a batch and compares genes that have both ends inside with the labels."""
    e, scores = _emissions(params, batch.codes, batch.tables, code, network)
    # padding decodes as intergenic, also where it comes first in a reverse complement
    _, paths = viterbi(bacteria.GRAPH, scores, e, jnp.full(len(e), e.shape[1], jnp.int32))
    total = GeneScores(0, 0, 0, 0)
    for path, allowed in zip(paths, batch.allowed, strict=True):
        truth = bacteria.labelled_path(allowed)
        reference, predicted = _complete(truth), _complete(path)
        # predictions that touch bases without a certain label are neither right nor wrong
        unknown = np.concatenate([[0], np.cumsum((truth == bacteria.UNKNOWN_STATE) & (allowed > 0))])
        predicted = {e: s for e, s in predicted.items() if e in reference or unknown[e] == unknown[s]}
        right = reference.keys() & predicted.keys()
        exact = sum(reference[e] == predicted[e] for e in right)
        total += GeneScores(len(reference), len(predicted), len(right), exact)
    return total


def _complete(path: np.ndarray) -> dict[int, int]:
    """{end: start} of the genes with both ends."""
    found = bacteria.intervals(path)
    whole = found.has_start & found.has_stop
    return dict(zip(found.end[whole].tolist(), found.start[whole].tolist(), strict=True))
