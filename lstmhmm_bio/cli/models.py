"""`lstmhmm models`: what there is and what it was trained on."""

from __future__ import annotations

from typing import Any

import click


@click.group()
def models() -> None:
    """List and describe the models."""


@models.command("list")
def list_models() -> None:
    """List the bundled models."""
    from ..model import bundled_models, read_card

    for name in bundled_models():
        card = read_card(name)
        click.echo(f"{name}\tversion {card['version']}\t{card.get('description', '')}")


@models.command()
@click.argument("model")
def show(model: str) -> None:
    """Show the card of MODEL, a bundled name or a path."""
    from ..model import read_card

    _show(read_card(model), 0)


def _show(card: dict[str, Any], depth: int) -> None:
    indent = "  " * depth
    for key, value in card.items():
        if isinstance(value, dict):
            click.echo(f"{indent}{key}:")
            _show(value, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            click.echo(f"{indent}{key}:")
            for row in value:
                click.echo(f"{indent}  " + "  ".join(f"{k}={v}" for k, v in row.items()))
        else:
            click.echo(f"{indent}{key}: {value}")
