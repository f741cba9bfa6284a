"""Markdown pages that the benchmarks write, and the places in README.md that they fill."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """A markdown table; all but the first `text_columns` are aligned to the right."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *rows))


def fill(marker: str, text: str, page: Path = README) -> None:
    """Replaces what stands between ``<!-- marker -->`` and ``<!-- /marker -->``."""
    before, found, rest = page.read_text("utf-8").partition(f"<!-- {marker} -->\n")
    _, closed, after = rest.partition(f"<!-- /{marker} -->")
    if not found or not closed:
        raise SystemExit(f"{page.name}: no place <!-- {marker} --> ... <!-- /{marker} -->")
    page.write_text(f"{before}{found}{text}{closed}{after}", "utf-8")


def versions(model: str) -> str:
    """Which programs and which model made a page that compares with Pyrodigal."""
    import pyrodigal

    return f"{version(model)}, Pyrodigal {pyrodigal.__version__}"


def version(model: str) -> str:
    """Program and model, with what tells them from others."""
    import jax

    from lstmhmm_bio import __version__
    from lstmhmm_bio.model import read_card

    card = read_card(model)
    return (
        f"lstmhmm {__version__} with model {card['name']} {card['version']} (weights {card['sha256'][:12]}, "
        f"jax {jax.__version__})"
    )


def processor() -> str:
    """The CPU's name and the cores in use."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.machine()}, {cores} cores"
