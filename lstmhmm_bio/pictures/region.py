"""A picture of one region: tracks stacked over a common axis.

Text is drawn only where it fits: names of features inside them, and none where the region is too long for it. Colours
are those of Okabe and Ito (2008), which stay apart for colour-blind readers.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from ..errors import UsageError, printable
from .tracks import Features, Line, Track

FORMATS = ("svg", "png", "pdf")
#: in the order in which tracks of features take them
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_LINES = ("#555555", "#0072B2", "#D55E00", "#009E73", "#CC79A7")
_RNA, _INK, _FAINT = "#7F7F7F", "#222222", "#DDDDDD"

#: inches
WIDTH, LEFT, RIGHT, TOP, BOTTOM, GAP = 12.0, 1.55, 0.3, 0.4, 0.55, 0.1
LEGEND = 1.5
LANE, LINE, PARTITION = 0.24, 0.75, 0.3
MAX_LANES = 6
#: where features are mostly narrower than this, one lane per strand is more legible, inches
CROWDED = 0.12
#: features in one lane may overlap by this share of the second one
OVERLAP = 0.3
FONT = 8.0
#: mean width of a letter over the font's size
_LETTER = 0.6
_ARROW = 0.07  # longest head of an arrow, inches


def picture(tracks: Sequence[Track], seqid: str, start: int, end: int, file_format: str) -> bytes:
    """Draws a region.

    Args:
        tracks: from top to bottom.
        seqid: record.
        start: 0-based first base.
        end: one past the last.
        file_format: "svg", "png" or "pdf".

    Raises:
        UsageError: no such format, or matplotlib is not installed.
    """
    if file_format not in FORMATS:
        raise UsageError(f"pictures are written as {', '.join(FORMATS)}, not {file_format!r}; name the output so")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            "drawing needs another package; install it with: pip install 'lstmhmm-bio[pictures]'"
        ) from None
    seqid = printable(seqid)
    right = LEGEND if any(_legend(t) for t in tracks) else RIGHT
    inches_per_base = (WIDTH - LEFT - right) / (end - start)
    lanes = [_lanes(t, inches_per_base) if isinstance(t, Features) and not t.is_partition else [] for t in tracks]
    heights = [_height(t, used) for t, used in zip(tracks, lanes, strict=True)]
    total = TOP + BOTTOM + sum(heights) + GAP * max(len(tracks) - 1, 0)
    style: dict[Any, Any] = {"font.size": FONT, "svg.fonttype": "none", "svg.hashsalt": "lstmhmm", "pdf.fonttype": 42}
    style |= {"text.color": _INK, "axes.edgecolor": _INK, "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # letters of other scripts: the reader's fonts show them, or a box does
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure = Figure(figsize=(WIDTH, total), facecolor="white")
        top = total - TOP
        feature_colours, line_colours = cycle(PALETTE), cycle(_LINES)
        axes = None
        for track, used, height in zip(tracks, lanes, heights, strict=True):
            box = (LEFT / WIDTH, (top - height) / total, (WIDTH - LEFT - right) / WIDTH, height / total)
            axes = figure.add_axes(box)
            _frame(axes, start, end, track.name)
            if isinstance(track, Line):
                _draw_line(axes, track, next(line_colours))
            elif track.is_partition:
                _draw_partition(axes, track, inches_per_base, start, end)
            else:
                _draw_features(axes, track, used, inches_per_base, start, end, next(feature_colours))
            top -= height + GAP
        if axes is not None:
            _scale(axes, seqid, start, end)
        title = f"{seqid}: {start + 1:,} - {end:,}  ({_length(end - start)})"
        figure.text(LEFT / WIDTH, 1 - 0.12 / total, title, ha="left", va="top", fontsize=FONT + 1.5, weight="bold")
        out = io.BytesIO()
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
        figure.savefig(out, format=file_format, dpi=150, metadata=dated[file_format])
    return out.getvalue()


# ---- layout


def _lanes(track: Features, inches_per_base: float) -> list[tuple[int, int]]:
    """Strand row (1 above, -1 below the middle) and lane (0 next to the middle) of each feature."""
    most = 1 if _crowded(track, inches_per_base) else MAX_LANES
    taken: dict[int, list[float]] = {1: [], -1: []}
    places = []
    for f in track.features:
        row = -1 if f.strand == "-" else 1
        ends = taken[row]
        # genes that overlap a little stay side by side
        reach = f.start + min(OVERLAP * (f.end - f.start), 0.1 / inches_per_base)
        lane = next((i for i, end in enumerate(ends) if reach >= end), len(ends))
        if lane == len(ends):
            if lane < most:
                ends.append(0.0)
            else:
                lane = most - 1
        ends[lane] = max(ends[lane], f.end)
        places.append((row, lane))
    return places


def _crowded(track: Features, inches_per_base: float) -> bool:
    widths = [(f.end - f.start) * inches_per_base for f in track.features]
    return bool(widths) and float(np.median(widths)) < CROWDED


def _height(track: Track, places: list[tuple[int, int]]) -> float:
    if isinstance(track, Line):
        return LINE
    if track.is_partition:
        return PARTITION
    return LANE * sum(_depth(places)) + 0.08


def _depth(places: list[tuple[int, int]]) -> tuple[int, int]:
    """Lanes above and below the middle, at least one each so that strands are told apart."""
    up, down = ([lane for row, lane in places if row == side] for side in (1, -1))
    return max(up, default=0) + 1, max(down, default=0) + 1


def _legend(track: Track) -> dict[str, str]:
    """Labels and colours of a segmentation with few labels."""
    if not isinstance(track, Features) or not track.is_partition:
        return {}
    labels = {f.label: f.colour or PALETTE[0] for f in track.features if f.label}
    return labels if len(labels) <= 12 else {}


def _frame(axes: Any, start: int, end: int, name: str) -> None:
    axes.set_xlim(start, end)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    short = name if len(name) <= 22 else name[:10] + "…" + name[-11:]
    axes.annotate(
        short,
        (0, 0.5),
        (-14, 0),
        "axes fraction",
        "offset points",
        ha="right",
        va="center",
        annotation_clip=False,
    )


def _scale(axes: Any, seqid: str, start: int, end: int) -> None:
    """Position axis below the last track."""
    unit, name = (1e6, "Mb") if end - start >= 2e6 else (1e3, "kb") if end - start >= 2000 else (1, "bases")
    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set_position(("outward", 5))
    ticks = _round_ticks(start, end)
    digits = 0 if unit == 1 or (ticks[1] - ticks[0]) % unit == 0 else 1 if (ticks[1] - ticks[0]) * 10 % unit == 0 else 2
    axes.set_xticks(ticks, [f"{t / unit:,.{digits}f}" for t in ticks])
    axes.set_xlabel(f"position on {seqid} ({name})")


def _round_ticks(start: int, end: int) -> list[int]:
    step = 10 ** int(np.floor(np.log10(max((end - start) / 5, 1))))
    step = next((step * k for k in (1, 2, 5, 10) if (end - start) / (step * k) <= 10), step * 10)
    ticks = list(range(-(-start // step) * step, end + 1, step))
    return ticks if len(ticks) > 1 else [start, end]


def _length(bases: int) -> str:
    if bases < 2000:
        return f"{bases:,} bases"
    return f"{bases / 1e6:,.3g} Mb" if bases >= 1e6 else f"{bases / 1e3:,.4g} kb"


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e6 if letter == 'M' else 1e3):.3g}{letter}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _fits(text: str, inches: float) -> bool:
    return bool(text) and _inches(text) <= inches


def _inches(text: str) -> float:
    """Width of a name as it is drawn, with a little room around it."""
    return len(text) * _LETTER * (FONT - 1) / 72 + 0.08


# ---- drawing


def _draw_line(axes: Any, track: Line, colour: str) -> None:
    if not len(track.values):
        axes.text(0.5, 0.5, "no data here", ha="center", va="center", transform=axes.transAxes, color=_RNA)
        return
    low, high = float(track.values.min()), float(track.values.max())
    base = track.base if track.base is not None else low
    low, high = min(low, base), max(high, base)
    if high == low:
        high = low + 1.0
    # one step per cell; cells that do not touch leave a gap
    x = track.borders.reshape(-1)
    y = np.repeat(track.values, 2)
    broken = np.flatnonzero(track.borders[1:, 0] > track.borders[:-1, 1]) * 2 + 2
    x, y = np.insert(x.astype(float), broken, np.nan), np.insert(y, broken, np.nan)
    axes.fill_between(x, base, y, color=colour, alpha=0.35, linewidth=0)
    axes.plot(x, y, color=colour, linewidth=0.8)
    axes.axhline(base, color=_FAINT, linewidth=0.6, zorder=0)
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.set_yticks([low, high], [_short(v) for v in (low, high)], fontsize=FONT - 1.5)
    axes.tick_params(axis="y", length=2, pad=1.5)
    axes.spines["left"].set_visible(True)


def _draw_partition(axes: Any, track: Features, inches_per_base: float, start: int, end: int) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Patch, Rectangle

    boxes, colours = [], []
    for f in track.features:
        colour = f.colour or PALETTE[0]
        for a, b in f.segments:
            boxes.append(Rectangle((a, 0.12), b - a, 0.76))
            colours.append(colour)
        shown = min(f.end, end) - max(f.start, start)
        if _fits(f.label, shown * inches_per_base):
            middle = (min(f.end, end) + max(f.start, start)) / 2
            axes.text(middle, 0.48, f.label, ha="center", va="center", color=_ink_on(colour), fontsize=FONT - 1)
    axes.add_collection(PatchCollection(boxes, facecolor=colours, edgecolor="white", linewidth=0.2))
    axes.set_ylim(0, 1)
    labels = _legend(track)
    if labels:
        handles = [Patch(color=colour, label=label) for label, colour in sorted(labels.items())]
        axes.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(1.005, 1.1), frameon=False, fontsize=FONT - 1.5,
            handlelength=0.9, handleheight=0.8, labelspacing=0.2, borderaxespad=0, ncols=1 + (len(labels) > 3),
            columnspacing=0.6,
        )  # fmt: skip


def _draw_features(
    axes: Any,
    track: Features,
    places: list[tuple[int, int]],
    inches_per_base: float,
    start: int,
    end: int,
    colour: str,
) -> None:
    from matplotlib.collections import LineCollection, PolyCollection

    up, down = _depth(places)
    axes.set_ylim(-down - 0.12, up + 0.12)
    axes.axhline(0, color=_FAINT, linewidth=0.8, zorder=0)
    for y, sign in ((up / 2, "+"), (-down / 2, "\u2212")):
        axes.annotate(
            sign, (0, y), (-4, 0), ("axes fraction", "data"), "offset points", ha="right", va="center", color=_RNA
        )
    polygons, fills, introns = [], [], []
    crowded = _crowded(track, inches_per_base)
    free: dict[tuple[int, int], int] = {}  # end of the feature before in each lane
    for f, (row, lane) in zip(track.features, places, strict=True):
        middle = row * (lane + 0.5)
        fill = f.colour or (_RNA if f.kind == "RNA" else _paler(colour) if f.kind == "doubtful" else colour)
        head = min(_ARROW / inches_per_base, 0.5 * (f.end - f.start))
        for i, (a, b) in enumerate(f.segments):
            last = i == len(f.segments) - 1 if f.strand == "+" else i == 0
            polygons.append(_arrow(a, b, middle, f.strand if last else ".", min(head, b - a)))
            fills.append(fill)
        introns += [((a[1], middle), (b[0], middle)) for a, b in zip(f.segments, f.segments[1:], strict=False)]
        a, b = max(f.start, start), min(f.end, end)
        text: dict[str, Any] = {"va": "center_baseline", "fontsize": FONT - 1, "clip_on": True}
        before = (f.start - max(free.get((row, lane), start), start)) * inches_per_base
        if len(f.segments) == 1 and _fits(f.label, (b - a - head) * inches_per_base):
            shift = (0.5 if f.strand == "-" else -0.5 if f.strand == "+" else 0) * head
            axes.text((a + b) / 2 + shift, middle, f.label, ha="center", color=_ink_on(fill), **text)
        elif _fits(f.label, before) and not crowded:
            axes.text(f.start - 0.04 / inches_per_base, middle, f.label, ha="right", color=_INK, **text)
        free[row, lane] = max(free.get((row, lane), 0), f.end)
    axes.add_collection(LineCollection(introns, colors=_INK, linewidths=0.7, zorder=1))
    width = 0.25 if (end - start) * len(polygons) < 1e9 and inches_per_base > 1e-4 else 0.1
    axes.add_collection(PolyCollection(polygons, facecolors=fills, edgecolors="white", linewidths=width, zorder=2))


def _arrow(start: int, end: int, middle: float, strand: str, head: float) -> list[tuple[float, float]]:
    low, high = middle - 0.36, middle + 0.36
    if strand == "+":
        return [(start, low), (end - head, low), (end, middle), (end - head, high), (start, high)]
    if strand == "-":
        return [(end, low), (start + head, low), (start, middle), (start + head, high), (end, high)]
    return [(start, low), (end, low), (end, high), (start, high)]


def _channels(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _paler(colour: str) -> str:
    return "#" + "".join(f"{round(255 - 0.45 * (255 - c)):02x}" for c in _channels(colour))


def _ink_on(colour: str) -> str:
    """Black or white, whichever reads better."""
    red, green, blue = _channels(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 150 else _INK
