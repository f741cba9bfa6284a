"""What every training run does beside training: sizes checked, progress told and logged, facts for the card."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jax

from .. import __version__
from ..errors import UsageError
from ..model import Model
from ..nn.network import NetworkConfig
from .loop import Progress


class Run:
    """One run of training.

    Args:
        folder: for the log, `progress.jsonl`; made if it does not exist.
        say: gets progress lines.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log, self._say = folder / "progress.jsonl", say
        self._began = time.monotonic()

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self._began) / 60

    def report(self, progress: Progress) -> None:
        """Tells and logs one report of the loop."""
        line = {"step": progress.step, "framewise": round(progress.framewise, 5)}
        if progress.sitewise:
            line["sitewise"] = round(progress.sitewise, 4)
        line |= {
            "crf": round(progress.crf, 4),
            "Mb/s": round(progress.bases_per_second / 1e6, 3),
            "minutes": round(self.minutes, 2),
        }
        if progress.validation:
            line["stop_f1"] = round(100 * progress.validation.stop_f1, 2)
            line["exact_f1"] = round(100 * progress.validation.exact_f1, 2)
        with self._log.open("a") as handle:
            handle.write(json.dumps(line) + "\n")
        self._say("  ".join(f"{k} {v}" for k, v in line.items()))

    def facts(self, settings: dict[str, Any], base: Model | None) -> dict[str, Any]:
        """The card's table of training: when, where and with what settings, and the model it started from."""
        return {
            "date": date.today().isoformat(),
            "lstmhmm": __version__,
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
            "python": platform.python_version(),
            "minutes": round(self.minutes, 1),
            **settings,
            **({"from": f"{base.name} {base.version}"} if base else {}),
        }


def check_sizes(config: NetworkConfig, window: int, batch: int) -> None:
    """Raises UsageError where windows, batches and the network's stride do not fit together."""
    if config.stride % 3:
        raise UsageError(f"stride {config.stride} is no multiple of 3, a codon")
    if window % config.stride or batch % 4:
        raise UsageError(f"window {window} must be a multiple of the stride {config.stride}, and batch {batch} of 4")
