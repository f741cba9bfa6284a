"""Pictures of profiles: stacks of letters as high as a position is informative (Schneider and Stephens 1990)."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .profile import Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES = ("svg", "png", "pdf")
_PER_ROW = 50
#: chemistry of residues, after Clustal X
_COLOURS = {"GAVLIMFWP": "#2a78b5", "STCYNQ": "#3a923a", "KRH": "#c03d3e", "DE": "#8b4bb0"}
_NUCLEOTIDE_COLOURS = {"A": "#3a923a", "C": "#2a78b5", "G": "#e1a100", "T": "#c03d3e", "U": "#c03d3e"}


def heights(profile: Profile) -> NDArray[np.float64]:
    """[length, K]: a position's relative entropy to the background in bits, shared by the probabilities."""
    p = profile.match
    entropy = np.sum(np.where(p > 0, p * np.log2(np.maximum(p, 1e-300) / profile.alphabet.background), 0.0), axis=1)
    return p * entropy[:, None]


def draw_logo(profile: Profile, handle: BinaryIO, kind: str) -> None:
    """Draws a profile's logo, 50 positions in a row.

    Args:
        profile: what to draw.
        handle: open for bytes.
        kind: one of `PICTURES`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("pictures need matplotlib; install it with: pip install 'lstmhmm-bio[pictures]'") from None
    stack = heights(profile)
    rows = -(-profile.length // _PER_ROW)
    top = max(1.0, float(stack.sum(axis=1).max()))
    figure = Figure(figsize=(12, 1.5 * rows + 0.5), layout="constrained")
    all_axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for row, axes in enumerate(all_axes):
        first = row * _PER_ROW
        for k in range(first, min(first + _PER_ROW, profile.length)):
            _draw_stack(axes, k + 1, stack[k], profile.alphabet.letters)
        axes.set_xlim(first + 0.5, first + min(_PER_ROW, max(profile.length, 10)) + 0.5)
        axes.set_ylim(0, top)
        axes.set_ylabel("bits")
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_title(profile.name)
    figure.savefig(handle, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _draw_stack(axes: Axes, x: int, letter_heights: NDArray[np.float64], letters: str) -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    font = FontProperties(family="DejaVu Sans", weight="bold")
    bottom = 0.0
    for i in np.argsort(letter_heights):
        height = float(letter_heights[i])
        if height < 0.02:  # too small to be seen
            bottom += height
            continue
        outline = TextPath((0, 0), letters[i], size=1, prop=font)
        box = outline.get_extents()
        place = (
            Affine2D()
            .translate(-box.x0, -box.y0)
            .scale(0.9 / box.width, height / box.height)
            .translate(x - 0.45, bottom)
        )
        axes.add_patch(PathPatch(outline.transformed(place), color=_colour(letters[i], len(letters)), lw=0))
        bottom += height


def _colour(letter: str, size: int) -> str:
    if size == 4:
        return _NUCLEOTIDE_COLOURS[letter]
    return next(colour for residues, colour in _COLOURS.items() if letter in residues)
