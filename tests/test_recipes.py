"""The recipes of the bundled models: what they ask for exists, and a small one runs from random weights to a model."""

from __future__ import annotations

import importlib.util
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from command import run

from lstmhmm_bio.model import bundled_models, load_model, save_model
from lstmhmm_bio.training.loop import TrainingConfig

ROOT = Path(__file__).parents[1]
RECIPES = tomllib.loads((ROOT / "recipes" / "recipes.toml").read_text())


@pytest.fixture(scope="module")
def retrain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("retrain", ROOT / "recipes" / "retrain.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", RECIPES["model"])
def test_a_recipe_asks_for_what_there_is(name: str, retrain: ModuleType, tmp_path: Path) -> None:
    recipe = retrain.read_recipes(ROOT / "recipes" / "recipes.toml")["model"][name]
    assert recipe.get("from", "universal") in RECIPES["model"]
    settings = {f.name for f in fields(TrainingConfig)}
    for stage in recipe["stage"]:
        assert stage["training"].keys() <= settings
        rows = retrain._sheet(retrain.sets_of(recipe, stage), tmp_path)
        assert rows
        assert all(row.fasta.parent.name == row.name for row in rows)


def test_eukaryotic_models_have_a_recipe() -> None:
    eukaryotic = {name for name in bundled_models() if load_model(name).grammar.kind == "eukaryote"}
    assert eukaryotic <= RECIPES["model"].keys()


def test_stages_follow_each_other(retrain: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both models of a chain come out, the second, with site models of another size, tells of the first in its card;
    nothing is trained twice.
    """
    data, names = tmp_path / "data", ["first", "second"]
    for seed, name in enumerate(names):
        (data / name).mkdir(parents=True)
        paths = data / name / "genome.fa.gz", data / name / "annotation.gff3.gz"
        assert run("simulate", "-o", paths[0], "--annotation", paths[1], "--length", 30_000, "--seed", seed).code == 0
    (tmp_path / "sets.tsv").write_text("set\tclade\tcomplete\n" + "".join(f"{name}\t{name}\tyes\n" for name in names))
    monkeypatch.setattr(retrain, "HERE", tmp_path)
    stage: dict[str, Any] = {"what": "all", "batch": 4, "window": 600, "training": {"steps": 1, "framewise_steps": 0}}
    first = {"kind": "bacteria", "version": "1", "description": "first", "sets": ["*"], "stage": [stage]}
    first["network"] = {"hidden": 4, "stem": 4, "head": 4, "site_head": 4}
    renewing = stage | {"renew": {"motifs": 2, "site_head": 3}}
    second = first | {"description": "second", "from": "one", "sets": [names[0]]}
    second["stage"] = [renewing, stage, stage | {"average": 2}]
    recipes = {"model": {"one": first, "two": second}}
    card = retrain.retrain("two", recipes, data, tmp_path / "out")
    model = load_model(str(card))
    assert (model.name, model.card["description"]) == ("two", "second")
    assert [g["name"] for g in model.card["training"]["genomes"]] == [names[0]]
    assert len(model.card["earlier_training"]) == 3
    assert (tmp_path / "out/two/3/mean/two.toml").exists()
    assert (model.config.motifs, model.config.site_head, model.config.hidden) == (2, 3, 4)
    monkeypatch.setattr("lstmhmm_bio.training.train.fit", None)
    assert retrain.retrain("two", recipes, data, tmp_path / "out") == card


def test_what_is_chosen_by_hand(retrain: ModuleType) -> None:
    before = load_model("yeasts").params
    after = retrain._adjusted(before, start=0.5, intron=-0.3, site_scale=2.0, inner=-3.0)
    added = {"start": 0.5, "intron0": -0.3, "intron1": -0.3, "intron2": -0.3}
    for name, weight in before.transitions.items():
        assert after.transitions[name] == pytest.approx(weight + added.get(name, 0.0))
    for name, site in after.network.sites.items():
        old = before.network.sites[name]
        assert site.inner == (-3.0 if name == "start" else None)
        for found, single in zip(
            (site.screen.w, site.matrix, site.layers[-1].b), (old.screen.w, old.matrix, old.layers[-1].b), strict=True
        ):
            np.testing.assert_array_equal(found, 2 * single)
        np.testing.assert_array_equal(site.layers[0].w, old.layers[0].w)


def test_averaged_weights_are_the_mean(retrain: ModuleType, tmp_path: Path) -> None:
    """Of a model and one whose weights are all three times as large: twice the weights, and the second's card."""
    model = load_model("bacteria")
    larger = replace(model, params=jax.tree.map(lambda x: np.float32(3) * x, model.params), card=model.card | {"x": 1})
    cards = [save_model(m, tmp_path / folder) for m, folder in ((model, "one"), (larger, "two"))]
    mean = load_model(str(retrain.averaged(cards, tmp_path / "mean")))
    assert mean.card["x"] == 1
    for found, single in zip(jax.tree.leaves(mean.params), jax.tree.leaves(model.params), strict=True):
        np.testing.assert_allclose(found, 2 * single, rtol=1e-6)
