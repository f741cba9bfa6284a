from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmhmm_bio.nn.lstm import LSTMParams, bilstm, init_lstm, lstm, lstm_step, opposite, strand_lstm

INPUTS, HIDDEN, BATCH = 3, 4, 2


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def step_reference(params: LSTMParams, h: np.ndarray, c: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The textbook formulas, gate by gate, in float64."""
    gate = {}
    for n, name in enumerate("ifoC"):
        of = slice(n * HIDDEN, (n + 1) * HIDDEN)
        gate[name] = x @ params.wx[:, of] + h @ params.wh[:, of] + params.b[of]
    c = sigmoid(gate["f"]) * c + sigmoid(gate["i"]) * np.tanh(gate["C"])
    return sigmoid(gate["o"]) * np.tanh(c), c


def lstm_reference(params: LSTMParams, x: np.ndarray, mask: np.ndarray, *, reverse: bool = False) -> np.ndarray:
    h, c = np.zeros((2, x.shape[1], HIDDEN))
    out = np.zeros((*x.shape[:2], HIDDEN))
    for t in range(len(x))[:: -1 if reverse else 1]:
        h, c = (m * mask[t][:, None] for m in step_reference(params, h, c, x[t]))
        out[t] = h
    return out


def random_params(seed: int, inputs: int = INPUTS, hidden: int = HIDDEN) -> LSTMParams:
    rng = np.random.default_rng(seed)
    shapes = ((inputs, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))
    return LSTMParams(*(rng.normal(size=shape) for shape in shapes))


def random_input(seed: int, time: int = 5, batch: int = BATCH) -> np.ndarray:
    return np.random.default_rng([seed, 1]).normal(size=(time, batch, INPUTS))


def as_float32(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree)


def run(params: LSTMParams, x: np.ndarray, mask: np.ndarray | None = None, *, reverse: bool = False) -> np.ndarray:
    mask = np.ones(x.shape[:2]) if mask is None else mask
    return np.asarray(lstm(*as_float32((params, x, mask)), reverse=reverse))


def test_step_follows_the_textbook() -> None:
    rng = np.random.default_rng(0)
    params, x = random_params(0), rng.normal(size=(BATCH, INPUTS))
    h, c = rng.normal(size=(2, BATCH, HIDDEN))
    for ours, reference in zip(lstm_step(*as_float32((params, h, c, x))), step_reference(params, h, c, x), strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_sequence_follows_the_textbook(reverse: bool) -> None:
    params, x = random_params(1), random_input(1, 9)
    mask = (np.random.default_rng(1).random((9, BATCH)) < 0.7).astype(float)
    np.testing.assert_allclose(
        run(params, x, mask, reverse=reverse), lstm_reference(params, x, mask, reverse=reverse), atol=2e-6
    )


def test_reverse_reads_the_reversed_sequence() -> None:
    params, x = random_params(2), random_input(2)
    np.testing.assert_allclose(run(params, x, reverse=True), run(params, x[::-1])[::-1], atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_of_finite_differences(reverse: bool) -> None:
    params, x = random_params(3), random_input(3)
    mask = np.array([[1, 1], [1, 1], [1, 0], [1, 1], [1, 1]], float)
    direction = np.random.default_rng(3).normal(size=(5, BATCH, HIDDEN))

    def ours(params: LSTMParams, x: jax.Array) -> jax.Array:
        return jnp.sum(lstm(params, x, jnp.asarray(mask, jnp.float32), reverse=reverse) * direction.astype(np.float32))

    gradient = jax.grad(ours, argnums=(0, 1))(*as_float32((params, x)))
    epsilon = 1e-6
    for array, found in zip((*params, x), (*gradient[0], gradient[1]), strict=True):
        expected = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            value, ends = array[place], []
            for shift in (epsilon, -epsilon):
                array[place] = value + shift
                ends.append((lstm_reference(params, x, mask, reverse=reverse) * direction).sum())
            array[place] = value
            expected[place] = (ends[0] - ends[1]) / (2 * epsilon)
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("before", "after"), [(3, 0), (0, 4), (2, 2)])
def test_padding_leaves_real_steps_alone(before: int, after: int, reverse: bool) -> None:
    params, x = random_params(4), random_input(4)
    padding = ((before, after), (0, 0))
    padded = np.pad(x, (*padding, (0, 0)), constant_values=9.0)
    mask = np.pad(np.ones(x.shape[:2]), padding)
    out = run(params, padded, mask, reverse=reverse)
    real = slice(before, before + len(x))
    np.testing.assert_allclose(out[real], run(params, x, reverse=reverse), atol=1e-6)
    assert not np.delete(out, np.arange(before, before + len(x)), axis=0).any()


def test_rows_of_a_batch_do_not_meet() -> None:
    params, x = random_params(5), random_input(5, batch=3)
    together = run(params, x)
    for row in range(3):
        np.testing.assert_allclose(together[:, row : row + 1], run(params, x[:, row : row + 1]), atol=1e-6)


def test_bilstm_is_both_directions_side_by_side() -> None:
    first, second, x = random_params(6), random_params(7), random_input(6)
    out = bilstm(*as_float32((first, second, x, np.ones(x.shape[:2]))))
    np.testing.assert_array_equal(out[..., :HIDDEN], run(first, x))
    np.testing.assert_array_equal(out[..., HIDDEN:], run(second, x, reverse=True))


def test_opposite_is_the_other_strand_in_this_ones_orientation() -> None:
    x = np.arange(12).reshape(3, 4, 1)  # two windows, two strands
    flipped = np.asarray(opposite(jnp.asarray(x)))
    for t in range(3):
        for row in range(4):
            assert flipped[t, row] == x[2 - t, (row + 2) % 4]
    np.testing.assert_array_equal(opposite(jnp.asarray(flipped)), x)


def strand_pair(seed: int, time: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Input and mask of two windows and their other strands."""
    rng = np.random.default_rng(seed)
    mask = np.ones((time, 4))
    mask[4:, 1], mask[:2, 3] = 0, 0  # the second window is two steps shorter
    return rng.normal(size=(time, 4, INPUTS)), mask


def test_strand_layer_holds_own_states_and_the_other_strands() -> None:
    params, (x, mask) = random_params(8), strand_pair(8)
    out = np.asarray(strand_lstm(*as_float32((params, x, mask))))
    states = run(params, x, mask)
    np.testing.assert_array_equal(out[..., :HIDDEN], states)
    np.testing.assert_array_equal(out[:, :2, HIDDEN:], states[::-1, 2:])
    np.testing.assert_array_equal(out[:, 2:, HIDDEN:], states[::-1, :2])


def test_stacked_strand_layers_are_equivariant() -> None:
    first, second = random_params(9), random_params(10, inputs=2 * HIDDEN)
    x, mask = strand_pair(9)

    def two_layers(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        a, b, x, mask = as_float32((first, second, x, mask))
        return np.asarray(strand_lstm(b, strand_lstm(a, x, mask), mask))

    out = two_layers(x, mask)
    assert out.shape == (6, 4, 2 * HIDDEN)
    exchanged = two_layers(np.roll(x, 2, axis=1), np.roll(mask, 2, axis=1))
    np.testing.assert_allclose(exchanged, np.roll(out, 2, axis=1), atol=1e-6)
    assert np.abs(out - np.roll(out, 2, axis=1)).max() > 0.01


def test_initial_weights() -> None:
    params = init_lstm(np.random.default_rng(0), 5, 3)
    assert [a.shape for a in params] == [(5, 12), (3, 12), (12,)]
    np.testing.assert_array_equal(params.b, [0] * 3 + [1] * 3 + [0] * 6)  # the forget gates remember at first
    for block in np.split(np.asarray(params.wh), 4, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(3), atol=1e-5)
    assert np.abs(params.wx).max() <= (6 / 8) ** 0.5
