"""`lstmhmm models`: what there is and what it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click


@click.group()
def models() -> None:
    """List and describe the models."""


@models.command("list")
def list_models() -> None:
    """List the bundled models."""
    from ..io import open_output
    from ..model import bundled_models, read_card

    with open_output(None) as handle:
        for name in bundled_models():
            card = read_card(name)
            handle.write(f"{name}\tversion {card['version']}\t{card.get('description', '')}\n")


@models.command()
@click.argument("model")
def show(model: str) -> None:
    """Show the card of MODEL, a bundled name or a path."""
    from ..io import open_output
    from ..model import find_card, read_card

    card = read_card(model)
    with open_output(None) as handle:
        handle.write(f"{'card':<{_WIDTH}} {find_card(model)}\n")
        handle.writelines(line + "\n" for line in _lines(card, 0))


_WIDTH = 20


def _lines(card: dict[str, Any], depth: int) -> Iterator[str]:
    """Facts first, then tables (dictionaries, and lists of them as columns) under their names."""
    indent = "  " * depth
    tables = {k: v for k, v in card.items() if isinstance(v, dict) or (isinstance(v, list) and _is_rows(v))}
    for key, value in card.items():
        if key not in tables:
            yield f"{indent}{key.replace('_', ' '):<{_WIDTH - len(indent)}} {_text(value)}"
    for key, value in tables.items():
        if depth == 0:
            yield ""
        yield f"{indent}{key.replace('_', ' ')}"
        yield from _lines(value, depth + 1) if isinstance(value, dict) else _columns(value, depth + 1)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _is_rows(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(v, dict) for v in values)


def _columns(rows: list[dict[str, Any]], depth: int) -> Iterator[str]:
    """Rows as aligned columns under a header; the names are the union of theirs, in order."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_text(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield ("  " * depth + "  ".join(f"{x:<{w}}" for x, w in zip(line, widths, strict=True))).rstrip()
