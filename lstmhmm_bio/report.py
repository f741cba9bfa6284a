"""A run of `annotate` as one self-contained HTML page.

    report = Report()
    for annotation in annotator.annotate(records, calibration):
        report.add(annotation)
    page = report.html(summary, run={"model": "bacteria 1"}, calibration=calibration)

The figures are inline SVG, styled by the page: it follows the reader's light or dark setting and the width of the
window, and asks nothing of the network. Memory grows with the longest records alone, by 24 bytes per 5 kb.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import count
from math import isnan

import numpy as np
from numpy.typing import NDArray

from .calibration import PWM_FIRST, UPSTREAM_FIRST
from .features import Annotation
from .io.derived import on_record
from .metagenome import AnyCalibration, GroupedCalibration
from .quality import ENOUGH, Summary
from .sequence import BASES, base_counts

#: bases of a cell of the overview
CELL = 5000
#: records that are shown one by one, the longest
SHOWN = 12
#: an overview is drawn with at most this many cells
POINTS = 400
#: bins of the histograms: coding lengths in bases (the last one holds all longer ones), probabilities
LENGTH_BIN, LENGTH_BINS = 100, 31
SCORE_BINS = 20

#: classes of colour in the overview, and what they show
_KEY = {"f": "coding, forward strand", "r": "coding, reverse strand", "g": "GC content", "s": "GC skew, summed"}
_ORDINARY = "Nothing in these figures is unlike a genome of the kind that the model is for."
_SHORT = "Too little sequence to say whether these figures are unlike those of a genome."


@dataclass(frozen=True)
class _Overview:
    """One record: [cells, 6] known bases, G, C, coding bases of + and of -, genes that begin."""

    id: str
    length: int
    genes: int
    cells: NDArray[np.float32]

    def share(self, *columns: int) -> float:
        """Of the known bases."""
        return float(self.cells[:, columns].sum() / max(self.cells[:, 0].sum(), 1))


@dataclass
class Report:
    """Collects annotations as they pass."""

    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(LENGTH_BINS, np.int64))
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    start_scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    starts: Counter[str] = field(default_factory=Counter)
    bases: NDArray[np.int64] = field(default_factory=lambda: np.zeros(5, np.int64))
    _longest: list[tuple[int, int, _Overview]] = field(default_factory=list)
    _number: Iterable[int] = field(default_factory=count)

    def add(self, annotation: Annotation) -> None:
        """Counts one record and its genes."""
        for gene in annotation.genes:
            self.lengths[min(gene.length // LENGTH_BIN, LENGTH_BINS - 1)] += 1
            self.scores[_bin(gene.score)] += 1
            if gene.has_start:
                self.starts[gene.start_codon] += 1
                if not isnan(gene.start_score):
                    self.start_scores[_bin(gene.start_score)] += 1
        codes = annotation.record.codes
        self.bases += base_counts(codes)
        number = next(iter(self._number))
        rank = (len(codes), -number)
        if len(codes) and (len(self._longest) < SHOWN or rank > self._longest[0][:2]):
            entry = (*rank, _overview(annotation))
            (heapq.heappush if len(self._longest) < SHOWN else heapq.heapreplace)(self._longest, entry)

    def html(self, summary: Summary, *, run: Mapping[str, str], calibration: AnyCalibration) -> str:
        """The page.

        Args:
            summary: the run's totals.
            run: what was run: name and value of each line to show.
            calibration: what the genome was annotated with, if anything of its own.
        """
        known = max(int(self.bases[:4].sum()), 1)
        gc = 100 * float(self.bases[1] + self.bases[2]) / known
        mean = summary.lengths / max(summary.genes, 1)
        facts = [
            ("records", f"{summary.records:,}"),
            ("bases", f"{summary.bases:,}"),
            ("genes", f"{summary.genes:,}"),
            ("partial genes", f"{summary.partial:,}"),
            ("coding density", f"{100 * summary.density:.1f} %"),
            ("mean gene", f"{mean:,.0f} bases" if summary.genes else "-"),
            ("GC content", f"{gc:.1f} %"),
            ("unknown bases", f"{int(self.bases[4]):,}"),
        ]
        warnings = "".join(f"<li>{escape(w)}</li>" for w in summary.warnings())
        longest = [o for *_, o in sorted(self._longest, key=lambda e: e[:2], reverse=True)]
        rest = summary.records - len(longest)
        key = "".join(f'<span><i class="{kind}"></i>{name}</span> ' for kind, name in _KEY.items())
        parts = [
            f"<h1>{escape(run.get('input', 'Annotation'))}</h1>",
            f'<section class="warnings"><h2>Warnings</h2><ul>{warnings}</ul></section>'
            if warnings
            else f'<p class="note">{_ORDINARY if known >= ENOUGH else _SHORT}</p>',
            '<dl class="facts">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts) + "</dl>",
            f'<section><h2>Overview</h2><p class="key">{key}</p>',
            *(_strip(o, longest[0].length) for o in longest),
            f'<p class="note">and {rest:,} shorter record{"s" * (rest != 1)}</p>' if rest > 0 else "",
            "</section>",
            '<div class="cards">',
            _card("Gene lengths", _histogram(self.lengths, LENGTH_BIN, "coding bases", f"{LENGTH_BIN * 30:,}+")),
            _card("Gene scores", _histogram(self.scores, 1 / SCORE_BINS, "posterior probability of the gene", "1")),
            _card("Start scores", _histogram(self.start_scores, 1 / SCORE_BINS, "posterior probability", "1")),
            _card("Start codons", _bars(self.starts.most_common(6))),
            *_calibration_cards(calibration),
            "</div>",
            _records_table(longest),
            "<section><h2>What was run</h2><table class=run>"
            + "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in run.items())
            + "</table></section>",
        ]
        head = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(run.get("input", ""))}</title>'
        )
        return (
            head
            + f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>'
            + ("\n".join(parts) + "</main></body></html>\n")
        )


def _bin(probability: float) -> int:
    return min(int(probability * SCORE_BINS), SCORE_BINS - 1)


def _overview(annotation: Annotation) -> _Overview:
    codes, length = annotation.record.codes, len(annotation.record)
    edges = np.append(np.arange(0, length, CELL), length)
    coding = np.zeros((2, length + 1), np.int8)
    begins = np.zeros(len(edges) - 1)
    for gene in annotation.genes:
        begins[min(gene.start // CELL, len(begins) - 1)] += 1
        for start, end in on_record(gene.segments, length):
            coding[int(gene.strand == "-"), start] += 1
            coding[int(gene.strand == "-"), end] -= 1
    over = np.cumsum(coding, axis=1, dtype=np.int8)[:, :-1] > 0
    masks = (codes < 4, codes == 2, codes == 1, over[0], over[1])
    columns = [np.add.reduceat(mask, edges[:-1], dtype=np.int64) for mask in masks]
    cells = np.stack([*columns, begins], 1).astype(np.float32)
    return _Overview(annotation.record.id, length, len(annotation.genes), cells)


# ---- figures


def _strip(o: _Overview, longest: int) -> str:
    """One record: coding share of both strands, GC content and summed GC skew along it."""
    cells = o.cells
    if len(cells) > POINTS:
        edges = np.linspace(0, len(cells), POINTS + 1).astype(int)[:-1]
        cells = np.add.reduceat(cells, edges)
    known = np.maximum(cells[:, 0], 1)
    n, height = len(cells), 100.0
    forward, reverse = np.minimum(cells[:, 3] / known, 1), np.minimum(cells[:, 4] / known, 1)
    gc = (cells[:, 1] + cells[:, 2]) / known
    gc[cells[:, 0] == 0] = np.nan
    skew = np.cumsum((cells[:, 1] - cells[:, 2]) / np.maximum(cells[:, 1] + cells[:, 2], 1))
    width = max(100 * o.length / longest, 3)
    # coding shares mirror each other on the first 50 units; the lines share the others
    up = _area(forward, 25.0, -24.0)
    down = _area(reverse, 25.0, 24.0)
    lines = f'<path class="g" d="{_path(gc, 75, 53)}"/><path class="s" d="{_path(skew, 98, 77)}"/>'
    return (
        f"<figure><figcaption>{escape(o.id)} <span>{o.length:,} bases, {o.genes:,} genes</span></figcaption>"
        f'<svg class="strip" style="width:{width:.2f}%" viewBox="0 0 {n} {height:.0f}" preserveAspectRatio="none" '
        f'role="img" aria-label="coding share, GC content and GC skew along {escape(o.id)}">'
        f'<path class="f" d="{up}"/><path class="r" d="{down}"/>{lines}</svg></figure>'
    )


def _area(values: NDArray[np.floating], base: float, scale: float) -> str:
    """Path of steps of one unit above (or below) a base line."""
    steps = " ".join(f"V{base + scale * v:.1f}h1" for v in values)
    return f"M0 {base:g}{steps}V{base:g}z"


def _path(values: NDArray[np.floating], low: float, high: float) -> str:
    """Line through the middles of cells, the smallest value at `low` and the largest at `high`; gaps at nan."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    least, most = float(finite.min()), float(finite.max())
    scale = (high - low) / max(most - least, 1e-9)
    out, broken = [], True
    for i, value in enumerate(values):
        if np.isfinite(value):
            out.append(f"{'M' if broken else 'L'}{i + 0.5:g} {low + scale * (float(value) - least):.1f}")
        broken = not np.isfinite(value)
    return "".join(out)


def _card(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _histogram(counts: NDArray[np.int64], step: float, label: str, last: str) -> str:
    """Bars with an axis below; the last tick is named."""
    total = int(counts.sum())
    if not total:
        return '<p class="note">none</p>'
    n, top = len(counts), int(counts.max())
    width = 300 / n
    bars = "".join(
        f'<rect x="{10 + i * width:.1f}" y="{110 - 100 * c / top:.1f}" width="{width - 1:.1f}" '
        f'height="{100 * c / top:.1f}"><title>{_edge(i * step)}-{_edge((i + 1) * step)}: {c:,}</title></rect>'
        for i, c in enumerate(counts.tolist())
        if c
    )
    middle = n // 2
    ticks = ((10, "start", "0"), (10 + middle * width, "middle", _edge(middle * step)), (310, "end", last))
    texts = "".join(f'<text x="{x:.0f}" y="123" text-anchor="{anchor}">{text}</text>' for x, anchor, text in ticks)
    return (
        f'<svg viewBox="0 0 320 142" role="img" aria-label="{label}"><path class="axis" d="M10 110.5H310"/>{bars}'
        f'{texts}<text x="160" y="138" text-anchor="middle">{label}; highest bar {top:,} of {total:,}</text></svg>'
    )


def _edge(value: float) -> str:
    return f"{value:,.0f}" if value >= 2 or value == 0 else f"{value:.2f}".rstrip("0").rstrip(".")


def _bars(counted: Sequence[tuple[str, int]]) -> str:
    """Horizontal bars of named counts."""
    total = sum(c for _, c in counted)
    if not total:
        return '<p class="note">none</p>'
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td><div style=width:{100 * c / total:.2f}%></div></td>"
        f"<td>{100 * c / total:.1f} %</td><td>{c:,}</td></tr>"
        for name, c in counted
    )
    return f'<table class="bars">{rows}</table>'


def _calibration_cards(calibration: AnyCalibration) -> list[str]:
    """What was learned from the genome itself."""
    if calibration is None:
        note = '<p class="note">None: every record by itself, with what is expected at its GC content.</p>'
        return [_card("Calibration", note)]
    if isinstance(calibration, GroupedCalibration):
        return [_card("Calibration", _groups_table(calibration))]
    counts = calibration.counts
    lines = (
        f"<p>Genetic code {calibration.genetic_code}, GC {100 * calibration.gc:.1f} %; learned from "
        f"{int(counts.coding.sum()):,} codon pairs and {int(counts.starts):,} starts of this genome.</p>"
    )
    if not counts.starts:
        return [_card("Calibration", lines)]
    true, false = counts.upstream + 0.5, counts.false_upstream + 0.5
    odds = np.log2((true / true.sum()) / (false / false.sum()))
    best = np.array(sorted(np.argsort(-odds * counts.upstream)[:5], key=lambda i: -odds[i]))
    names = ["".join(BASES[i // 4**k % 4] for k in range(4, -1, -1)) for i in best.tolist()]
    words = "".join(f"<tr><th>{w}</th><td>{2 ** odds[i]:.1f}x</td></tr>" for w, i in zip(names, best, strict=True))
    table = f'<p>Words enriched {-UPSTREAM_FIRST} to 3 bases before starts:</p><table class="words">{words}</table>'
    return [_card("Calibration", lines + table), _card("Bases around starts", _logo(counts.context))]


def _groups_table(calibration: GroupedCalibration) -> str:
    """What was learned from each group of a metagenome's records."""
    if not calibration.calibrations:
        return '<p class="note">None: too little sequence to learn from.</p>'
    rows = "".join(
        f"<tr><td>{100 * c.gc:.1f} %</td><td>{int(c.counts.coding.sum()):,}</td><td>{int(c.counts.starts):,}</td></tr>"
        for c in calibration.calibrations
    )
    return (
        f"<p>Genetic code {calibration.genetic_code}; learned from groups of records that are alike.</p>"
        f"<table><tr><th>GC</th><th>codon pairs</th><th>starts</th></tr>{rows}</table>"
    )


def _logo(context: NDArray[np.float32]) -> str:
    """Information of each position around the start codon, with its commonest base."""
    p = (context + 1) / (context + 1).sum(1, keepdims=True)
    bits = 2 + (p * np.log2(p)).sum(1)
    n = len(bits)
    width, top = 300 / n, max(float(bits.max()), 0.5)
    columns = "".join(
        f'<rect class="b{int(p[i].argmax())}" x="{10 + i * width:.1f}" y="{108 - 96 * b / top:.1f}" '
        f'width="{width - 0.8:.1f}" height="{96 * b / top:.1f}"><title>{i + PWM_FIRST}: {b:.2f} bits</title></rect>'
        f'<text class="letter" x="{10 + (i + 0.5) * width:.1f}" y="118" text-anchor="middle">'
        f"{BASES[int(p[i].argmax())]}</text>"
        for i, b in enumerate(bits.tolist())
    )
    return (
        f'<svg viewBox="0 0 320 146" role="img" aria-label="bases around starts">{columns}'
        f'<text x="10" y="131">{PWM_FIRST}</text>'
        f'<text x="{10 - PWM_FIRST * width:.0f}" y="131" text-anchor="start">start</text>'
        f'<text x="160" y="141" text-anchor="middle">bits per position, up to {top:.2f}</text></svg>'
    )


def _records_table(longest: Sequence[_Overview]) -> str:
    rows = "".join(
        f"<tr><td>{escape(o.id)}</td><td>{o.length:,}</td><td>{o.genes:,}</td>"
        f"<td>{100 * min(o.share(3, 4), 1):.1f}</td><td>{100 * o.share(1, 2):.1f}</td></tr>"
        for o in longest
    )
    head = "<tr><th>record</th><th>bases</th><th>genes</th><th>coding %</th><th>GC %</th></tr>"
    return f'<section class="wide"><h2>Longest records</h2><table class="records">{head}{rows}</table></section>'


_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1c1c1c;--dim:#5f6368;--line:#d9dce0;--card:#f6f7f9;
--f:#0072b2;--r:#d55e00;--g:#009e73;--s:#9e5a86;--warn:#fff4d6;--warnline:#e0a800}
@media(prefers-color-scheme:dark){:root{--bg:#15171a;--ink:#e8e8e8;--dim:#a3a8ae;--line:#3a3f45;--card:#1e2125;
--f:#56b4e9;--r:#f0803c;--g:#3cc69c;--s:#d896c0;--warn:#3a2f10;--warnline:#b98d1a}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 20px 48px}h1{font-size:24px;margin:0 0 12px;overflow-wrap:anywhere}
h2{font-size:16px;margin:0 0 8px}section{margin:20px 0;min-width:0}.note,figcaption span{color:var(--dim)}
.warnings{background:var(--warn);border:1px solid var(--warnline);border-radius:8px;padding:12px 16px}
.warnings ul{margin:0;padding-left:20px}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(135px,1fr));gap:10px;margin:20px 0}
.facts div{background:var(--card);border-radius:8px;padding:8px 12px}dt{color:var(--dim);font-size:13px}
dd{margin:0;font-size:19px;font-variant-numeric:tabular-nums}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:16px}
.cards section{background:var(--card);border-radius:8px;padding:14px 16px;margin:0}svg{display:block;width:100%}
.cards svg{max-width:420px}svg text{fill:var(--dim);font-size:10.5px}svg text.letter{font-size:7.5px}
rect{fill:var(--f)}.axis{stroke:var(--line);fill:none}
rect.b0{fill:var(--g)}rect.b1{fill:var(--f)}rect.b2{fill:var(--r)}rect.b3{fill:var(--s)}
figure{margin:0 0 14px}figcaption{font-size:13px;margin-bottom:3px;overflow-wrap:anywhere}
.strip{height:110px;min-width:12px;background:var(--card)}.strip .f{fill:var(--f)}.strip .r{fill:var(--r)}
.strip .g,.strip .s{fill:none;stroke:var(--g);stroke-width:1.3;vector-effect:non-scaling-stroke}
.strip .s{stroke:var(--s)}.key{color:var(--dim);font-size:13px;margin:0 0 10px}
.key span{white-space:nowrap;margin-right:10px}
.key i{display:inline-block;width:11px;height:11px;margin-right:5px;border-radius:2px}
.key .f{background:var(--f)}.key .r{background:var(--r)}.key .g{background:var(--g)}.key .s{background:var(--s)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}th{text-align:left;font-weight:600}
td,th{padding:3px 14px 3px 0;border-bottom:1px solid var(--line);vertical-align:top}
.bars{width:100%}.bars td,.bars th,.words td,.words th{border:0}.bars td:nth-child(2){width:60%}
.bars div{background:var(--f);height:14px;margin-top:4px;border-radius:2px;min-width:1px}
.bars td:nth-child(n+3){text-align:right;padding-right:6px;white-space:nowrap}.words th{font-family:monospace}
.wide{overflow-x:auto}.records td:nth-child(n+2),.records th:nth-child(n+2){text-align:right}
.run th{color:var(--dim);font-weight:400;white-space:nowrap}.run td{overflow-wrap:anywhere}
"""
