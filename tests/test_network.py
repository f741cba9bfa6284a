from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from tiny import GRAMMARS, NETWORKS, random_codes, random_params, random_tables

from lstmhmm_bio.calibration import Tables
from lstmhmm_bio.hmm.emissions import scaled_likelihood_ratio
from lstmhmm_bio.nn.hybrid import Tracks, score_windows
from lstmhmm_bio.nn.network import CodeMasks, Dropout, NetworkConfig, class_logits, encode, read_out, signals
from lstmhmm_bio.nn.sites import read_in
from lstmhmm_bio.sequence import GeneticCode, decode, reverse_complement

STANDARD = CodeMasks.of(GeneticCode.from_number(11))
#: stop codons of some genetic codes, and those start codons that are ATG, GTG or TTG, from NCBI's tables
CODONS = {
    11: ({"TAA", "TAG", "TGA"}, {"ATG", "GTG", "TTG"}),
    4: ({"TAA", "TAG"}, {"ATG", "GTG", "TTG"}),
    25: ({"TAA", "TAG"}, {"ATG", "GTG", "TTG"}),
    1: ({"TAA", "TAG", "TGA"}, {"ATG", "TTG"}),
}
KINDS = list(GRAMMARS)

scored = jax.jit(score_windows, static_argnames=("config", "grammar"))


def score(
    codes: np.ndarray, tables: Tables, kind: str = "bacteria", seed: int = 0, config: NetworkConfig | None = None
) -> Tracks:
    grammar, config = GRAMMARS[kind], config or NETWORKS[kind]
    params = random_params(seed, config, grammar)
    return jax.tree.map(np.asarray, scored(params, config, grammar, codes, tables, STANDARD))


def candidates(codes: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    """Where the sites may be, [..., time] each."""
    grammar = GRAMMARS[kind]
    marks = grammar.marks(codes, STANDARD)
    return {site: (marks & bit) != 0 for site, bit in grammar.site_marks.items()}


def few_sites(rng: np.random.Generator, length: int, kind: str, *, unknown: float = 0.0) -> np.ndarray:
    """Random codes with no more candidates of each site than a window of this length may have."""
    while True:
        codes = random_codes(rng, length, unknown=unknown)
        found = candidates(np.stack([codes, reverse_complement(codes)]), kind)
        if all(max(here.sum(1)) <= read_in(length, NETWORKS[kind].candidates) for here in found.values()):
            return codes


def assert_close(found: Tracks, expected: Tracks) -> None:
    for name, a, b in zip(Tracks._fields, found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-4, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("kind", "layers", "stride"), [("bacteria", 1, 6), ("bacteria", 1, 12), ("bacteria", 2, 3), ("eukaryote", 1, 6)]
)
def test_reverse_complement_exchanges_the_strands(kind: str, layers: int, stride: int) -> None:
    rng = np.random.default_rng(layers)
    config = replace(NETWORKS[kind], stride=stride, layers=layers)
    codes = np.stack([few_sites(rng, 180, kind, unknown=0.02) for _ in range(2)])
    codes[1, 150:] = 4
    tables = random_tables(rng, 2)
    given = score(codes, tables, kind, config=config)
    exchanged = score(np.stack([reverse_complement(c) for c in codes]), tables, kind, config=config)
    assert_close(exchanged, Tracks(*(np.roll(x, 2, axis=0) for x in given)))
    assert np.abs(given.classes[0] - given.classes[2]).max() > 0.1
    for i, here in enumerate(_sites_here(given, kind)):
        assert np.ptp(given.sites[..., i][here]) > 0.1


def _sites_here(tracks: Tracks, kind: str) -> list[np.ndarray]:
    """By the marks: [rows, time] per site."""
    return [(tracks.marks & bit) != 0 for bit in GRAMMARS[kind].site_marks.values()]


@pytest.mark.parametrize(
    ("kind", "length", "window"),
    [("bacteria", 60, 246), ("bacteria", 121, 246), ("bacteria", 240, 600), ("eukaryote", 121, 246)],
)
def test_padding_changes_nothing(kind: str, length: int, window: int) -> None:
    rng = np.random.default_rng(length)
    shortest = -(-length // 6) * 6
    codes = few_sites(rng, length, kind)
    codes[length // 2] = 4  # an unknown base of the sequence is no padding, and no different
    tables = random_tables(rng, 1)

    def padded_to(size: int) -> Tracks:
        tracks = score(np.pad(codes, (0, size - length), constant_values=4)[None], tables, kind)
        return Tracks(*(np.stack([x[0, :length], x[1, size - length :]]) for x in tracks))

    alone, padded = padded_to(shortest), padded_to(window)
    assert all(here.any(axis=1).all() for here in _sites_here(alone, kind))
    assert_close(padded, alone)


def test_windows_of_a_batch_do_not_meet() -> None:
    rng = np.random.default_rng(1)
    codes, tables = np.stack([few_sites(rng, 120, "bacteria") for _ in range(3)]), random_tables(rng, 3)
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
    codes = few_sites(rng, 240, "bacteria", unknown=0.01)[None]
    tracks = score(codes, random_tables(rng, 1))
    texts = decode(codes[0]), decode(reverse_complement(codes[0]))
    starts = np.array([[s[t : t + 3] in ("ATG", "GTG", "TTG") for t in range(240)] for s in texts])
    np.testing.assert_array_equal(tracks.sites[..., 0] != 0, starts)
    assert starts.sum() > 4


def test_site_scores_appear_at_their_sites_alone() -> None:
    rng = np.random.default_rng(2)
    codes = few_sites(rng, 240, "eukaryote", unknown=0.01)
    tracks = score(codes[None], random_tables(rng, 1), "eukaryote")
    for row, text in enumerate((decode(codes), decode(reverse_complement(codes)))):
        ends = [text[max(t - 2, 0) : t + 1] for t in range(240)]
        expected = [
            [text[t : t + 3] in ("ATG", "GTG", "TTG") for t in range(240)],  # of the code given, not of the grammar
            [end in ("TAA", "TAG", "TGA") for end in ends],
            [text[t : t + 2] == "GT" or text[t : t + 3] == "GCA" for t in range(240)],
            [end[-2:] == "AG" for end in ends],
        ]
        np.testing.assert_array_equal(tracks.sites[row] != 0, np.array(expected).T)
    assert tracks.sites.any(axis=1).all()


def test_dropout_leaves_out_its_share_and_raises_the_rest() -> None:
    rng = np.random.default_rng(6)
    config, tables = NETWORKS["bacteria"], random_tables(rng, 2)
    params = random_params(0, config, GRAMMARS["bacteria"]).network
    seen = signals(np.stack([random_codes(rng, 1200) for _ in range(2)]), tables, STANDARD)
    whole = np.asarray(encode(params, config, seen, tables.summary))
    noisy = np.asarray(encode(params, config, seen, tables.summary, Dropout(jax.random.key(1), 0.25)))
    kept = noisy != 0
    assert (whole != 0).all()
    assert 0.73 < kept.mean() < 0.77
    np.testing.assert_allclose(noisy[kept], whole[kept] / 0.75, rtol=1e-6)
    other = np.asarray(encode(params, config, seen, tables.summary, Dropout(jax.random.key(2), 0.25)))
    assert (kept != (other != 0)).mean() > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_sequence_scores_what_the_grammar_says(kind: str) -> None:
    codes = np.full((1, 60), 4, np.uint8)
    tracks = score(codes, random_tables(np.random.default_rng(4), 1), kind)
    np.testing.assert_array_equal(tracks.classes, np.float32(GRAMMARS[kind].unknown_base))
    assert not tracks.sites.any()


@pytest.mark.parametrize("kind", KINDS)
def test_class_scores_are_the_scaled_ratio_of_the_logits(kind: str) -> None:
    """Temperature and bias are those of the class' group: of introns others than of codon positions."""
    rng = np.random.default_rng(5)
    groups = np.array([0, 0, 0, 1][: NETWORKS[kind].classes])
    temperature, bias = np.float32([0.2, 0.6])[: groups[-1] + 1], np.float32([-0.1, 0.3])[: groups[-1] + 1]
    frequency = np.float32([0.2, 0.1, 0.3, 0.4])[: len(groups)]
    params = random_params(5, NETWORKS[kind], GRAMMARS[kind])._replace(
        log_temperature=np.log(temperature), class_bias=bias, frequency=frequency
    )
    codes, tables = random_codes(rng, 60)[None], random_tables(rng, 1)
    tracks = scored(params, NETWORKS[kind], GRAMMARS[kind], codes, tables, STANDARD)
    posterior = 1 / (1 + np.exp(-np.asarray(tracks.logits, np.float64)))
    # Bayes: p(x | c) / p(x | not c) = p(c | x) / p(not c | x) * p(not c) / p(c)
    ratio = posterior / (1 - posterior) * (1 - frequency) / frequency
    np.testing.assert_allclose(tracks.classes, temperature[groups] * np.log(ratio) + bias[groups], atol=1e-5)


def test_scaled_likelihood_ratio_of_the_prior_itself_is_zero() -> None:
    frequency = np.float32([0.1, 0.5, 0.9])
    logits = np.log(frequency / (1 - frequency))
    np.testing.assert_allclose(scaled_likelihood_ratio(logits, frequency, np.float32(0.3)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled_likelihood_ratio(logits + 2, frequency, np.float32(0.3)), 0.6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_base_of_a_step_has_its_own_logits(kind: str) -> None:
    rng = np.random.default_rng(7)
    config = NETWORKS[kind]
    params = random_params(7, config, GRAMMARS[kind]).network
    features = rng.normal(size=(5, 2, 2 * config.hidden)).astype(np.float32)
    logits = np.asarray(class_logits(params, config, read_out(params, features).head))
    assert logits.shape == (2, 30, config.classes)
    hidden, out = params.head
    for step in range(5):
        y = np.maximum(features[step] @ hidden.w + hidden.b, 0) @ out.w + out.b
        np.testing.assert_allclose(logits[:, 6 * step : 6 * step + 6].reshape(2, -1), y, atol=1e-5)
