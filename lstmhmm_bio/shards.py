"""Shards: a file's records dealt to several processes, in runs of neighbours with about the same number of bases.

A record goes to the shard in whose share of all bases its middle lies. That depends on the file alone, so shards need
not know of each other, and their outputs one after the other are the output of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def shard_bounds(lengths: Sequence[int], count: int) -> list[int]:
    """First record of each shard, and at the end the number of records; a shard may be empty.

    Args:
        lengths: bases of each record, in the file's order.
        count: number of shards.
    """
    size = np.asarray(lengths, np.int64)
    total = max(int(size.sum()), 1)
    middle = 2 * np.cumsum(size) - size  # twice, to stay with integers
    # a record of no bases at the very end would lie behind the last shard
    shard = np.minimum(middle * count // (2 * total), count - 1)
    return np.searchsorted(shard, np.arange(count + 1)).tolist()
