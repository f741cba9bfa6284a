"""Checkpoints: the whole state of a run in one safetensors file, with the settings it belongs to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import InputError, ModelError
from ..model import flatten, unflatten

CHECKPOINT = "checkpoint.safetensors"


def save_checkpoint(path: Path, state: Any, settings: dict[str, str]) -> None:
    """Writes a PyTree of arrays and the settings of its run, beside first and then under its name."""
    from safetensors.numpy import save_file

    beside = path.with_name(f".{path.name}.part")
    # one entry: safetensors writes several in any order
    save_file(flatten(state), beside, metadata={"settings": json.dumps(settings, sort_keys=True)})
    beside.replace(path)


def load_checkpoint(path: Path, template: Any, settings: dict[str, str]) -> Any:
    """Reads a state with the template's structure.

    Args:
        path: the checkpoint.
        template: a PyTree of arrays of the right shapes.
        settings: of the run that wants to continue.

    Raises:
        InputError: it is damaged, or belongs to a run with other settings; the message names the first that differs.
    """
    from safetensors import SafetensorError, safe_open

    remedy = "choose another folder, or the settings it was made with"
    try:
        with safe_open(path, "numpy") as handle:
            made_with = json.loads((handle.metadata() or {}).get("settings", "{}"))
            state = unflatten(template, {k: handle.get_tensor(k) for k in handle.keys()}, source=str(path))  # noqa: SIM118
    except (SafetensorError, ModelError, OSError) as error:
        raise InputError(f"{path}: not a checkpoint of this configuration ({error}); {remedy}") from None
    for name, value in settings.items():
        if made_with.get(name) != value:
            raise InputError(
                f"{path}: not a checkpoint of this configuration ({name} {made_with.get(name)}, now {value}); {remedy}"
            )
    return state
