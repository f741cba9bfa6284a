"""Open reading frames around codons, against walking along the sequence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmhmm_bio.nn.reading_frames import FAR, Frames, open_frames, tents
from lstmhmm_bio.windows import FLANK


def walked(
    starts: np.ndarray, stops: np.ndarray, unknown: np.ndarray, at: int
) -> tuple[int, int, bool, bool, int, bool]:
    """`Frames` of one codon."""
    before = list(range(at - 3, -1, -3))
    end = next((i for i, t in enumerate(before) if stops[t] or unknown[t]), len(before))
    opened = end == len(before) or bool(unknown[before[end]])
    first = max((i + 1 for i in range(end) if starts[before[i]]), default=0)
    behind = range(at, len(starts), 3)
    length = next((i for i, t in enumerate(behind) if stops[t] or unknown[t]), len(behind))
    closed = length == len(behind) or bool(unknown[behind[length]])
    if end >= FAR:
        end, first, opened, inner = FAR, FAR, False, True
    else:
        inner = first > 0
    return end, first, opened, inner, min(length, FAR), closed and length < FAR


@pytest.mark.parametrize("rate", [0.001, 0.03, 0.3])
def test_frames_are_those_of_a_walk(rate: float) -> None:
    rng = np.random.default_rng(1)
    unknown = rng.random((2, 2400)) < 0.003
    starts = (rng.random(unknown.shape) < 0.05) & ~unknown
    stops = (rng.random(unknown.shape) < rate) & ~unknown & ~starts
    found = jax.jit(open_frames)(*map(jnp.asarray, (starts, stops, unknown)))
    for row in range(2):
        expected = [walked(starts[row], stops[row], unknown[row], at) for at in range(unknown.shape[1])]
        for name, column, values in zip(Frames._fields, found, zip(*expected, strict=True), strict=True):
            np.testing.assert_array_equal(column[row], values, err_msg=name)


def test_what_is_said_of_a_base_needs_no_more_than_the_context_of_a_window() -> None:
    """With more on both sides, and with anything in place of what lies beyond the context, all stays the same."""
    rng = np.random.default_rng(2)
    size = 3 * FLANK
    starts, stops = rng.random((2, 1, size)) < np.array([0.05, 0.004])[:, None, None]
    stops &= ~starts
    none = np.zeros((1, size), bool)
    whole = open_frames(*map(jnp.asarray, (starts, stops, none)))
    wider = [np.concatenate([x, x, x], axis=1) for x in (starts[:, ::-1], stops[:, ::-1], none)]
    for target, source in zip(wider, (starts, stops, none), strict=True):
        target[:, size : 2 * size] = source
    again = open_frames(*map(jnp.asarray, wider))
    for a, b in zip(whole, again, strict=True):
        np.testing.assert_array_equal(a[:, FLANK:-FLANK], b[:, size + FLANK : 2 * size - FLANK])


def test_tents_are_linear_between_knots() -> None:
    knots = (0, 3, 20, 100)
    lengths = np.array([0, 3, 20, 100, 500, 1, 10, 60])
    found = np.asarray(tents(jnp.asarray(lengths), knots))
    expected = [np.interp(np.log1p(lengths), np.log1p(knots), unit) for unit in np.eye(4)]
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-6)
