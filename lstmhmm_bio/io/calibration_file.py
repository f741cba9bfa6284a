"""Calibration files: what `lstmhmm calibrate` writes, safetensors with a few words of metadata."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from ..calibration import Calibration, Counts
from ..errors import InputError

_FORMAT = "lstmhmm-calibration-1"


def calibration_bytes(calibration: Calibration) -> bytes:
    """A calibration as the content of a file; the same bytes for the same calibration."""
    from safetensors.numpy import save

    arrays = {f.name: getattr(calibration.counts, f.name) for f in fields(Counts)}
    facts = {"gc": calibration.gc, "genetic_code": calibration.genetic_code}
    return save(arrays, metadata={"format": _FORMAT, "facts": json.dumps(facts)})


def read_calibration(path: str) -> Calibration:
    """Reads a calibration file.

    Raises:
        InputError: missing, damaged, or no calibration file.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; make one with: lstmhmm calibrate GENOME -o {path}")
    try:
        with safe_open(path, "numpy") as handle:
            metadata = handle.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise InputError(f"{path} is not a calibration file; make one with: lstmhmm calibrate")
            facts = json.loads(metadata["facts"])
            counts = Counts(*(handle.get_tensor(f.name) for f in fields(Counts)))
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise InputError(f"{path} is not a whole calibration file ({error}); make it again") from None
    return Calibration(counts, float(facts["gc"]), int(facts["genetic_code"]))
