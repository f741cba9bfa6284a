"""Grammars of genes as state graphs, their emissions and their labels."""
