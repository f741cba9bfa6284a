"""Anomalous regions: which windows stand out from the others, how surely, and where they begin and end.

The null distribution is the genome's own: scores of ordinary windows lie around the median, with the spread of the
lower half of all windows, so that anomalous windows, which lie above, do not widen it (an empirical null, Efron 2004).
They are as skewed as those of random sequence, and are made normal by the transformation of Wilson & Hilferty (1931)
for gamma distributions. A hidden Markov model of two states over the standardised scores joins neighbouring windows to
regions. A region's p value is that of its mean under the null, neighbours being correlated as the ordinary windows are;
q values are those of Benjamini and Hochberg (1995) with every window of the genome as a place where a region could have
been.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import erfc, log, sqrt

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .anomaly import WindowScores, middle
from .hmm.graph import Edge, Graph
from .hmm.recursions import forward_backward

#: with fewer windows there is no telling what is ordinary
ENOUGH_WINDOWS = 20
#: skewness of the scores of random sequence, nearly the same for windows of 500 to 20,000 bases
SKEWNESS = 0.3
#: scores of the anomalous state, in spreads above the median: mean and standard deviation
ANOMALOUS = (4.0, 2.0)
#: one window's log-likelihood ratio never exceeds this, in nat
_MOST = 20.0
#: expected lengths of regions and of what lies between, bases
REGION, BETWEEN = 20_000, 500_000
#: a region of less entropy, in bits per base given two bases before, is called low complexity
SIMPLE = 1.7

_GRAPH = Graph(
    ("typical", "anomalous"),
    (
        Edge("typical", "typical", "stay out"),
        Edge("typical", "anomalous", "enter"),
        Edge("anomalous", "typical", "leave"),
        Edge("anomalous", "anomalous", "stay in"),
    ),
    (("typical", "begin out"), ("anomalous", "begin in")),
    (("typical", "end"), ("anomalous", "end")),
)
#: windows of one call of the HMM; records are padded to one of these lengths
_LENGTHS = tuple(16**i for i in range(1, 7))
_CALL = 4096


@dataclass(frozen=True)
class Anomaly:
    """A called region.

    Attributes:
        seqid: record.
        start, end: 0-based half-open.
        kind: "composition", "low complexity" or "coverage", whichever stands out most.
        bits: mean score, bits per base.
        posterior: mean posterior probability of its windows.
        p, q: see the module's head.
        depth: mean log2 of the read depth over the genome's median; 0 without depth.
    """

    seqid: str
    start: int
    end: int
    kind: str
    bits: float
    posterior: float
    p: float
    q: float
    depth: float


@dataclass(frozen=True)
class Null:
    """Scores of ordinary windows.

    Attributes:
        centre, spread: median, and its distance to the quantile that lies one standard deviation below the mean of a
            normal distribution; bits per base.
        window: known bases of a full window; fewer widen the distribution.
        correlation: of neighbouring windows.
        windows: number of windows that it was taken from.
    """

    centre: float
    spread: float
    window: float
    correlation: float
    windows: int

    @staticmethod
    def of(scores: Sequence[WindowScores]) -> Null:
        """The null distribution of a genome's windows."""
        bits, known = (np.concatenate([getattr(s, name) for s in scores] or [[]]) for name in ("bits", "known"))
        window = float(known.max(initial=1.0))
        full = bits[known >= window / 2]
        centre, spread = middle(full)
        spread = max(spread, 1e-9)
        products, squares = 0.0, 1e-9
        for s in scores:
            z = np.clip((s.bits - centre) / spread, -2, 2)
            products += float(z[:-1] @ z[1:])
            squares += float(z[:-1] @ z[:-1])
        return Null(centre, spread, window, min(max(products / squares, 0.0), 0.99), len(full))

    def standardise(self, scores: WindowScores) -> NDArray[np.float64]:
        """Scores as standard normal deviates; windows of few known bases vary more."""
        size = np.minimum(scores.known / self.window, 1.0)
        return _normal((scores.bits - self.centre) / self.spread * np.sqrt(size))

    def p_value(self, z: NDArray[np.float64]) -> float:
        """Of a run of standardised windows: that their mean is so high by chance."""
        independent = max(1.0, len(z) * (1 - self.correlation) / (1 + self.correlation))
        return max(0.5 * erfc(float(z.mean()) * sqrt(independent / 2)), 1e-300)


def anomalies(scores: Sequence[WindowScores], step: int, max_q: float = 0.05) -> list[Anomaly]:
    """The anomalous regions of a genome, in the order of its records.

    Args:
        scores: of all its records.
        step: bases of a cell.
        max_q: highest q value of a region.

    Returns:
        None at all for fewer than `ENOUGH_WINDOWS` windows.
    """
    null = Null.of(scores)
    if null.windows < ENOUGH_WINDOWS:
        return []
    found = []
    z_of = [null.standardise(s) for s in scores]
    for s, z, posterior in zip(scores, z_of, _posteriors(z_of, step), strict=True):
        inside = np.concatenate([[False], posterior > 0.5, [False]])
        for a, b in (
            zip(*np.flatnonzero(np.diff(inside)).reshape(-1, 2).T.tolist(), strict=True) if inside.any() else ()
        ):
            found.append((null.p_value(z[a:b]), s, slice(a, b), float(posterior[a:b].mean())))
    q_values = _benjamini_hochberg([p for p, *_ in found], sum(map(len, z_of)))
    return [
        _region(s, part, null, posterior, p, q)
        for (p, s, part, posterior), q in zip(found, q_values, strict=True)
        if q <= max_q
    ]


def _region(s: WindowScores, part: slice, null: Null, posterior: float, p: float, q: float) -> Anomaly:
    excess = float(s.bits[part].mean()) - null.centre
    if float(s.depth_bits[part].mean()) > excess / 2:
        kind = "coverage"
    elif float(s.entropy[part].min()) < SIMPLE:
        kind = "low complexity"
    else:
        kind = "composition"
    start, end = int(s.edges[part.start]), int(s.edges[part.stop])
    bits, depth = float(s.bits[part].mean()), float(s.depth[part].mean())
    return Anomaly(s.seqid, start, end, kind, bits, posterior, p, q, depth)


def _posteriors(z_of: Sequence[NDArray[np.float64]], step: int) -> Iterator[NDArray[np.float32]]:
    """Posterior probability of the anomalous state for the windows of each record."""
    leave, enter = min(step / REGION, 0.5), min(step / BETWEEN, 0.5)
    within = enter / (enter + leave)
    weights = {"stay out": 1 - enter, "enter": enter, "leave": leave, "stay in": 1 - leave, "end": 1.0}
    weights |= {"begin out": 1 - within, "begin in": within}
    scores = _GRAPH.scores({name: log(value) for name, value in weights.items()})
    out: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(z_of)
    by_length: dict[int, list[int]] = {}
    for i, z in enumerate(z_of):
        if len(z):
            by_length.setdefault(next(n for n in (*_LENGTHS, len(z)) if n >= len(z)), []).append(i)
    for length, members in by_length.items():
        rows = max(1, _CALL // length)
        for k in range(0, len(members), rows):
            batch = members[k : k + rows]
            emissions = np.zeros((rows, length, 2), np.float32)
            lengths = np.zeros(rows, np.int32)
            for row, i in enumerate(batch):
                emissions[row, : len(z_of[i]), 1] = _log_ratio(z_of[i])
                lengths[row] = len(z_of[i])
            _, posteriors = forward_backward(_GRAPH, scores, jnp.asarray(emissions), jnp.asarray(lengths))
            for row, i in enumerate(batch):
                out[i] = np.asarray(posteriors[row, : len(z_of[i]), 1])
    yield from out


def _normal(spreads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal deviates of scores given in spreads above the median."""
    deviates = _skewed(0.0) + spreads * (_skewed(0.0) - _skewed(-1.0))
    return 6 / SKEWNESS * (np.cbrt(SKEWNESS / 2 * deviates + 1) - 1) + SKEWNESS / 6


def _skewed(deviate: float) -> float:
    """The deviate of a gamma distribution of mean 0 and variance 1 at the place of a normal one."""
    return 2 / SKEWNESS * ((1 + SKEWNESS * deviate / 6 - SKEWNESS**2 / 36) ** 3 - 1)


def _log_ratio(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-likelihood of standardised scores in the anomalous state less that in the typical one, in nat.

    Of two normal distributions the wider one wins at both ends; here no low score is anomalous.
    """
    mean, deviation = ANOMALOUS
    lowest = -mean / (deviation**2 - 1)  # where the ratio turns
    z = np.maximum(z, lowest)
    return np.minimum(z**2 / 2 - ((z - mean) / deviation) ** 2 / 2 - log(deviation), _MOST)


def _benjamini_hochberg(p_values: Sequence[float], tests: int) -> list[float]:
    """The q values of the smallest p values of some number of tests."""
    order = np.argsort(p_values)
    q_values = np.ones(len(p_values))
    least = 1.0
    for rank in range(len(order), 0, -1):
        least = min(least, p_values[order[rank - 1]] * max(tests, len(order)) / rank)
        q_values[order[rank - 1]] = least
    return q_values.tolist()
