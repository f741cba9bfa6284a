"""Segmentation without labels: states learned from signals or bases, and the partition that they give.

    signals = read_signals(["reads.bam"], 100)
    pieces = sample(signals.tracks)
    learned = learn(pieces, SIGNAL_FAMILIES["gaussian"], [2, 3, 4])
    for track, segments in partition(learned.model, signals.tracks): ...

States are numbered from the lowest mean upwards, so that "state1" means the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .features import Record
from .hmm.densities import LARGEST_COUNT, Family, Values
from .hmm.em import Fit, Hmm, Pieces, baum_welch, initial_model, log_likelihood
from .hmm.recursions import posteriors_blockwise
from .io.coverage import SignalTrack
from .segments import Runs, Segment, joined, runs_of, segments_of
from .sequence import kmer_indices

#: bins of a piece to learn from, and how many pieces are looked at
PIECE, MAX_PIECES = 1024, 2048
#: every so-many-th piece is kept apart to score models on
_HELD_OUT = 5
#: block sizes of decoding, for records up to `_SHORT_BLOCKS` short blocks and for longer ones
_SHORT, _LONG, _SHORT_BLOCKS = 1024, 1 << 16, 16
#: records of one short block that are decoded side by side
_SIDE_BY_SIDE = 64
#: a first fit of every start with so many rounds picks the one to go on with
_FIRST_ROUNDS = 15


class Track(Protocol):
    """Observations along one record, in bins.

    Attributes:
        id: of the record.
        length: its bases.
        size: bases per bin.
    """

    @property
    def id(self) -> str: ...

    @property
    def length(self) -> int: ...

    @property
    def size(self) -> int: ...

    def __len__(self) -> int:
        """Number of bins."""

    def block(self, start: int, stop: int) -> Values:
        """Observations of some bins [bins, channels] float32; nan is missing."""


@dataclass(frozen=True)
class SequenceTrack:
    """The bases of a record, each seen with the `order` bases before it; see `hmm.densities.Categorical`."""

    record: Record
    order: int = 0
    size: int = 1

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def length(self) -> int:
        return len(self.record)

    def __len__(self) -> int:
        return len(self.record)

    def block(self, start: int, stop: int) -> Values:
        first = max(0, start - self.order)
        words = kmer_indices(self.record.codes[first:stop], self.order + 1)
        # a word is known at its last base
        known = words[: max(0, len(words) - self.order)]
        values = np.full((stop - start, 1), np.nan, np.float32)
        values[len(values) - len(known) :, 0] = np.where(known >= 0, known, np.nan)
        return values


@dataclass(frozen=True)
class CountTrack:
    """A signal as counts: rounded, and cut to what count families tell apart."""

    signal: SignalTrack

    @property
    def id(self) -> str:
        return self.signal.id

    @property
    def length(self) -> int:
        return self.signal.length

    @property
    def size(self) -> int:
        return self.signal.size

    def __len__(self) -> int:
        return len(self.signal)

    def block(self, start: int, stop: int) -> Values:
        return np.clip(np.rint(self.signal.block(start, stop)), 0, LARGEST_COUNT)


@dataclass(frozen=True)
class Candidate:
    """How well a number of states fits.

    Attributes:
        states: their number.
        fit: of the best restart.
        log_likelihoods: [restarts] of all of them after a few rounds.
        criterion: the lower, the better: BIC, or minus the log likelihood per observation of the pieces held out.
    """

    states: int
    fit: Fit
    log_likelihoods: tuple[float, ...]
    criterion: float


@dataclass(frozen=True)
class Learned:
    """What was learned: the best fit, its states ordered by mean, and all candidates."""

    fit: Fit
    candidates: tuple[Candidate, ...]

    @property
    def model(self) -> Hmm:
        return self.fit.model


def sample(tracks: Iterable[Track], seed: int = 1) -> Pieces:
    """Pieces of all tracks to learn from: all of them, or `MAX_PIECES` drawn evenly (reservoir sampling).

    Raises:
        InputError: the tracks hold nothing.
    """
    rng = np.random.default_rng(seed)
    kept: list[Values] = []
    seen = 0
    for track in tracks:
        for start in range(0, len(track), PIECE):
            seen += 1
            place = seen - 1 if seen <= MAX_PIECES else int(rng.integers(seen))
            if place >= MAX_PIECES:
                continue
            values = np.array(track.block(start, min(start + PIECE, len(track))), np.float32)
            if place == len(kept):
                kept.append(values)
            else:
                kept[place] = values
    if not kept:
        raise InputError("there is nothing to learn states from: all sequences are empty")
    padded = np.zeros((len(kept), PIECE, kept[0].shape[1]), np.float32)
    for row, values in zip(padded, kept, strict=True):
        row[: len(values)] = values
    return Pieces(padded, np.array([len(values) for values in kept], np.int32))


def learn(
    pieces: Pieces,
    family: Family,
    states: Sequence[int],
    *,
    restarts: int = 4,
    seed: int = 1,
    held_out: bool = False,
    level_channels: Sequence[bool] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Learned:
    """Fit models with these numbers of states and take the best.

    Args:
        pieces: the data.
        family: of the emissions.
        states: numbers to try.
        restarts: starting points for each number: quantiles of the data, then random ones.
        seed: of the random ones.
        held_out: choose by the likelihood of pieces that were not fitted, instead of by BIC (Schwarz 1978).
        level_channels: [channels] which of them order the states; all by default.
        say: told about every fit.

    Raises:
        InputError: too little data to hold any out.
    """
    fitted, kept_apart = _split(pieces) if held_out else (pieces, pieces)
    candidates = []
    for number in states:
        fit, first_tries = _best_of_restarts(fitted, family, number, restarts, seed)
        if held_out:
            criterion = -log_likelihood(fit.model, kept_apart) / kept_apart.total
        else:
            free = number * number - 1 + family.free_parameters(number, pieces.values.shape[2])
            criterion = free * float(np.log(pieces.total)) - 2 * fit.log_likelihood
        candidates.append(Candidate(number, fit, first_tries, criterion))
        name = "minus held-out log likelihood" if held_out else "BIC"
        rounds = len(fit.log_likelihoods) - 1
        say(f"{number} states: log likelihood {fit.log_likelihood:.1f} after {rounds} rounds, {name} {criterion:.6g}")
    best = min(candidates, key=lambda c: c.criterion).fit
    if held_out:
        best = baum_welch(best.model, pieces)
    levels = family.levels(best.model.parameters)
    order = np.argsort(levels[:, np.array(level_channels)].mean(1) if level_channels else levels.mean(1), kind="stable")
    return Learned(Fit(best.model.reordered(order), best.log_likelihoods), tuple(candidates))


def partition(model: Hmm, tracks: Iterable[Track]) -> Iterator[tuple[Track, list[Segment]]]:
    """The segments of every track, in order: each bin in the state of its highest posterior probability.

    Records are decoded exactly, in blocks; memory does not grow with their length but for the segments themselves.
    """
    tables = model.family.tables(model.parameters)
    group: list[Track] = []
    for track in tracks:
        if len(track) <= _SHORT:
            group.append(track)
            if len(group) < _SIDE_BY_SIDE:
                continue
        yield from _decode(model, tables, group)
        group = []
        if len(track) > _SHORT:
            yield from _decode(model, tables, [track])
    yield from _decode(model, tables, group)


def _decode(
    model: Hmm, tables: Mapping[str, jax.Array], tracks: Sequence[Track]
) -> Iterator[tuple[Track, list[Segment]]]:
    """Segments of tracks side by side: one of any length, or some that fit a short block."""
    if not tracks:
        return
    longest = max(map(len, tracks))
    size = _SHORT if longest <= _SHORT * _SHORT_BLOCKS else _LONG
    lengths = np.array([len(track) for track in tracks], np.int32)
    rows = _SIDE_BY_SIDE if longest <= _SHORT else 1
    lengths = np.pad(lengths, (0, rows - len(lengths)))

    def block(i: int) -> jax.Array:
        values: Values | None = None
        for row, track in enumerate(tracks):
            part = track.block(i * size, min((i + 1) * size, len(track)))
            if values is None:
                values = np.zeros((rows, size, part.shape[1]), np.float32)
            values[row, : len(part)] = part
        assert values is not None
        return _log_density(model.family, tables, jnp.asarray(values))

    blocks = max(1, -(-longest // size))
    _, posteriors = posteriors_blockwise(model.graph, model.scores, block, blocks, jnp.asarray(lengths))
    pieces: list[list[Runs]] = [[] for _ in tracks]
    for i, found in posteriors:
        states, highest = (np.asarray(x) for x in _most_likely(found))
        for row in range(len(tracks)):
            end = min(max(int(lengths[row]) - i * size, 0), size)
            pieces[row].append(runs_of(states[row, :end], highest[row, :end]))
    for track, of_track in zip(tracks, pieces, strict=True):
        yield track, segments_of(joined(reversed(of_track)), track.size, track.length)


@partial(jax.jit, static_argnums=0)
def _log_density(family: Family, tables: Mapping[str, jax.Array], values: jax.Array) -> jax.Array:
    return family.log_density(tables, values)


@jax.jit
def _most_likely(posteriors: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The state of the highest posterior (of equal ones the lowest) and that posterior, [batch, time] each."""
    return jnp.argmax(posteriors, axis=2).astype(jnp.uint8), jnp.max(posteriors, axis=2)


def _best_of_restarts(
    pieces: Pieces, family: Family, states: int, restarts: int, seed: int
) -> tuple[Fit, tuple[float, ...]]:
    """The best of several starts after a few rounds, fitted to the end; and the likelihoods of all at that point."""
    starts = [None, *(np.random.default_rng([seed, i]) for i in range(1, restarts))]
    models = (initial_model(family, pieces, states, rng) for rng in starts)
    tries = [baum_welch(model, pieces, rounds=_FIRST_ROUNDS) for model in models]
    best = max(tries, key=lambda fit: fit.log_likelihood)
    rest = baum_welch(best.model, pieces)
    history = best.log_likelihoods + rest.log_likelihoods[1:]
    return Fit(rest.model, history), tuple(fit.log_likelihood for fit in tries)


def _split(pieces: Pieces) -> tuple[Pieces, Pieces]:
    """Pieces to fit and pieces to hold out."""
    apart = np.arange(len(pieces.lengths)) % _HELD_OUT == 1
    if not apart.any():
        raise InputError(f"{pieces.total} bins are too few to hold any out; use smaller bins or choose by BIC")
    return Pieces(pieces.values[~apart], pieces.lengths[~apart]), Pieces(pieces.values[apart], pieces.lengths[apart])


def report(learned: Learned, channels: Sequence[str], *, criterion: str) -> dict[str, object]:
    """What was learned, as plain values for TOML.

    Args:
        learned: the model and its rivals.
        channels: names of the channels.
        criterion: what the number of states was chosen by.
    """
    model = learned.model
    names = model.graph.states
    return {
        "family": model.family.name,
        "channels": list(channels),
        "chosen_states": len(names),
        "criterion": criterion,
        "log_likelihood_per_round": _rounded(np.array(learned.fit.log_likelihoods)),
        "candidates": [
            {
                "states": c.states,
                "log_likelihood": _rounded(np.array(c.fit.log_likelihood)),
                "criterion": _rounded(np.array(c.criterion)),
                "restarts": _rounded(np.array(c.log_likelihoods)),
            }
            for c in learned.candidates
        ],
        "states": [
            {
                "name": name,
                "transitions": _rounded(model.transitions[i]),
                **{key: _rounded(values[i]) for key, values in model.parameters.items()},
            }
            for i, name in enumerate(names)
        ],
    }


def _rounded(values: NDArray[np.float64]) -> object:
    """Eight significant digits, as lists and floats."""
    if values.ndim == 0:
        return float(f"{values:.8g}")
    return [_rounded(np.asarray(x)) for x in values]
