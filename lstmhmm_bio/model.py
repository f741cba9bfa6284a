"""Models: weights in safetensors beside a TOML card that says what they are.

A model is a folder-less pair ``NAME.safetensors`` and ``NAME.toml``. The card holds the network's sizes, the genetic
code it was trained for, what it was trained on, its scores and the SHA-256 of the weights, which `load_model` checks.
Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .calibration import GC_GRID, Counts, Prior
from .errors import ModelError, UsageError

if TYPE_CHECKING:
    from .hmm.grammars.grammar import Grammar
    from .nn.hybrid import HybridParams
    from .nn.network import NetworkConfig

BUNDLED = Path(__file__).parent / "models"
DEFAULT = "bacteria"
FORMAT = 7


@dataclass(frozen=True)
class Model:
    """A trained LSTM-HMM.

    Attributes:
        name: e.g. "bacteria".
        config: sizes of the network.
        grammar: that it decodes with.
        params: weights, temperatures, transitions.
        prior: expected calibration frequencies by GC content.
        card: everything that `NAME.toml` says.
    """

    name: str
    config: NetworkConfig
    grammar: Grammar
    params: HybridParams
    prior: Prior
    card: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.card["version"])

    @property
    def genetic_code(self) -> int:
        """NCBI number of the code that it takes when nobody says otherwise."""
        return usual_code(self.card)


#: genetic code of bacteria and archaea
BACTERIAL_CODE = 11


def usual_code(card: dict[str, Any]) -> int:
    """The genetic code of a card: the bacterial one if it is among them, else the first."""
    codes = card.get("genetic_codes") or [BACTERIAL_CODE]
    return BACTERIAL_CODE if BACTERIAL_CODE in codes else codes[0]


def bundled_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(p.stem for p in BUNDLED.glob("*.toml"))


def find_card(name: str) -> Path:
    """The card of a bundled model (by name) or of a user's (by the path of card, weights or folder).

    Raises:
        ModelError: there is no such model.
    """
    path = Path(name)
    if path.is_dir():
        cards = sorted(path.glob("*.toml"))
        if len(cards) == 1:
            return cards[0]
        raise ModelError(f"{name}: a model folder holds one .toml card, this one holds {len(cards)}")
    if path.suffix in (".toml", ".safetensors"):
        if path.with_suffix(".toml").is_file():
            return path.with_suffix(".toml")
        raise ModelError(f"{name}: no such model file")
    card = BUNDLED / f"{name}.toml"
    if card.is_file():
        return card
    names = ", ".join(bundled_models())
    raise ModelError(f"unknown model {name!r}; bundled: {names}; or give the path of a .toml card")


def read_card(name: str) -> dict[str, Any]:
    """The card of a model as a dictionary; reads no weights.

    Raises:
        ModelError: unknown model, or a card that is no TOML.
    """
    path = find_card(name)
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: not a readable model card ({error})") from None


def load_model(name: str = DEFAULT) -> Model:
    """Loads a model and checks it.

    Args:
        name: of a bundled model, or a path (see `find_card`).

    Raises:
        ModelError: unknown, incomplete, damaged, or made for another version of the package.
    """
    from .hmm.grammars import decoding_grammar
    from .nn.hybrid import init_hybrid
    from .nn.network import NetworkConfig

    path, card = find_card(name), read_card(name)
    weights = path.with_suffix(".safetensors")
    arrays = read_weights(path, card, FORMAT)
    missing = [key for key in ("name", "version", "kind", "network") if key not in card]
    if missing:
        raise ModelError(f"{path}: the card has no {' and no '.join(map(repr, missing))}")
    try:
        config = NetworkConfig(**card["network"] | {"sites": tuple(card["network"].get("sites", ()))})
        grammar = decoding_grammar(card["kind"], card.get("grammar", {}))
        template = init_hybrid(np.random.default_rng(0), config, grammar)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: card and weights do not fit together ({error})") from None
    params = unflatten(template, arrays, source=str(weights))
    counts = unflatten(_prior_template(), arrays, source=str(weights))["prior"]
    return Model(card["name"], config, grammar, params, Prior(Counts(**counts)), card)


def with_at_ac_introns(model: Model, *, wanted: bool) -> Model:
    """The same model with or without the rare introns from AT to AC.

    Raises:
        UsageError: the model knows no introns.
    """
    from .hmm.grammars import decoding_grammar

    if model.grammar.kind != "eukaryote":
        raise UsageError(f"the model {model.name} has no introns; leave --at-ac-introns out")
    settings = model.card["grammar"] | {"at_ac_introns": wanted}
    return replace(model, grammar=decoding_grammar(model.grammar.kind, settings))


def read_weights(path: Path, card: dict[str, Any], number: int) -> dict[str, np.ndarray]:
    """The arrays beside a card.

    Args:
        path: of the card.
        card: what it says.
        number: of the format that is read.

    Raises:
        ModelError: there are none, of another format, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    weights = path.with_suffix(".safetensors")
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise ModelError(f"{weights}: cannot read the model's weights ({error.strerror})") from None
    if card.get("format") != number:
        raise ModelError(f"{path}: model format {card.get('format')}, this version reads format {number}")
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        raise ModelError(f"{weights}: checksum differs from the card's; the file is damaged, install or copy it again")
    try:
        return load(data)
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: card and weights do not fit together ({error})") from None


def save_model(model: Model, folder: str | Path) -> Path:
    """Writes weights and card into a folder; returns the card's path.

    `card` needs no "name", "format", "kind", "network" or "sha256": these are filled in.
    """
    arrays = flatten(model.params) | flatten(
        {"prior": {f.name: getattr(model.prior.frequencies, f.name) for f in fields(Counts)}}
    )
    head = {"name": model.name, "format": FORMAT, "kind": model.grammar.kind}
    card = {**head, **{k: v for k, v in model.card.items() if k not in head}, "network": asdict(model.config)}
    return write_weights(Path(folder) / f"{model.name}.toml", card, arrays)


def write_weights(path: Path, card: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Writes arrays and a card that holds their checksum, as `read_weights` reads them; returns the card's path."""
    import tomli_w
    from safetensors.numpy import save

    path.parent.mkdir(parents=True, exist_ok=True)
    data = save(arrays)
    card = {**card, "sha256": hashlib.sha256(data).hexdigest()}
    for target, content in ((path.with_suffix(".safetensors"), data), (path, tomli_w.dumps(card).encode())):
        beside = target.with_name(f".{target.name}.part")
        beside.write_bytes(content)
        beside.replace(target)
    return path


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Arrays of a PyTree by path, e.g. ``network/lstm/0/wx``."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {_path(path): np.asarray(leaf) for path, leaf in leaves}


def unflatten(template: Any, arrays: dict[str, np.ndarray], *, source: str) -> Any:
    """Fills a PyTree with other arrays of the same shapes, by path.

    Raises:
        ModelError: an array is missing or has another shape; the message names it.
    """
    import jax

    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    values = []
    for path, leaf in leaves:
        name = _path(path)
        if name not in arrays:
            raise ModelError(f"{source}: array {name} is missing")
        if arrays[name].shape != leaf.shape:
            raise ModelError(f"{source}: array {name} has shape {arrays[name].shape}, expected {leaf.shape}")
        values.append(arrays[name])
    return jax.tree.unflatten(structure, values)


def _path(path: tuple) -> str:
    return "/".join(str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in path)


def _prior_template() -> dict[str, dict[str, np.ndarray]]:
    zeros = Counts.zeros()
    return {
        "prior": {
            f.name: np.broadcast_to(getattr(zeros, f.name), (len(GC_GRID), *getattr(zeros, f.name).shape))
            for f in fields(Counts)
        }
    }
