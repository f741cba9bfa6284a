"""What a protein's residues stand for, read from the protein around them.

A residue is evidence of what its homologs have in the same place: partly itself, partly what the bundled network
(`nn.residues`) expects there from its context. Match states score that mixture instead of the residue alone,

    log sum_a m(a) e_k(a) / q(a),      m = (1 - SHARE) [a is the residue] + SHARE p(a | residue, context),

with the emission probabilities e_k of match state k and the background q.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..model import read_card, read_weights, unflatten
from ..nn.residues import RESIDUES, UNKNOWN, ResidueParams, init_residues, log_replacements
from .plan7 import pad_sequences
from .profile import Codes, Mixtures

#: of the mixture, what is expected from the context
SHARE = 0.4
FORMAT = 1
_CARD = Path(__file__).parent / "residues.toml"
#: sequences at once, and positions to which they are padded at least
_BATCH, _SHORTEST = 64, 128


class Context(NamedTuple):
    """The network.

    Attributes:
        params: its weights.
        card: what `residues.toml` says of it.
    """

    params: ResidueParams
    card: dict[str, Any]

    def mixtures(self, sequences: Sequence[Codes]) -> list[Mixtures]:
        """What the residues of proteins stand for, [length, 20] frequencies for each.

        Args:
            sequences: codes of `AMINO`. An ambiguous residue stands for what is expected.
        """
        result: list[Mixtures | None] = [None] * len(sequences)
        order = np.argsort([len(codes) for codes in sequences], kind="stable")
        for at in range(0, len(order), _BATCH):
            members = order[at : at + _BATCH]
            # few lengths, so that few programs are compiled
            time = max(_SHORTEST, 1 << (len(sequences[members[-1]]) - 1).bit_length())
            codes, lengths = pad_sequences([sequences[i] for i in members], _BATCH, time, UNKNOWN)
            codes = np.minimum(codes, UNKNOWN)
            expected = np.asarray(_expected(self.params, codes, lengths))
            for row, i in enumerate(members):
                result[i] = _mixed(codes[row, : lengths[row]], expected[row, : lengths[row]])
        return result  # type: ignore[return-value]


@jax.jit
def _expected(params: ResidueParams, codes: jax.Array, lengths: jax.Array) -> jax.Array:
    return jnp.exp(log_replacements(params, codes.astype(jnp.int32), lengths))


def _mixed(codes: Codes, expected: Mixtures) -> Mixtures:
    """[length, 20] of codes and what is expected in their places."""
    itself = np.eye(RESIDUES + 1, RESIDUES, dtype=np.float32)[codes]
    share = np.where(codes == UNKNOWN, 1.0, SHARE).astype(np.float32)[:, None]
    return (1 - share) * itself + share * expected


@cache
def load_context() -> Context:
    """The bundled network.

    Raises:
        ModelError: its files are incomplete or damaged.
    """
    card = read_card(str(_CARD))
    arrays = read_weights(_CARD, card, FORMAT)
    template = init_residues(np.random.default_rng(0), card["hidden"], card["units"])
    return Context(unflatten(template, arrays, source=str(_CARD.with_suffix(".safetensors"))), card)
