"""Plan7: a profile made ready for searching, as HMMER3 does it.

Emissions become odds ratios against the background, a degenerate letter has the expected log-odds of its residues, and
inserts emit as the background does. A local model enters at M_k with a probability that makes all fragments k..j of
the profile equally likely, given that position k is used (Eddy 2008, PLoS Comput Biol 4:e1000069); a glocal one enters
before the first node and leaves after the last, its leading deletes folded into B -> M_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..hmm.chain import Chain, pad_length
from .profile import DD, DM, MD, MI, MM, Alphabet, Profile

Mode = Literal["local", "glocal"]

#: log odds of residues that a profile forbids
_FORBIDDEN = -1e4


#: padded lengths of sequences; beyond, multiples of the last
TIMES = (128, 512, 2048, 8192, 32768)


@dataclass(frozen=True, eq=False)
class SearchModel:
    """A profile made ready for searching.

    Attributes:
        profile: as it was read.
        mode: of the chain.
    """

    profile: Profile
    mode: Mode = "local"

    @cached_property
    def chain(self) -> Chain:
        """Parameters, padded."""
        return configure(self.profile, self.mode)

    @property
    def size(self) -> int:
        """Nodes that are no padding."""
        return self.profile.length

    @property
    def width(self) -> int:
        """Nodes with padding."""
        return self.chain.enter.shape[-1]

    @property
    def padding(self) -> int:
        """The code with which sequences are padded, that of ``*``."""
        return len(self.profile.alphabet.symbols) - 1

    @cached_property
    def average(self) -> NDArray[np.float32]:
        """[codes, width] mean over the residues of a code of their odds at match states; 1 for ``*``."""
        expand = self.profile.alphabet.expand.astype(float)
        members = expand.sum(axis=1, keepdims=True)
        odds = expand @ (self.profile.match / self.profile.alphabet.background).T
        mean = np.divide(odds, members, out=np.ones_like(odds), where=members > 0)
        return np.pad(mean, ((0, 0), (0, self.width - self.size))).astype(np.float32)

    @cached_property
    def log_odds(self) -> NDArray[np.float32]:
        """[codes, width] of match states in nat; what cannot be, padding included, is low."""
        with np.errstate(divide="ignore"):
            scores = np.maximum(np.log(self.chain.match), _FORBIDDEN)
        scores[:, self.size :] = _FORBIDDEN
        return scores.astype(np.float32)

    def on_device(self) -> SearchModel:
        """The same, its arrays on JAX's default device."""
        import jax

        there = replace(self)
        kept = {"chain": self.chain, "average": self.average, "log_odds": self.log_odds}
        there.__dict__.update(jax.device_put(kept))
        return there


def padded_time(length: int) -> int:
    """The padded length of a sequence."""
    for bucket in TIMES:
        if length <= bucket:
            return bucket
    return -(-length // TIMES[-1]) * TIMES[-1]


def pad_sequences(
    sequences: Sequence[NDArray[np.uint8]], batch: int, time: int, padding: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Sequences as one array of codes [batch, time], and their lengths [batch]; rows too many have length 0."""
    codes = np.full((batch, time), padding, np.uint8)
    lengths = np.zeros(batch, np.int32)
    for row, sequence in enumerate(sequences):
        codes[row, : len(sequence)] = sequence
        lengths[row] = len(sequence)
    return codes, lengths


def configure(profile: Profile, mode: Mode = "local", length: int | None = None) -> Chain:
    """The chain of a profile, of numpy float32 arrays.

    Args:
        profile: of M nodes.
        mode: whether hits may begin and end anywhere in the profile or span it whole.
        length: padded length, at least M; None for that of its bucket. Codes have rows as in `Alphabet.symbols`, so
            that the code of ``*`` may serve as padding of sequences.
    """
    size = profile.length
    padded = length or pad_length(size)
    out = profile.transitions.copy()
    out[size] = 0.0
    if mode == "local":
        used = occupancy(profile)
        enter = used / (used @ np.arange(size, 0, -1))
        leave = np.ones(size)
    else:
        enter, leave = glocal_entry(profile), np.zeros(size)
        leave[-1] = 1.0

    def pad(values: NDArray[np.float64]) -> NDArray[np.float32]:
        widths = [(0, 0)] * (values.ndim - 1) + [(0, padded - size)]
        return np.pad(values, widths).astype(np.float32)

    columns = (pad(column) for column in out[1:].T)
    odds = match_odds(profile.match, profile.alphabet, profile.alphabet.background)
    return Chain(pad(odds), np.ones(len(odds), np.float32), pad(enter), pad(leave), *columns)  # type: ignore[arg-type]


def match_odds(match: NDArray[np.float64], alphabet: Alphabet, background: NDArray[np.float64]) -> NDArray[np.float64]:
    """[codes, M] odds ratios of emission probabilities [M, K] to a background [K], for every code of the alphabet."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.log(match / background)
        weights = alphabet.expand * background
        total = weights.sum(axis=1, keepdims=True)
        share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        expected = np.stack([np.where(row > 0, row * scores, 0.0).sum(axis=1) for row in share])
    return np.where(total > 0, np.exp(expected), 0.0)


def occupancy(profile: Profile) -> NDArray[np.float64]:
    """[M] probability that a whole path through the profile uses match state k."""
    out = profile.transitions
    used = np.empty(profile.length)
    used[0] = out[0, MM] + out[0, MI]
    for k in range(1, profile.length):
        used[k] = used[k - 1] * (out[k, MM] + out[k, MI]) + (1 - used[k - 1]) * out[k, DM]
    return used


def glocal_entry(profile: Profile) -> NDArray[np.float64]:
    """[M] probability of entering at M_k after deleting the k - 1 nodes before it."""
    out = profile.transitions
    deleted = out[0, MD] * np.cumprod(np.append(1.0, out[1 : profile.length - 1, DD]))
    return np.append(1 - out[0, MD], deleted[: profile.length - 1] * out[1 : profile.length, DM])
