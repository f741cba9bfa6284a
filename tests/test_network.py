from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import NETWORK, random_codes, random_params, random_tables

from lstmhmm_bio.calibration import PWM_FIRST, PWM_WIDTH, UPSTREAM_FIRST, UPSTREAM_LAST, Tables
from lstmhmm_bio.hmm.emissions import scaled_likelihood_ratio
from lstmhmm_bio.nn.hybrid import CANDIDATES_PER_64, Tracks, score_windows
from lstmhmm_bio.nn.network import (
    START_BINS,
    START_FIRST,
    START_LAST,
    CodeMasks,
    NetworkConfig,
    NetworkParams,
    codon_logits,
    encode,
    signals,
    start_inputs,
    start_scores,
)
from lstmhmm_bio.sequence import GeneticCode, decode, reverse_complement
from lstmhmm_bio.sequence import encode as codes_of

STANDARD = CodeMasks.of(GeneticCode.from_number(11))
#: stop codons of some genetic codes, and those start codons that are ATG, GTG or TTG, from NCBI's tables
CODONS = {
    11: ({"TAA", "TAG", "TGA"}, {"ATG", "GTG", "TTG"}),
    4: ({"TAA", "TAG"}, {"ATG", "GTG", "TTG"}),
    25: ({"TAA", "TAG"}, {"ATG", "GTG", "TTG"}),
    1: ({"TAA", "TAG", "TGA"}, {"ATG", "TTG"}),
}

scored = jax.jit(score_windows, static_argnames="config")


def score(codes: np.ndarray, tables: Tables, config: NetworkConfig = NETWORK, seed: int = 0) -> Tracks:
    return jax.tree.map(np.asarray, scored(random_params(seed, config), config, codes, tables, STANDARD))


def few_starts(rng: np.random.Generator, length: int, *, unknown: float = 0.0) -> np.ndarray:
    """Random codes whose start codons are fewer than the candidates that a window of this length may have."""
    while True:
        codes = random_codes(rng, length, unknown=unknown)
        limit = max(8, length * CANDIDATES_PER_64 // 64)
        text = (decode(codes), decode(reverse_complement(codes)))
        if all(sum(s.count(codon) for codon in ("ATG", "GTG", "TTG")) <= limit for s in text):
            return codes


def assert_close(found: Tracks, expected: Tracks) -> None:
    for name, a, b in zip(Tracks._fields, found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-4, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(("layers", "stride"), [(1, 6), (2, 3)])
def test_reverse_complement_exchanges_the_strands(layers: int, stride: int) -> None:
    rng = np.random.default_rng(layers)
    config = NetworkConfig(stride=stride, stem=8, hidden=4, layers=layers, head=6, start_head=6)
    codes = np.stack([few_starts(rng, 180, unknown=0.02) for _ in range(2)])
    codes[1, 150:] = 4
    tables = random_tables(rng, 2)
    given = score(codes, tables, config)
    exchanged = score(np.stack([reverse_complement(c) for c in codes]), tables, config)
    assert_close(exchanged, Tracks(*(np.roll(x, 2, axis=0) for x in given)))
    assert np.abs(given.coding[0] - given.coding[2]).max() > 0.1
    assert np.ptp(given.start[given.starts_here]) > 0.1


@pytest.mark.parametrize(("length", "window"), [(60, 246), (121, 246), (240, 600)])
def test_padding_changes_nothing(length: int, window: int) -> None:
    rng = np.random.default_rng(length)
    shortest = -(-length // 6) * 6
    codes = few_starts(rng, length)
    codes[length // 2] = 4  # an unknown base of the sequence is no padding, and no different
    tables = random_tables(rng, 1)

    def padded_to(size: int) -> Tracks:
        tracks = score(np.pad(codes, (0, size - length), constant_values=4)[None], tables)
        return Tracks(*(np.stack([x[0, :length], x[1, size - length :]]) for x in tracks))

    alone, padded = padded_to(shortest), padded_to(window)
    assert alone.starts_here.any(axis=1).all()
    assert_close(padded, alone)


def test_windows_of_a_batch_do_not_meet() -> None:
    rng = np.random.default_rng(1)
    codes, tables = np.stack([few_starts(rng, 120) for _ in range(3)]), random_tables(rng, 3)
    together = score(codes, tables)
    for row in range(3):
        alone = score(codes[row : row + 1], Tables(*(x[row : row + 1] for x in tables)))
        assert_close(alone, Tracks(*(x[[row, 3 + row]] for x in together)))


@pytest.mark.parametrize("number", CODONS)
def test_codon_signals_by_strings(number: int) -> None:
    rng = np.random.default_rng(number)
    codes, tables = random_codes(rng, 150, unknown=0.05)[None], random_tables(rng, 1)
    stops, starts = CODONS[number]
    s = signals(codes, tables, CodeMasks.of(GeneticCode.from_number(number)))
    rows = np.stack([codes[0], reverse_complement(codes[0])])
    np.testing.assert_array_equal(s.codes, rows)
    assert (rows == 4).any()
    for row, text in enumerate(map(decode, rows)):
        codons = [text[t : t + 3] for t in range(len(text))]
        np.testing.assert_array_equal(s.starts_here[row], [c in starts for c in codons])
        np.testing.assert_array_equal(s.stop_begins[row], [c in stops for c in codons])
        np.testing.assert_array_equal(s.stop_ends_here[row], [t > 1 and codons[t - 2] in stops for t in range(150)])
        for t in range(len(text)):
            hexamer = text[t : t + 6]
            known = len(hexamer) == 6 and "N" not in hexamer
            index = int(hexamer.translate(str.maketrans("ACGT", "0123")), 4) if known else 4096
            assert s.hexamers[row, t] == tables.hexamers[0, index]
    assert np.asarray(s.stop_begins).any()


def test_start_scores_appear_at_start_codons_alone() -> None:
    rng = np.random.default_rng(2)
    codes = few_starts(rng, 240, unknown=0.01)[None]
    tracks = score(codes, random_tables(rng, 1))
    np.testing.assert_array_equal(tracks.start != 0, tracks.starts_here)
    assert tracks.starts_here.sum() > 4


def test_surplus_start_codons_score_nothing() -> None:
    codes = np.tile(codes_of("ATG"), 64)[None]
    tracks = score(codes, random_tables(np.random.default_rng(3), 1))
    limit = 192 * CANDIDATES_PER_64 // 64
    np.testing.assert_array_equal(np.flatnonzero(tracks.start[0]), np.arange(0, 3 * limit, 3))


def test_unknown_sequence_scores_nothing() -> None:
    codes = np.full((1, 60), 4, np.uint8)
    tracks = score(codes, random_tables(np.random.default_rng(4), 1))
    assert not tracks.coding.any()
    assert not tracks.start.any()


def test_coding_is_the_scaled_ratio_of_the_logits() -> None:
    rng = np.random.default_rng(5)
    params = random_params(5)._replace(
        log_temperature=np.log(np.float32(0.2)), coding_bias=np.float32(-0.1), frequency=np.float32([0.2, 0.1, 0.3])
    )
    tracks = scored(params, NETWORK, random_codes(rng, 60)[None], random_tables(rng, 1), STANDARD)
    posterior = 1 / (1 + np.exp(-np.asarray(tracks.logits, np.float64)))
    frequency = np.array([0.2, 0.1, 0.3])
    # Bayes: p(x | c) / p(x | not c) = p(c | x) / p(not c | x) * p(not c) / p(c)
    ratio = posterior / (1 - posterior) * (1 - frequency) / frequency
    np.testing.assert_allclose(tracks.coding, 0.2 * np.log(ratio) - 0.1, atol=1e-5)


def test_scaled_likelihood_ratio_of_the_prior_itself_is_zero() -> None:
    frequency = np.float32([0.1, 0.5, 0.9])
    logits = np.log(frequency / (1 - frequency))
    np.testing.assert_allclose(scaled_likelihood_ratio(logits, frequency, np.float32(0.3)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled_likelihood_ratio(logits + 2, frequency, np.float32(0.3)), 0.6, atol=1e-6)


def test_start_model_sees_what_it_should() -> None:
    """Its input, rebuilt one candidate and one number at a time, through a first layer that lets one input pass."""
    rng = np.random.default_rng(6)
    codes, tables = random_codes(rng, 240, unknown=0.02)[None], random_tables(rng, 1)
    config, params = NETWORK, random_params(6).network
    s = signals(codes, tables, STANDARD)
    features = encode(params, config, s, tables.summary)
    coding = rng.normal(size=(2, 240, 3)).astype(np.float32) * (np.asarray(s.codes) < 4)[..., None]
    candidates = np.array([[3, 50, 117, 239], [0, 31, 60, 200]])
    width = start_inputs(config)
    # relu(x) - relu(-x) = x: the model as a probe of single inputs
    probe = jax.jit(
        jax.vmap(
            lambda unit: start_scores(
                _probe(params, unit), config, s, tables, features, jnp.asarray(coding), candidates
            ),
            out_axes=-1,
        )
    )
    found = np.asarray(probe(np.eye(width, dtype=np.float32)))
    for row in range(2):
        for k, at in enumerate(candidates[row]):
            expected = _start_input(np.asarray(s.codes[row]), tables, coding[row], np.asarray(features)[:, row], at)
            np.testing.assert_allclose(found[row, k], expected, atol=2e-4)


def _probe(params: NetworkParams, unit: jax.Array) -> NetworkParams:
    first, second, last = (jax.tree.map(jnp.zeros_like, layer) for layer in params.start)
    first = first._replace(w=first.w.at[:, 0].set(unit).at[:, 1].set(-unit))
    second = second._replace(w=second.w.at[0, 0].set(1).at[1, 1].set(1))
    last = last._replace(w=last.w.at[0, 0].set(1).at[1, 0].set(-1))
    return params._replace(start=(first, second, last))


def _start_input(codes: np.ndarray, tables: Tables, coding: np.ndarray, features: np.ndarray, at: int) -> np.ndarray:
    length = len(codes)
    base = lambda t: int(codes[t]) if 0 <= t < length else 4  # noqa: E731
    out: list[float] = []
    for t in range(at + START_FIRST, at + START_LAST + 1):
        out += [float(base(t) == b) for b in range(4)]
    out += [tables.context[0, j, base(at + PWM_FIRST + j)] for j in range(PWM_WIDTH)]
    for t in range(at + UPSTREAM_FIRST, at + UPSTREAM_LAST + 1):
        pentamer = [base(t + j) for j in range(5)]
        index = int("".join(map(str, pentamer)), 4) if max(pentamer) < 4 and t >= 0 else 1024
        out.append(tables.upstream[0, index])
    for first, last in pairwise(START_BINS):
        inside = [t for t in range(at + first, at + last) if 0 <= t < length and codes[t] < 4]
        for frame in range(3):  # the candidate's own, then the two others
            values = [coding[t, (t - at - frame) % 3] for t in inside]
            out.append(float(np.mean(values)) if values else 0.0)
    return np.array([*out, *tables.summary[0], *features[at // NETWORK.stride]])


def test_every_base_of_a_step_has_its_own_logits() -> None:
    rng = np.random.default_rng(7)
    params = random_params(7).network
    features = rng.normal(size=(5, 2, 2 * NETWORK.hidden)).astype(np.float32)
    logits = np.asarray(codon_logits(params, NETWORK, features))
    assert logits.shape == (2, 30, 3)
    hidden, out = params.head
    for step in range(5):
        y = np.maximum(features[step] @ hidden.w + hidden.b, 0) @ out.w + out.b
        np.testing.assert_allclose(logits[:, 6 * step : 6 * step + 6].reshape(2, -1), y, atol=1e-5)
