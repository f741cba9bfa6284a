"""The network of residues and what alignment makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import run
from profile_samples import random_profile
from test_align import emit, records_of, write_hmm

from lstmhmm_bio.nn.residues import RESIDUES, UNKNOWN, init_residues, log_replacements
from lstmhmm_bio.profiles.align import align_paths
from lstmhmm_bio.profiles.context import SHARE, load_context
from lstmhmm_bio.profiles.profile import AMINO, DNA

FAMILY = "MKVLAAGIVGLCAKAYLERGHEVTVLDRNPEKWGGSAVAKHLLRKGH"


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def states(params: tuple, x: np.ndarray) -> np.ndarray:
    """Hidden states of an LSTM, one step after the other: [time, hidden]."""
    wx, wh, b = (np.asarray(p, float) for p in params)
    h = c = np.zeros(len(wh))
    result = []
    for step in x:
        i, f, o, candidate = np.split(step @ wx + h @ wh + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        result.append(h)
    return np.array(result)


@pytest.mark.parametrize("hidden", [False, True])
def test_network_is_its_formula(hidden: bool) -> None:
    """Two sequences of different lengths, against numpy."""
    params = init_residues(np.random.default_rng(1), 5, 7)
    rng = np.random.default_rng(1)
    params = params._replace(own=rng.normal(size=(21, 7)), substitution=rng.normal(size=(21, RESIDUES)))
    lengths = np.array([9, 4])
    codes = np.full((2, 12), UNKNOWN)
    for row, length in zip(codes, lengths, strict=True):
        row[:length] = rng.integers(0, UNKNOWN + 1, length)
    found = np.asarray(log_replacements(params, codes, lengths, hidden=hidden))
    for row, length, result in zip(codes, lengths, found, strict=True):
        x = np.eye(21)[row[:length]]
        ahead, back = states(params.ahead, x), states(params.back, x[::-1])[::-1]
        edge = np.zeros((1, 5))
        around = np.hstack([np.vstack([edge, ahead[:-1]]), np.vstack([back[1:], edge])])
        units = around @ np.asarray(params.context.w) + np.asarray(params.context.b)
        scores = np.asarray(params.out.b)
        if not hidden:
            units, scores = units + params.own[row[:length]], scores + params.substitution[row[:length]]
        scores = np.tanh(units) @ np.asarray(params.out.w) + scores
        expected = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(result[:length], expected, atol=2e-5)


def test_mixtures_are_frequencies_and_do_not_depend_on_the_batch() -> None:
    context = load_context()
    codes = [AMINO.encode(text) for text in (FAMILY, "MX*B", "", FAMILY * 4)]
    mixtures = context.mixtures(codes)
    for sequence, mixture in zip(codes, mixtures, strict=True):
        assert mixture.shape == (len(sequence), RESIDUES)
        np.testing.assert_allclose(mixture.sum(axis=1), 1, atol=1e-5)
        itself = sequence < RESIDUES
        assert (mixture[itself, sequence[itself]] >= 1 - SHARE).all()
    np.testing.assert_allclose(mixtures[0], context.mixtures([codes[0]])[0], atol=1e-6)


def test_bundled_network_knows_proteins() -> None:
    """Hydrophobic residues replace each other more than BLOSUM-like chance would have lysine do."""
    context = load_context()
    expected = context.mixtures([AMINO.encode(FAMILY)])[0]
    at = {letter: code for code, letter in enumerate(AMINO.letters)}
    valine = FAMILY.index("V")
    assert expected[valine, at["I"]] > 4 * expected[valine, at["K"]]
    glutamate = FAMILY.index("E")
    assert expected[glutamate, at["D"]] > 4 * expected[glutamate, at["C"]]


def test_residues_that_stand_for_themselves_are_aligned_as_they_are() -> None:
    profile = random_profile(AMINO, 25, 3)
    rng = np.random.default_rng(5)
    sequences = [AMINO.encode(emit(profile, rng)) for _ in range(5)]
    plain = align_paths(profile, sequences)
    same = align_paths(profile, sequences, mixtures=[np.eye(RESIDUES)[codes] for codes in sequences])
    for one, two in zip(plain, same, strict=True):
        np.testing.assert_array_equal(one.node, two.node)
        np.testing.assert_array_equal(one.is_match, two.is_match)
        np.testing.assert_allclose(one.posterior, two.posterior, atol=1e-5)


def test_command(tmp_path: Path) -> None:
    """--context changes the probabilities of places, and is refused where there are no proteins."""
    profile = random_profile(AMINO, 25, 3)
    rng = np.random.default_rng(5)
    records = records_of(AMINO, [emit(profile, rng) for _ in range(4)])
    fasta = tmp_path / "x.fa"
    fasta.write_text("".join(f">{r.id}\n{AMINO.decode(r.codes)}\n" for r in records))
    hmm = write_hmm(profile, tmp_path / "x.hmm")
    plain, context = (run("align", fasta, "--profile", hmm, *extra) for extra in ([], ["--context"]))
    assert plain.code == context.code == 0
    assert plain.out != context.out
    dna = write_hmm(random_profile(DNA, 25, 3), tmp_path / "dna.hmm")
    for arguments, message in ((["--learn"], "belongs to --profile"), (["--profile", dna], "reads proteins")):
        refused = run("align", fasta, *arguments, "--context")
        assert refused.code == 2
        assert message in refused.err
