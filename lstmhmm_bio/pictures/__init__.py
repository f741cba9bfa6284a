"""Pictures of genomes; matplotlib, which draws them, is imported when something is drawn."""

from __future__ import annotations

from .region import FORMATS, picture
from .tracks import Feature, Features, Line, Track, read_coverage, read_features, read_values, window_gc

__all__ = [
    "FORMATS",
    "Feature",
    "Features",
    "Line",
    "Track",
    "picture",
    "read_coverage",
    "read_features",
    "read_values",
    "window_gc",
]
