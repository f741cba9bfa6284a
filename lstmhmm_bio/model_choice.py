"""Which bundled model fits a genome.

Two things speak for a model. Its training genomes' composition: log P of the sample's hexamers under the frequencies
that the model expects at the sample's GC content. And its genes: log Z, the log odds of "with genes" against
"without". Both are in nat per 1000 bases; the genes count less, since models differ in how large their scores are on
any genome. On the validation genomes, the models of eukaryotes lead on their own species by at least `MARGIN` + 4, and
are below `MARGIN` - 4 on bacteria and archaea (docs/experiments.md, E19).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .annotate import Annotator, sample_of
from .features import Record
from .model import load_model

#: lead (nat per 1000 bases) over the best bacterial model that another model needs
MARGIN = 34.0
#: what log Z counts beside the composition
GENES_WEIGHT = 0.45


@dataclass(frozen=True)
class Fit:
    """How well a model explains a sample: nat per 1000 bases, comparable between models, `MARGIN` deducted."""

    model: str
    score: float


def choose(names: Sequence[str], records: Iterable[Record]) -> list[Fit]:
    """The models from the best to the worst.

    Args:
        names: of the models, or paths of their cards.
        records: of the genome, which are read once.
    """
    sample, fits = sample_of(records), []
    for name in names:
        model = load_model(name)
        handicap = 0.0 if model.grammar.kind == "bacteria" else MARGIN
        composition, genes = Annotator(model).fit_of_sample(sample)
        fits.append(Fit(name, composition + GENES_WEIGHT * genes - handicap))
    return sorted(fits, key=lambda fit: -fit.score)
