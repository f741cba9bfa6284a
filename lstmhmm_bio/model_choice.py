"""Which bundled model fits a genome: the one that explains most of it by genes.

Every model scores its states relative to intergenic sequence, so log Z, the log odds of "with genes" against "without",
says how much a model gains by the genes it sees. The gain per base, on one sample, is compared between models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .annotate import Annotator
from .features import Record
from .model import load_model


@dataclass(frozen=True)
class Fit:
    """How well a model explains a sample: nat per 1000 bases that its genes gain."""

    model: str
    gain: float


def choose(names: Sequence[str], read: Callable[[], Iterable[Record]]) -> list[Fit]:
    """The models from the best to the worst.

    Args:
        names: of the models, or paths of their cards.
        read: gives the records, once per model.
    """
    fits = [Fit(name, Annotator(load_model(name)).evidence_of_genes(read())) for name in names]
    return sorted(fits, key=lambda fit: -fit.gain)
