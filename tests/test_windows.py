from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmhmm_bio.windows import CORE, FLANK, LONG, SHORT, cut, windows_of

lengths = st.one_of(
    st.integers(0, 4 * LONG),
    st.sampled_from([0, 1, *SHORT, *(s + 1 for s in SHORT), LONG, CORE, CORE + 1, 2 * CORE, 2 * CORE + 1]),
)


@given(lengths)
def test_windows_answer_for_every_base_once(length: int) -> None:
    position = 0
    for window in windows_of(3, length):
        assert window.record == 3
        assert window.size in (*SHORT, LONG)
        assert window.core_start == position
        assert window.start <= window.core_start < window.core_end <= window.start + window.size
        position = window.core_end
    assert position == length


@given(lengths)
def test_cores_see_their_surroundings(length: int) -> None:
    for window in windows_of(0, length):
        assert window.start <= max(window.core_start - FLANK, 0)
        assert window.start + window.size >= min(window.core_end + FLANK, length)


@given(st.integers(max(SHORT) + 1, 4 * LONG), st.integers(1, 4 * LONG))
def test_the_grid_is_that_of_position_zero(length: int, more: int) -> None:
    """A longer record has the same windows, its last one apart."""
    ours = windows_of(0, length)
    assert ours[:-1] == windows_of(0, length + more)[: len(ours) - 1]


@pytest.mark.parametrize("length", [1, 700, max(SHORT), max(SHORT) + 1, CORE + 5, 2 * LONG])
def test_cut_pads_with_unknown_bases(length: int) -> None:
    codes = np.random.default_rng(length).integers(0, 4, length).astype(np.uint8)
    around = np.pad(codes, LONG, constant_values=4)
    for window in windows_of(0, length):
        piece = cut(codes, window)
        assert (piece.shape, piece.dtype) == ((window.size,), np.uint8)
        np.testing.assert_array_equal(piece, around[LONG + window.start : LONG + window.start + window.size])


def test_sizes_fit_each_other() -> None:
    for stride in (3, 6, 12):
        assert not any(size % stride for size in (*SHORT, LONG, CORE, FLANK))  # steps fall alike in all windows
