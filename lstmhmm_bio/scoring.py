"""Running the network over records: windows in, score tracks out.

Scores are rounded to fixed point (1/1024 nat, int16) as they leave the network, and everything after works on these:
what is decoded does not depend on the last bits of a matrix product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .calibration import Tables
from .features import Record
from .hmm.grammars.grammar import Grammar
from .hmm.viterbi import UNITS
from .model import Model
from .nn.hybrid import HybridParams, score_windows
from .nn.network import CodeMasks, NetworkConfig
from .programs import kept
from .runtime import call_devices
from .sequence import GeneticCode
from .windows import CALL, Window, cut, windows_of

_LIMIT = 31.0


@dataclass(frozen=True)
class Tracks:
    """Scores along one record, in 1/1024 nat, each strand in its own 5' to 3' orientation.

    Attributes:
        classes: [2, length, classes] int16 class scores, of bacteria codon positions 1, 2, 3.
        sites: [2, length, sites] int16 score of the sites that are here, of bacteria start codons; of labels,
            that a region begins or ends here.
    """

    classes: NDArray[np.int16]
    sites: NDArray[np.int16]

    @staticmethod
    def empty(lengths: Sequence[int], config: NetworkConfig) -> list[Tracks]:
        """Zeros for records of such lengths, all parts of one allocation: thousands of small ones would leave memory
        in pieces that the allocator can neither reuse for larger ones nor give back.
        """
        ends = np.cumsum(lengths, dtype=np.int64)

        def column(width: int) -> list[NDArray[np.int16]]:
            block = np.zeros((2 * sum(lengths), width), np.int16)
            return [block[2 * (b - n) : 2 * b].reshape(2, n, width) for n, b in zip(lengths, ends, strict=True)]

        return list(map(Tracks, column(config.classes), column(config.site_columns)))


@kept(4, 5)
def _score(
    params: HybridParams, codes: jax.Array, tables: Tables, code: CodeMasks, config: NetworkConfig, grammar: Grammar
) -> tuple[jax.Array, jax.Array]:
    tracks = score_windows(params, config, grammar, codes, tables, code)

    def fixed(x: jax.Array) -> jax.Array:
        return jnp.round(jnp.clip(x, -_LIMIT, _LIMIT) * UNITS).astype(jnp.int16)

    return fixed(tracks.classes), fixed(tracks.sites)


class Scorer:
    """The network of one model under one genetic code, ready on every device.

    Calls are spread over the devices; the result does not depend on how many there are.
    """

    def __init__(self, model: Model, code: GeneticCode) -> None:
        self._config, self._grammar = model.config, model.grammar
        masks = CodeMasks.of(code)
        self._devices = call_devices()
        self._on_device = {d: jax.device_put((model.params, masks), d) for d in set(self._devices)}

    def __call__(self, records: Sequence[Record], tables_of: Callable[[Record], Tables]) -> list[Tracks]:
        """Scores records.

        Args:
            records: what to score; memory grows with their total length.
            tables_of: calibration tables of a record; a pure function.
        """
        out = Tracks.empty([len(r) for r in records], self._config)
        by_size: dict[int, list[Window]] = {}
        for i, record in enumerate(records):
            for window in windows_of(i, len(record)):
                by_size.setdefault(window.size, []).append(window)
        calls = [
            windows[k : k + CALL // size]
            for size, windows in sorted(by_size.items())
            for k in range(0, len(windows), CALL // size)
        ]
        # once for records of several windows; those of short ones, all at once, would take far more memory than these
        windows = Counter(window.record for call in calls for window in call)
        kept = {i: tables_of(records[i]) for i, n in windows.items() if n > 1}

        def tables(i: int) -> Tables:
            return kept[i] if i in kept else tables_of(records[i])

        workers = len(self._devices)
        with ThreadPoolExecutor(workers) as pool:
            list(
                pool.map(
                    lambda n: self._run(self._devices[n % workers], calls[n], records, tables, out), range(len(calls))
                )
            )
        return out

    def _run(
        self,
        device: jax.Device,
        call: list[Window],
        records: Sequence[Record],
        tables_of: Callable[[int], Tables],
        out: list[Tracks],
    ) -> None:
        size = call[0].size
        rows = call + [call[0]] * (CALL // size - len(call))  # padded to the compiled shape
        codes = np.stack([cut(records[w.record].codes, w) for w in rows])
        tables = {i: tables_of(i) for i in {w.record for w in rows}}
        stacked = Tables.stack([tables[w.record] for w in rows])
        params, masks = self._on_device[device]
        inputs = jax.device_put((codes, stacked), device)
        scored = _score(params, inputs[0], inputs[1], masks, self._config, self._grammar)
        scores = [np.asarray(x) for x in scored]
        for row, window in enumerate(call):
            into, length = out[window.record], len(records[window.record])
            first, last = window.core_start - window.start, window.core_end - window.start
            for target, source in zip((into.classes, into.sites), scores, strict=True):
                target[0, window.core_start : window.core_end] = source[row, first:last]
                target[1, length - window.core_end : length - window.core_start] = source[
                    len(rows) + row, size - last : size - first
                ]
