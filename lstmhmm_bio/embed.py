"""Features of sequences: what the LSTM of a model knows of every base, for models of others.

    embedder = Embedder(load_model())
    for chunk in embedder.embed(read_records("genome.fa"), calibration, per="window", window=1000):
        chunk.features  # [windows, 2 * hidden]

A base has the hidden states of the LSTM step that it lies in: first those of the reading along the forward strand, then
those of the reading along the reverse strand, 5' to 3' each, so that both sides of the base are in it. Windows and
records have the mean over their known bases. Nothing depends on how many devices there are or what else is in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .calibration import Tables
from .features import Record
from .metagenome import AnyCalibration, tables_by_record
from .model import Model
from .nn.network import CodeMasks, NetworkConfig, NetworkParams, encode, signals
from .programs import kept
from .runtime import call_devices
from .sequence import GeneticCode
from .windows import CALL, Window, cut, windows_of

Per = Literal["base", "window", "record"]


class Chunk(NamedTuple):
    """Features of consecutive stretches of one record.

    Attributes:
        seqid: the record.
        starts, ends: [stretches] 0-based half-open.
        features: [stretches, 2 * hidden], float16 per base, else float32; 0 where no base is known.
    """

    seqid: str
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    features: NDArray[np.floating]


@kept(4)
def _encode(
    params: NetworkParams, codes: jax.Array, tables: Tables, code: CodeMasks, config: NetworkConfig
) -> jax.Array:
    """[n, time] codes to [n, time / stride, 2 * hidden]."""
    features = encode(params, config, signals(codes, tables, code), jnp.asarray(tables.summary))
    return features[:, : codes.shape[0]].swapaxes(0, 1)  # the other rows hold the same, strands exchanged


@dataclass(frozen=True)
class _Job:
    record: Record
    window: Window
    tables: Tables


class Embedder:
    """Gives the features of one model under one genetic code.

    Args:
        model: from `load_model`.
        genetic_code: NCBI table number.
    """

    def __init__(self, model: Model, *, genetic_code: int = 11) -> None:
        self.model = model
        self.code = GeneticCode.from_number(genetic_code, model.grammar.start_codons)
        self._devices = call_devices()
        masks = CodeMasks.of(self.code)
        self._on_device = {d: jax.device_put((model.params.network, masks), d) for d in set(self._devices)}

    @property
    def width(self) -> int:
        """Number of features."""
        return 2 * self.model.config.hidden

    def embed(
        self, records: Iterable[Record], calibration: AnyCalibration, *, per: Per = "window", window: int = 1000
    ) -> Iterator[Chunk]:
        """Features of all records, in input order; a few windows of the network in memory at a time.

        Args:
            records: sequences; empty ones have no features.
            calibration: of the genome or metagenome that they belong to; None: each record by its own GC content.
            per: what a row of the features stands for.
            window: bases of a window, counted from the record's first base; the last one may be shorter.
        """
        encoded = self._encoded(records, calibration)
        if per == "base":
            for job, steps in encoded:
                at = self._steps_of(job)
                starts = np.arange(job.window.core_start, job.window.core_end)
                features = np.where((job.record.codes[starts] < 4)[:, None], steps[at], 0).astype(np.float16)
                yield Chunk(job.record.id, starts, starts + 1, features)
            return
        yield from self._means(encoded, window if per == "window" else None)

    def _means(self, encoded: Iterator[tuple[_Job, NDArray[np.float32]]], window: int | None) -> Iterator[Chunk]:
        """Means over windows, or over whole records."""
        from scipy.sparse import csr_array  # type: ignore[import-untyped]

        open_window = -1  # the last window so far may go on in the next piece of the record
        total: NDArray[np.floating] = np.zeros((0, self.width))
        known: NDArray[np.floating] = np.zeros(0)
        for job, steps in encoded:
            record, (first, last) = job.record, (job.window.core_start, job.window.core_end)
            size = window or len(record)
            here = np.arange(first, last)
            row = here // size - first // size
            sure = record.codes[first:last] < 4
            rows = int(row[-1]) + 1
            # known bases of each step in each window: few of all pairs have any
            share = csr_array((sure.astype(np.float64), (row, self._steps_of(job))), shape=(rows, len(steps)))
            sums, counts = share @ steps, share.sum(axis=1)
            if open_window == first // size and len(total) and first:
                sums[0] += total[-1]
                counts[0] += known[-1]
            total, known, open_window = sums, counts, (last - 1) // size
            done = rows if last % size == 0 or last == len(record) else rows - 1
            if done:
                starts = (first // size + np.arange(done)) * size
                means = (sums[:done] / np.maximum(counts[:done], 1)[:, None]).astype(np.float32)
                yield Chunk(record.id, starts, np.minimum(starts + size, len(record)), means)

    def _steps_of(self, job: _Job) -> NDArray[np.int64]:
        """LSTM step of each base of a window's core."""
        return (np.arange(job.window.core_start, job.window.core_end) - job.window.start) // self.model.config.stride

    def _encoded(
        self, records: Iterable[Record], calibration: AnyCalibration
    ) -> Iterator[tuple[_Job, NDArray[np.float32]]]:
        """Windows of the records in order, with the features [steps, 2 * hidden] of each."""
        tables_of = tables_by_record(calibration, self.model.prior, self.code.number)
        waiting: list[_Job] = []
        bases = 0
        with ThreadPoolExecutor(len(self._devices)) as pool:
            for record in records:
                tables = tables_of(record)
                for window in windows_of(0, len(record)):
                    waiting.append(_Job(record, window, tables))
                    bases += window.size
                    if bases >= CALL * len(self._devices):
                        yield from zip(waiting, self._run(waiting, pool), strict=True)
                        waiting, bases = [], 0
            yield from zip(waiting, self._run(waiting, pool), strict=True)

    def _run(self, jobs: list[_Job], pool: ThreadPoolExecutor) -> list[NDArray[np.float32]]:
        """Features of some windows; windows of one size share calls."""
        by_size: dict[int, list[int]] = {}
        for i, job in enumerate(jobs):
            by_size.setdefault(job.window.size, []).append(i)
        calls = [
            members[k : k + CALL // size]
            for size, members in by_size.items()
            for k in range(0, len(members), CALL // size)
        ]
        out: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(jobs)

        def one(number: int) -> None:
            members = calls[number]
            size = jobs[members[0]].window.size
            rows = members + members[:1] * (CALL // size - len(members))  # padded to the compiled shape
            codes = np.stack([cut(jobs[i].record.codes, jobs[i].window) for i in rows])
            stacked = Tables.stack([jobs[i].tables for i in rows])
            device = self._devices[number % len(self._devices)]
            params, masks = self._on_device[device]
            inputs = jax.device_put((codes, stacked), device)
            features = np.asarray(_encode(params, *inputs, masks, self.model.config))
            for row, i in enumerate(members):
                out[i] = features[row]

        list(pool.map(one, range(len(calls))))
        return out
