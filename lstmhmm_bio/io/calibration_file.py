"""Calibration files: what `lstmhmm calibrate` writes, safetensors with a few words of metadata.

Every field of `Counts` is an array with a leading axis over groups of records, of which a genome has one. That of a
metagenome also holds what tells the groups apart (`words`, `shares`).
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration import SHAPES, Calibration, Counts
from ..errors import InputError
from ..metagenome import WORD, Composition, GroupedCalibration

_FORMAT = "lstmhmm-calibration-2"


def calibration_bytes(calibration: Calibration | GroupedCalibration) -> bytes:
    """A calibration as the content of a file; the same bytes for the same calibration."""
    from safetensors.numpy import save

    if isinstance(calibration, GroupedCalibration):
        groups, composition = calibration.calibrations, calibration.composition._asdict()
    else:
        groups, composition = (calibration,), {}
    arrays: dict[str, NDArray[Any]] = {
        f.name: np.stack([getattr(c.counts, f.name) for c in groups]) if groups else np.zeros((0, *shape), np.float32)
        for f, shape in zip(fields(Counts), SHAPES, strict=True)
    }
    facts = {"gc": [c.gc for c in groups], "genetic_code": calibration.genetic_code, "grouped": bool(composition)}
    # one entry: safetensors writes several in any order
    return save(arrays | composition, metadata={_FORMAT: json.dumps(facts)})


def read_calibration(path: str) -> Calibration | GroupedCalibration:
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
            names = [f.name for f in fields(Counts)] + list(Composition._fields if facts["grouped"] else ())
            arrays = {name: handle.get_tensor(name) for name in names}
        return _checked(arrays, [float(gc) for gc in facts["gc"]], int(facts["genetic_code"]), grouped=facts["grouped"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is not a whole calibration file ({reason}); make it again with: lstmhmm calibrate"
        ) from None


def _checked(
    arrays: dict[str, NDArray[Any]], gc: list[float], genetic_code: int, *, grouped: bool
) -> Calibration | GroupedCalibration:
    """A calibration from its parts; ValueError unless the numbers are what counting can give."""
    groups = len(gc)
    if not (grouped or groups == 1):
        raise ValueError(f"{groups} genomes")
    if not all(0 <= share <= 1 for share in gc):
        raise ValueError(f"GC content {gc}")
    for f, shape in zip(fields(Counts), SHAPES, strict=True):
        _expect(f.name, arrays[f.name], np.float32, (groups, *shape))
        if not (np.isfinite(arrays[f.name]).all() and (arrays[f.name] >= 0).all()):
            raise ValueError(f"{f.name} holds values that are no counts")
    calibrations = tuple(
        Calibration(Counts(*(arrays[f.name][i] for f in fields(Counts))), gc[i], genetic_code) for i in range(groups)
    )
    if not grouped:
        return calibrations[0]
    _expect("words", arrays["words"], np.int64, (groups, 4**WORD))
    _expect("shares", arrays["shares"], np.int64, (groups,))
    return GroupedCalibration(Composition(arrays["words"], arrays["shares"]), calibrations, genetic_code)


def _expect(name: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}")
