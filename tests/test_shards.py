from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmhmm_bio.shards import shard_bounds


@given(st.lists(st.integers(0, 10**9), max_size=60), st.integers(1, 12))
def test_every_record_is_in_one_shard_and_none_is_too_large(lengths, count):
    bounds = shard_bounds(lengths, count)
    assert len(bounds) == count + 1
    assert (bounds[0], bounds[-1]) == (0, len(lengths))
    assert bounds == sorted(bounds)
    fair = sum(lengths) / count
    assert all(sum(lengths[a:b]) <= fair + max(lengths, default=0) for a, b in pairwise(bounds))


@pytest.mark.parametrize(
    ("lengths", "count", "expected"),
    [
        ([10, 10, 10, 10], 2, [0, 2, 4]),
        ([10] * 7, 3, [0, 2, 5, 7]),
        ([100, 1, 1], 2, [0, 1, 3]),
        ([1, 1, 100], 4, [0, 2, 2, 3, 3]),
        ([0, 0], 2, [0, 2, 2]),
        ([5, 0], 1, [0, 2]),
        ([5, 0], 2, [0, 0, 2]),
        ([], 3, [0, 0, 0, 0]),
    ],
)
def test_examples(lengths, count, expected):
    assert shard_bounds(lengths, count) == expected
