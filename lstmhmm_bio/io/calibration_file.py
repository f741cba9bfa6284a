"""Calibration files: what `lstmhmm calibrate` writes, safetensors with a few words of metadata."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from ..calibration import Calibration, Counts
from ..errors import InputError

_FORMAT = "lstmhmm-calibration-1"


def calibration_bytes(calibration: Calibration) -> bytes:
    """A calibration as the content of a file; the same bytes for the same calibration."""
    from safetensors.numpy import save

    arrays = {f.name: getattr(calibration.counts, f.name) for f in fields(Counts)}
    facts = {"gc": calibration.gc, "genetic_code": calibration.genetic_code}
    # one entry: safetensors writes several in any order
    return save(arrays, metadata={_FORMAT: json.dumps(facts)})


def read_calibration(path: str) -> Calibration:
    """Reads a calibration file.

    Raises:
        InputError: missing, damaged, or no calibration file.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such file; make one with: lstmhmm calibrate GENOME -o {path}")
    try:
        with safe_open(path, "numpy") as handle:
            metadata = handle.metadata() or {}
            if _FORMAT not in metadata:
                raise InputError(f"{path} is not a calibration file; make one with: lstmhmm calibrate GENOME -o FILE")
            facts = json.loads(metadata[_FORMAT])
            counts = Counts(*(handle.get_tensor(f.name) for f in fields(Counts)))
        calibration = Calibration(counts, float(facts["gc"]), int(facts["genetic_code"]))
        _check(calibration)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is not a whole calibration file ({reason}); make it again with: lstmhmm calibrate"
        ) from None
    return calibration


def _check(calibration: Calibration) -> None:
    """Raises ValueError unless the numbers are what counting can give."""
    if not 0 <= calibration.gc <= 1:
        raise ValueError(f"GC content {calibration.gc}")
    expected = Counts.zeros()
    for f in fields(Counts):
        found, zeros = getattr(calibration.counts, f.name), getattr(expected, f.name)
        if found.shape != zeros.shape or found.dtype != zeros.dtype:
            raise ValueError(f"{f.name} is {found.dtype} {found.shape}, expected {zeros.dtype} {zeros.shape}")
        if not (np.isfinite(found).all() and (found >= 0).all()):
            raise ValueError(f"{f.name} holds values that are no counts")
