"""Trains a bundled model again, by its recipe.

    python recipes/retrain.py MODEL DATA -o FOLDER [--share 0.25] [--seed 2]

DATA holds the training sets as SET/genome.fa.gz and SET/annotation.gff3.gz, with the names of `sets.tsv`. The recipe,
in `recipes.toml`, is a list of stages, its own or another recipe's (`stages_of`); each continues where the one before
ended, or the one that `after` names by its number, the first from random weights or from the result of another
recipe, which is trained first if FOLDER does not hold it; `average` takes the mean of the last stages' weights. An
interrupted run goes on where it stopped. The finished model lies in FOLDER/MODEL/; to bundle it, copy both its files
to lstmhmm_bio/models. A share of the steps and other seeds tell what a change of the recipe would be worth, and how
far chance goes.
"""

from __future__ import annotations

import argparse
import csv
import tomllib
from copy import deepcopy
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lstmhmm_bio.runtime import available_cores, configure

HERE = Path(__file__).parent


def main() -> None:
    """Reads the arguments, trains, says where the model lies."""
    recipes = read_recipes(HERE / "recipes.toml")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=recipes["model"])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps of every stage (default: all)")
    parser.add_argument("--seed", type=int, help="of every stage, in place of the recipe's")
    arguments = parser.parse_args()
    for recipe in recipes["model"].values():
        for stage in recipe["stage"]:
            _change(stage["training"], arguments.share, arguments.seed)
    configure()
    card = retrain(arguments.model, recipes, arguments.data, arguments.output)
    print(f"wrote {card}")


def read_recipes(path: Path) -> dict[str, Any]:
    """The recipes of a file; one with `stages_of` has the stages of the recipe of that name."""
    recipes = tomllib.loads(path.read_text())
    for recipe in recipes["model"].values():
        if "stages_of" in recipe:
            recipe["stage"] = deepcopy(recipes["model"][recipe["stages_of"]]["stage"])
    return recipes


def retrain(name: str, recipes: dict[str, Any], data: Path, folder: Path) -> Path:
    """Runs the stages of a recipe that are not finished; returns the path of the model's card."""
    from lstmhmm_bio.training.train import fit

    recipe = recipes["model"][name]
    start = _start(recipe, recipes, data, folder)
    cards = []
    for number, stage in enumerate(recipe["stage"], 1):
        here = folder / name / str(number)
        card = here / f"{name}.toml"
        if not card.exists():
            print(f"{name}, stage {number} of {len(recipe['stage'])}: {stage['what']}")
            if "after" in stage:
                start = str(cards[stage["after"] - 1])
            if "average" in stage:
                start = str(averaged(cards[-stage["average"] :], here / "mean"))
            if "renew" in stage:
                start = str(_renewed(str(start), stage["renew"], here / "start"))
            fit(
                _sheet(sets_of(recipe, stage), data),
                [],
                here,
                name=name,
                kind=recipe["kind"],
                network=recipe.get("network", {}),
                training=stage["training"],
                batch=stage["batch"],
                window=stage["window"],
                sampling=stage.get("sampling"),
                start_from=start,
                workers=available_cores(),
            )
        start = str(card)
        cards.append(card)
    last = cards[-1] if "average" not in recipe else averaged(cards[-recipe["average"] :], folder / name / "mean")
    return _finish(name, recipe, recipes, data, last, folder / name)


def _change(training: dict[str, Any], share: float, seed: int | None) -> None:
    """A stage's settings with a share of the steps and another seed."""
    for name in ("steps", "framewise_steps"):
        training[name] = round(share * training[name])
    if seed is not None:
        training["seed"] = seed


def sets_of(recipe: dict[str, Any], stage: dict[str, Any]) -> list[str]:
    """Patterns of the sets that a stage trains on: the recipe's but those that the stage leaves out."""
    return [*recipe["sets"], *(f"!{pattern}" for pattern in stage.get("without", []))]


def _start(recipe: dict[str, Any], recipes: dict[str, Any], data: Path, folder: Path) -> str | None:
    """What the first stage continues: another recipe's result, a bundled model, or nothing."""
    before = recipe.get("from")
    if before in recipes["model"]:
        return str(retrain(before, recipes, data, folder))
    return before


def _renewed(name: str, network: dict[str, Any], folder: Path) -> Path:
    """A model whose site models begin anew, in other sizes, but for what they read of the LSTM's features."""
    from dataclasses import replace

    import numpy as np

    from lstmhmm_bio.model import load_model, save_model
    from lstmhmm_bio.nn.network import init_network

    model = load_model(name)
    config = replace(model.config, **network)
    fresh = init_network(np.random.default_rng(7), config).sites
    old = model.params.network
    sites = {
        k: fresh[k]._replace(screen=old.sites[k].screen, narrow=old.sites[k].narrow, inner=old.sites[k].inner)
        for k in fresh
    }
    params = model.params._replace(network=old._replace(sites=sites))
    return save_model(replace(model, config=config, params=params), folder)


def averaged(cards: list[Path], folder: Path) -> Path:
    """The last of some models with the mean of all their weights, saved in a folder."""
    from dataclasses import replace

    import jax
    import numpy as np

    from lstmhmm_bio.model import load_model, save_model

    models = [load_model(str(card)) for card in cards]
    mean = jax.tree.map(lambda *x: np.mean(x, axis=0, dtype=np.float32), *(m.params for m in models))
    return save_model(replace(models[-1], params=mean), folder)


def _sheet(patterns: list[str], data: Path) -> list[Any]:
    from lstmhmm_bio.training.sheet import SheetRow

    with (HERE / "sets.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    # a pattern that begins with "!" takes sets out again
    chosen = [
        row
        for row in rows
        if any(fnmatch(row["set"], p) for p in patterns)
        and not any(fnmatch(row["set"], p[1:]) for p in patterns if p.startswith("!"))
    ]
    folders = [data / row["set"] for row in chosen]
    return [
        SheetRow(f / "genome.fa.gz", f / "annotation.gff3.gz", f.name, row["clade"], None, row["complete"] != "no")
        for f, row in zip(folders, chosen, strict=True)
    ]


def _finish(name: str, recipe: dict[str, Any], recipes: dict[str, Any], data: Path, last: Path, folder: Path) -> Path:
    """The last stage's model with what the recipe says of it, and what the choice of a model has to know of it."""
    from dataclasses import replace

    from lstmhmm_bio.model import load_model, save_model
    from lstmhmm_bio.model_choice import GENES_AT_HOME

    model = load_model(str(last))
    said = {"version": recipe["version"], "description": recipe["description"]}
    params = model.params
    if "adjust" in recipe:
        params = _adjusted(params, **recipe["adjust"])
        said["adjustment"] = recipe["adjust"] | {"chosen_on": "the validation genomes"}
    if "average" in recipe:
        said["averaged_stages"] = recipe["average"]
    if "grammar" in recipe:
        said["grammar"] = model.card["grammar"] | recipe["grammar"]
    if "confidence" in recipe:
        said["confidence"] = recipe["confidence"]
    if recipe["kind"] == "eukaryote":
        said["evidence"] = _evidence(recipes["evidence"])
    order = (
        "version",
        "description",
        "genetic_codes",
        GENES_AT_HOME,
        "adjustment",
        "averaged_stages",
        "confidence",
        "grammar",
        "untranslated",
        "evidence",
        "training",
        "earlier_training",
    )
    card = model.card | said
    card["training"]["what"] = recipe["stage"][-1]["what"]
    model = replace(model, name=name, params=params, card=card)
    card[GENES_AT_HOME] = _genes_at_home(model, _sheet(recipe["sets"], data))
    return save_model(replace(model, card={k: card[k] for k in order if k in card}), folder)


def _evidence(table: dict[str, Any]) -> dict[str, Any]:
    """Weights of evidence of which a share counts."""
    from lstmhmm_bio.evidence import SupportWeights

    return SupportWeights.from_card(table).shared(table["share"]).card()


def _genes_at_home(model: Any, rows: list[Any]) -> float:
    """Median over training genomes, at most about a dozen, of their log Z in nat per 1000 bases."""
    from statistics import median

    from lstmhmm_bio.annotate import Annotator, sample_of
    from lstmhmm_bio.io import read_records

    annotator = Annotator(model)
    chosen = rows[:: -(-len(rows) // 12)]
    return round(median(annotator.fit_of_sample(sample_of(read_records(str(row.fasta))))[1] for row in chosen), 1)


def _adjusted(
    params: Any,
    start: float = 0.0,
    partial: float = 0.0,
    intron: float = 0.0,
    class_scale: float = 1.0,
    site_scale: float = 1.0,
    inner: float | None = None,
) -> Any:
    """What was chosen by hand: nats on entering genes, on genes cut by a record's end and on introns, factors on the
    scores of classes and of sites, and the weight of inner start codons.
    """
    import jax
    import numpy as np

    def scaled(site: Any) -> Any:
        parts = (site.screen, site.layers[-1], site.matrix, site.inner)
        screen, last, matrix, learned = jax.tree.map(lambda x: np.float32(site_scale * x), parts)
        weight = learned if learned is None or inner is None else np.float32(inner)
        return site._replace(screen=screen, layers=(*site.layers[:-1], last), matrix=matrix, inner=weight)

    more = {"start": start, "partial": partial, "intron": intron}
    transitions = {
        name: np.float32(value + sum(nats for prefix, nats in more.items() if name.startswith(prefix)))
        for name, value in params.transitions.items()
    }
    sites = {name: scaled(site) for name, site in params.network.sites.items()}
    return params._replace(
        network=params.network._replace(sites=sites),
        log_temperature=np.float32(params.log_temperature + np.log(class_scale)),
        class_bias=np.float32(params.class_bias * class_scale),
        transitions=transitions,
    )


if __name__ == "__main__":
    main()
