from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest
import tomli_w
from safetensors.numpy import load_file, save
from tiny import random_model

from lstmhmm_bio import model as models
from lstmhmm_bio.errors import ModelError, UsageError
from lstmhmm_bio.hmm.grammars import decoding_grammar
from lstmhmm_bio.model import (
    FORMAT,
    Model,
    bundled_models,
    find_card,
    load_model,
    read_card,
    save_model,
    with_at_ac_introns,
)


@pytest.fixture(scope="module", params=["bacteria", "eukaryote"])
def original(request: pytest.FixtureRequest) -> Model:
    return random_model(1, request.param)


@pytest.fixture
def card(original: Model, tmp_path: Path) -> Path:
    return save_model(original, tmp_path / "models")


def rewrite(card: Path, arrays: dict[str, np.ndarray] | None = None, **changes: object) -> None:
    """Another card, and other weights with the checksum that fits them; None takes an entry away."""
    content = tomllib.loads(card.read_text())
    if arrays is not None:
        data = save(arrays)
        card.with_suffix(".safetensors").write_bytes(data)
        content["sha256"] = hashlib.sha256(data).hexdigest()
    content |= changes
    card.write_bytes(tomli_w.dumps({k: v for k, v in content.items() if v is not None}).encode())


def refused(card: Path, *words: str, file: str = ".toml") -> None:
    with pytest.raises(ModelError) as caught:
        load_model(str(card))
    message = str(caught.value)
    assert message.startswith(str(card.with_suffix(file)))
    assert "\n" not in message
    for word in words:
        assert word in message


def test_round_trip(original: Model, card: Path) -> None:
    assert sorted(p.name for p in card.parent.iterdir()) == ["tiny.safetensors", "tiny.toml"]
    loaded = load_model(str(card))
    assert (loaded.name, loaded.version, loaded.config) == ("tiny", "7", original.config)
    assert loaded.grammar is original.grammar
    assert loaded.card["kind"] == original.grammar.kind
    assert jax.tree.structure(loaded.params) == jax.tree.structure(original.params)
    for a, b in zip(jax.tree.leaves(loaded.params), jax.tree.leaves(original.params), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float32
    for name, values in vars(original.prior.frequencies).items():
        np.testing.assert_array_equal(getattr(loaded.prior.frequencies, name), values)
    assert loaded.card["training"] == {"steps": 0}
    assert read_card(str(card)) == loaded.card
    # saving what was loaded changes nothing
    again = save_model(loaded, card.parent / "again")
    for suffix in (".toml", ".safetensors"):
        assert again.with_suffix(suffix).read_bytes() == card.with_suffix(suffix).read_bytes()


def test_array_names_are_paths(card: Path) -> None:
    names = load_file(card.with_suffix(".safetensors"))
    expected = {"network/lstm/0/wx", "network/head/1/b", "network/sites/start/layers/0/w", "transitions/stay"}
    assert expected | {"log_temperature", "class_bias", "prior/coding"} <= set(names)


def test_a_model_is_found_by_card_weights_or_folder(card: Path) -> None:
    for name in (card, card.with_suffix(".safetensors"), card.parent):
        assert find_card(str(name)) == card


def test_a_folder_holds_one_model(card: Path) -> None:
    card.with_name("second.toml").write_text("")
    with pytest.raises(ModelError, match=r"models: a model folder holds one \.toml card, this one holds 2"):
        find_card(str(card.parent))


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.toml: no such model file"):
        find_card(str(tmp_path / "nowhere.toml"))
    with pytest.raises(ModelError, match="unknown model 'weasel'; bundled: "):
        load_model("weasel")


def test_bundled_models_are_found_by_name(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "BUNDLED", card.parent)
    assert bundled_models() == ["tiny"]
    assert find_card("tiny") == card
    assert load_model("tiny").name == "tiny"
    with pytest.raises(ModelError, match="bundled: tiny;"):
        find_card("weasel")


def test_damaged_weights(card: Path) -> None:
    weights = card.with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    refused(card, "checksum", "damaged", file=".safetensors")


def test_missing_weights(card: Path) -> None:
    card.with_suffix(".safetensors").unlink()
    refused(card, "No such file", file=".safetensors")


def test_weights_in_no_known_format(card: Path) -> None:
    junk = b"junk" * 9
    card.with_suffix(".safetensors").write_bytes(junk)
    rewrite(card, sha256=hashlib.sha256(junk).hexdigest())
    refused(card, "card and weights do not fit together")


def test_missing_array(card: Path) -> None:
    arrays = load_file(card.with_suffix(".safetensors"))
    del arrays["network/lstm/0/wh"]
    rewrite(card, arrays)
    refused(card, "array network/lstm/0/wh is missing", file=".safetensors")


@pytest.mark.parametrize("name", ["network/stem/w", "prior/coding"])
def test_array_of_another_shape(card: Path, name: str) -> None:
    arrays = load_file(card.with_suffix(".safetensors"))
    before = arrays[name].shape
    arrays[name] = np.zeros((2, 2), np.float32)
    rewrite(card, arrays)
    refused(card, f"array {name} has shape (2, 2), expected {before}", file=".safetensors")


def test_sizes_that_do_not_fit_the_weights(card: Path) -> None:
    network = tomllib.loads(card.read_text())["network"]
    rewrite(card, network=network | {"hidden": 5})
    refused(card, "expected", file=".safetensors")
    rewrite(card, network=network | {"hidden": "many"})
    refused(card, "do not fit together")
    rewrite(card, network=network | {"depth": 5})
    refused(card, "depth")


@pytest.mark.parametrize("other", [1, 2, None])
def test_another_format(other: int | None, card: Path) -> None:
    rewrite(card, format=other)
    refused(card, f"model format {other}, this version reads format {FORMAT}")


@pytest.mark.parametrize("key", ["name", "version", "kind", "network"])
def test_incomplete_card(card: Path, key: str) -> None:
    rewrite(card, **{key: None})
    refused(card, f"the card has no '{key}'")


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe"])
def test_broken_card(card: Path, content: bytes) -> None:
    card.write_bytes(content)
    refused(card, "not a readable model card")
    with pytest.raises(ModelError, match=re.escape(str(card))):
        read_card(str(card))


def test_unknown_kind_of_grammar(card: Path) -> None:
    rewrite(card, kind="weasel")
    refused(card, "do not fit together", "weasel")


@pytest.mark.parametrize("settings", [{}, {"min_intron": 2}, {"min_intron": "many"}, {"min_intron": 1000}])
def test_a_grammar_with_introns_says_how_short_they_may_be(settings: dict[str, object], tmp_path: Path) -> None:
    card = save_model(random_model(1, "eukaryote"), tmp_path)
    rewrite(card, grammar=settings)
    refused(card, "do not fit together", "min_intron" if settings.get("min_intron") != "many" else "many")


def test_at_ac_introns_are_a_setting_of_the_grammar() -> None:
    model = load_model("eudicots")
    assert model.card["grammar"]["at_ac_introns"]
    without = with_at_ac_introns(model, wanted=False)
    assert without.grammar is decoding_grammar("eukaryote", {"min_intron": model.card["grammar"]["min_intron"]})
    assert without.grammar is not model.grammar
    assert with_at_ac_introns(without, wanted=True).grammar is model.grammar
    with pytest.raises(UsageError, match="bacteria has no introns"):
        with_at_ac_introns(load_model("bacteria"), wanted=True)
