"""Grammars by kind, as model cards name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import bacteria, eukaryote, labels
from .grammar import Grammar

KINDS = ("bacteria", "eukaryote")


def training_grammar(kind: str) -> Grammar:
    """The grammar that labels of a kind speak of.

    Raises:
        KeyError: no such kind.
    """
    return {"bacteria": bacteria.GRAMMAR, "eukaryote": eukaryote.TRAINING}[kind]


def decoding_grammar(kind: str, settings: Mapping[str, Any]) -> Grammar:
    """The grammar that a model decodes with; its weights have the names of the training grammar's.

    Args:
        kind: as for `training_grammar`.
        settings: the model card's table `grammar`: of eukaryotes `min_intron`, bases of the shortest intron, and
            whether there are `at_ac_introns`, and `least_intron`, the lowest posterior of an intron's ends; of "labels"
            all of `labels.Labels`.

    Raises:
        KeyError: no such kind.
        ValueError: settings that make no grammar.
    """
    if kind == "labels":
        return labels.decoding_grammar(labels.Labels.from_table(settings))
    if kind == "eukaryote":
        at_ac, least = bool(settings.get("at_ac_introns", False)), float(settings.get("least_intron", 0.0))
        return eukaryote.grammar(int(settings["min_intron"]), memory=True, at_ac=at_ac, least_intron=least)
    return training_grammar(kind)
