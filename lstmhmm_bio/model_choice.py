"""Which bundled model fits a genome.

Two things speak for a model. Its training genomes' composition: log P of the sample's hexamers under the frequencies
that the model expects at the sample's GC content, in nat per 1000 bases. And its genes: log Z, the log odds of "with
genes" against "without", as a share of what the model reaches on its training genomes (its card tells), since models
differ in how large their scores are on any genome. Weight and margin are set on the validation genomes, where every
model leads on its own by at least 15 (docs/experiments.md, E28).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .annotate import Annotator, sample_of
from .errors import ModelError
from .features import Record
from .model import load_model

#: lead (nat per 1000 bases) over the best bacterial model that another model needs
MARGIN = 34.0
#: what all the genes that a model finds at home count beside the composition, in nat per 1000 bases
GENES_WEIGHT = 110.0
#: the card's entry: median log Z, in nat per 1000 bases, of the model's training genomes
GENES_AT_HOME = "genes_at_home"


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

    Raises:
        ModelError: unknown model, or one whose card does not say how it does at home.
    """
    sample, fits = sample_of(records), []
    for name in names:
        model = load_model(name)
        handicap = 0.0 if model.grammar.kind == "bacteria" else MARGIN
        if GENES_AT_HOME not in model.card:
            raise ModelError(f"the card of model {name} has no {GENES_AT_HOME!r}; name the model with --model")
        composition, genes = Annotator(model).fit_of_sample(sample)
        share = min(genes / model.card[GENES_AT_HOME], 1.0)
        fits.append(Fit(name, composition + GENES_WEIGHT * share - handicap))
    return sorted(fits, key=lambda fit: -fit.score)
