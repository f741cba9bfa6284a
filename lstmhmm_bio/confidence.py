"""How sure a gene is: posterior probabilities made to agree with how often such genes are right.

Posteriors of a model lean towards 1, least rightly so for short genes. A logistic regression on the logit of the
posterior and the logarithm of the length (Platt scaling with a second variable) is fitted on annotated genomes of
clades that its model was not trained on (`benchmarks/fit_scores.py`) and stands in the card of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log
from typing import Any

from .features import Gene

#: posteriors nearer to 0 or 1 than this are taken as this near
NEAREST = 2e-4
#: bases at which the length adds nothing
USUAL_LENGTH = 900


@dataclass(frozen=True)
class Confidence:
    """Coefficients (constant, of the posterior's logit, of log(length / `USUAL_LENGTH`)).

    Attributes:
        gene: for the posterior of a gene's stop codon.
        start: for that of its start, given the gene.
    """

    gene: tuple[float, float, float]
    start: tuple[float, float, float]

    @staticmethod
    def from_card(card: dict[str, Any]) -> Confidence | None:
        """Of a model's card; None if it has none."""
        if "confidence" not in card:
            return None
        said = card["confidence"]
        return Confidence(tuple(said["gene"]), tuple(said["start"]))

    def of(self, gene: Gene) -> Gene:
        """The gene with calibrated scores; alternative starts share what its start leaves over.

        One that is cut by a record's end stays as it is: its length is not known.
        """
        if not (gene.has_start and gene.has_stop):
            return gene
        score, start = (
            _logistic(c, p, gene.length) for c, p in ((self.gene, gene.score), (self.start, gene.start_score))
        )
        share = (1 - start) / max(1 - gene.start_score, NEAREST)
        others = tuple((at, min(share * p, 1.0)) for at, p in gene.alternative_starts)
        return replace(gene, score=score, start_score=start, alternative_starts=others)


def _logistic(coefficients: tuple[float, float, float], posterior: float, length: int) -> float:
    constant, slope, of_length = coefficients
    return 1 / (1 + exp(-(constant + slope * logit(posterior) + of_length * log(length / USUAL_LENGTH))))


def logit(posterior: float) -> float:
    """Log odds of a posterior probability, in nat, within what `NEAREST` allows."""
    p = min(max(posterior, NEAREST), 1 - NEAREST)
    return log(p / (1 - p))
