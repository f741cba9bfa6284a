"""What decoding reads of records, strand by strand, in batches of a few fixed shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .features import Record
from .hmm.grammars.grammar import Grammar
from .hmm.graph import NEG
from .hmm.viterbi import UNITS
from .nn.network import CodeMasks
from .programs import kept
from .runtime import call_devices
from .scoring import Tracks
from .sequence import GeneticCode, reverse_complement
from .windows import LONG, SHORT

#: positions of both strands in one batch of short records
BATCH_BASES = 16 * LONG


class Strands(NamedTuple):
    """What decoding reads of a record: scores and marks of both strands, each in its own orientation, or of one."""

    classes: NDArray[np.int16]
    sites: NDArray[np.int16]
    marks: NDArray[np.uint16]

    @staticmethod
    def of(record: Record, tracks: Tracks, code: GeneticCode, grammar: Grammar) -> Strands:
        masks = CodeMasks.of(code)
        marks = grammar.marks(np.stack([record.codes, reverse_complement(record.codes)]), masks)
        return Strands(tracks.classes, tracks.sites, marks)

    def strand(self, row: int) -> Strands:
        one = slice(row, row + 1)
        return Strands(self.classes[one], self.sites[one], self.marks[one])


class Part(NamedTuple):
    """A stretch of some strands: positions begin, end in each strand's own orientation."""

    strands: Strands
    begin: int
    end: int


def stack(parts: Sequence[Part], rows: int, size: int) -> tuple[Strands, NDArray[np.int32]]:
    """Parts of up to `size` positions and up to `rows` strands as one, [rows, size, ...], and their lengths [rows]."""
    lengths = np.zeros(rows, np.int32)
    stacked = [np.zeros((rows, size, *x.shape[2:]), x.dtype) for x in parts[0].strands]
    first = 0
    for strands, begin, end in parts:
        these = slice(first, first + len(strands.marks))
        first = these.stop
        lengths[these] = end - begin
        for target, source in zip(stacked, strands, strict=True):
            target[these, : end - begin] = source[:, begin:end]
    return Strands._make(stacked), lengths


def batch(grammar: Grammar, parts: Sequence[Part], rows: int, size: int) -> tuple[jax.Array, jax.Array]:
    """Emissions [rows, size, states] and lengths [rows] of parts, as `stack`."""
    stacked, lengths = stack(parts, rows, size)
    return emissions(grammar, stacked), jnp.asarray(lengths)


def emissions_of(grammar: Grammar, strands: Strands, axis: int = -1) -> jax.Array:
    """Emissions [rows, size, states] of stacked strands, the states at `axis`."""
    scale = jnp.float32(1 / UNITS)
    return grammar.emissions(strands.classes * scale, strands.sites * scale, strands.marks, impossible=NEG, axis=axis)


emissions = kept(0)(emissions_of)


def by_position(strands: Strands) -> Strands:
    """What is read position by position, [size, ..., rows]: every number of a position is then a vector over rows."""
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), strands)


def emissions_at(grammar: Grammar, position: Strands) -> jax.Array:
    """Emissions [states, rows] at one position of `by_position`."""
    return emissions_of(grammar, jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), position), axis=0)


def padded(length: int) -> int | None:
    """The size that so many bases are padded to; None if they are decoded block by block."""
    return next((size for size in (*SHORT, LONG) if length <= size), None)


def batch_bases(grammar: Grammar) -> int:
    """Positions of both strands in one call: fewer for grammars of many states, whose emissions are large."""
    return BATCH_BASES >> max(0, (len(grammar.graph.states) // 32).bit_length() - 1)


def side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Runs tasks side by side, on the devices in turn."""
    devices = call_devices()

    def run(n: int) -> None:
        with jax.default_device(devices[n % len(devices)]):
            tasks[n]()

    with ThreadPoolExecutor(len(devices)) as pool:
        list(pool.map(run, range(len(tasks))))
