from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_params

from lstmhmm_bio.hmm.grammars import bacteria, eukaryote, eukaryote_labels, eukaryote_marks
from lstmhmm_bio.hmm.grammars.bacteria import ANY, GRAMMAR, GRAPH, INDEX, STATES
from lstmhmm_bio.hmm.graph import NEG
from lstmhmm_bio.nn.hybrid import Tracks
from lstmhmm_bio.sequence import encode, reverse_complement
from lstmhmm_bio.training.losses import framewise, sequence_discriminative, sitewise

PARAMS = random_params(1)
LETTERS = ({"1", "S"}, {"2"}, {"3", "T"})


def random_tracks(rng: np.random.Generator, texts: list[str], time: int) -> Tracks:
    """Random scores of windows padded at their ends, both strands."""
    given = [np.pad(encode(t), (0, time - len(t)), constant_values=4) for t in texts]
    rows = np.stack([*given, *(reverse_complement(c) for c in given)])
    words = [["".join("ACGTN"[b] for b in row[t : t + 3]) for t in range(time)] for row in rows]
    stops = np.array([[w in ("TAA", "TAG", "TGA") for w in row] for row in words])
    starts = np.array([[w in ("ATG", "GTG", "TTG") for w in row] for row in words])
    ends = np.pad(stops, ((0, 0), (2, 0)))[:, :time]
    shape = (len(rows), time)
    draw = lambda *s: rng.normal(size=s).astype(np.float32)  # noqa: E731
    marks = starts * bacteria.START_HERE + ends * bacteria.STOP_ENDS_HERE
    sites = draw(*shape, 2) * np.stack([starts, ends], -1)
    return Tracks(draw(*shape, 3), sites, marks.astype(np.uint16), draw(*shape, 3))


def labels(texts: list[str], names: list[list[str]], time: int) -> np.ndarray:
    """Bit sets of windows: per strand and base the names of the allowed states, "*" for any."""
    allowed = np.zeros((2 * len(texts), time), np.uint16)
    for row, text in enumerate(texts + texts):
        bits = [ANY if n == "*" else sum(1 << INDEX[s] for s in n.split("|")) for n in names[row]]
        first = 0 if row < len(texts) else time - len(text)
        allowed[row, first : first + len(text)] = bits
    return allowed


def log_sum_of_paths(e: np.ndarray, allowed: np.ndarray) -> float:
    """Log of the summed scores of all paths of the graph through allowed states only, one by one."""
    scores = GRAPH.scores(PARAMS.transitions)
    edge = {(INDEX[x.source], INDEX[x.target]): float(scores.edges[k]) for k, x in enumerate(GRAPH.edges)}
    final = np.asarray(scores.final, float)
    bits = [
        [s for s in range(len(STATES)) if a >> s & 1 and row[s] > 0.5 * NEG] for a, row in zip(allowed, e, strict=True)
    ]
    paths = [(s, float(scores.initial[s]) + e[0, s]) for s in bits[0]]
    for t in range(1, len(e)):
        paths = [(b, v + edge[a, b] + e[t, b]) for a, v in paths for b in bits[t] if (a, b) in edge]
    totals = [v + final[s] for s, v in paths]
    return float(np.logaddexp.reduce([v for v in totals if v > 0.5 * NEG] or [-np.inf]))


TEXTS = ["ATGGCCTAAC", "CCATGACTT"]
NAMES = [
    ["S", "2", "3", "1", "2", "3", "1", "2", "T", "I"],
    ["I", "I", "S", "2", "3", "1", "2", "3", "1"],
    ["*"] * 10,
    ["I"] * 4 + ["*", "I|1", "*"] + ["I"] * 2,
]


@pytest.mark.parametrize("time", [10, 13])
def test_sequence_loss_is_minus_log_probability_of_the_labels(time: int) -> None:
    tracks = random_tracks(np.random.default_rng(2), TEXTS, time)
    allowed = labels(TEXTS, NAMES, time)
    lengths = [len(t) for t in TEXTS]
    e = np.asarray(bacteria.emissions(*tracks[:3], impossible=NEG), float)
    expected = []
    for row, length in enumerate(lengths + lengths):
        real = slice(0, length) if row < 2 else slice(time - length, time)
        free = log_sum_of_paths(e[row, real], np.full(length, ANY))
        expected.append(free - log_sum_of_paths(e[row, real], allowed[row, real]))
    assert min(expected[:2]) > 0.1
    assert expected[2] == 0
    found = sequence_discriminative(GRAMMAR, PARAMS, tracks, allowed, np.array(lengths))
    assert float(found) == pytest.approx(1000 * sum(expected) / (2 * sum(lengths)), rel=1e-4)


def test_sequence_loss_leaves_impossible_labels_out() -> None:
    """A gene without a stop codon where its label says so; the other window counts alone."""
    tracks = random_tracks(np.random.default_rng(3), TEXTS, 10)
    wrong = [[*NAMES[0][:-2], "3", "I"], *NAMES[1:]]
    found = sequence_discriminative(GRAMMAR, PARAMS, tracks, labels(TEXTS, wrong, 10), np.array([10, 9]))
    right = labels(TEXTS, NAMES, 10)
    e = np.asarray(bacteria.emissions(*tracks[:3], impossible=NEG), float)
    total = 0.0
    for row, real in ((1, slice(0, 9)), (3, slice(1, 10))):
        total += log_sum_of_paths(e[row, real], np.full(9, ANY)) - log_sum_of_paths(e[row, real], right[row, real])
    assert float(found) == pytest.approx(1000 * total / (9 + 10 + 9), rel=1e-4)
    nothing = labels(TEXTS, [["T"] * 10, ["T"] * 9, ["T"] * 10, ["T"] * 9], 10)
    assert float(sequence_discriminative(GRAMMAR, PARAMS, tracks, nothing, np.array([10, 9]))) == 0


def test_sequence_loss_is_never_negative() -> None:
    rng = np.random.default_rng(4)
    loss = jax.jit(partial(sequence_discriminative, GRAMMAR))
    texts = ["".join(rng.choice(["ATG", "TAA", "GCC", "A", "TGA"], 20))[:30] for _ in range(8)]
    for _ in range(5):
        tracks = random_tracks(rng, texts, 30)
        allowed = rng.integers(1, ANY, (16, 30)).astype(np.uint16) | np.uint16(1)
        assert float(loss(PARAMS, tracks, allowed, np.full(8, 30))) >= -1e-3
        open_labels = np.full((16, 30), ANY)
        assert float(loss(PARAMS, tracks, open_labels, np.full(8, 30))) == pytest.approx(0, abs=1e-3)


def test_sequence_loss_has_finite_gradients_where_labels_are_impossible() -> None:
    tracks = random_tracks(np.random.default_rng(5), TEXTS, 10)
    allowed = labels(TEXTS, [["T"] * 10, *NAMES[1:]], 10)

    def loss(classes: jax.Array, params) -> jax.Array:
        return sequence_discriminative(GRAMMAR, params, tracks._replace(classes=classes), allowed, np.array([10, 9]))

    gradient, weights = jax.grad(loss, argnums=(0, 1))(jnp.asarray(tracks.classes), PARAMS)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[0].any()
    assert np.asarray(gradient)[1].any()
    assert all(np.isfinite(w) for w in weights.transitions.values())


def test_framewise_by_numpy() -> None:
    rng = np.random.default_rng(6)
    tracks = random_tracks(rng, TEXTS, 12)
    names = [[*NAMES[0][:3], "S|1", "*", "1|2", *NAMES[0][6:]], *NAMES[1:]]
    allowed = labels(TEXTS, names, 12)
    total, number = 0.0, 0
    for row, t in np.ndindex(allowed.shape):
        states = {s for i, s in enumerate(STATES) if allowed[row, t] >> i & 1}
        for c, letters in enumerate(LETTERS):
            holds = {bool(set(s) & letters) for s in states}
            if len(holds) != 1:  # padding, or not certain
                continue
            p = 1 / (1 + np.exp(-float(tracks.logits[row, t, c])))
            total -= np.log(p if holds.pop() else 1 - p)
            number += 1
    assert number < 3 * allowed.size
    assert float(framewise(GRAMMAR, tracks, allowed)) == pytest.approx(total / number, rel=1e-5)
    assert float(framewise(GRAMMAR, tracks, np.full_like(allowed, ANY))) == 0


SITES = {  # of the eukaryotic grammar, in order: mark, states that stand on it
    "start": (eukaryote_marks.START_HERE, {"S"}),
    "stop": (eukaryote_marks.STOP_ENDS_HERE, {"T"}),
    "donor": (eukaryote_marks.DONOR_HERE, {"D0", "D1", "D2"}),
    "acceptor": (eukaryote_marks.ACCEPTOR_ENDS_HERE, {"A0", "A1", "A2"}),
}


def test_sitewise_by_numpy() -> None:
    """Of candidates that were scored and whose label is certain, with the odds of true ones in the batch."""
    rng = np.random.default_rng(7)
    rows, time = 4, 200
    names = eukaryote.TRAINING.graph.states
    marks = rng.integers(0, 16, (rows, time)).astype(np.uint16)
    sites = rng.normal(size=(rows, time, 4)).astype(np.float32)
    # one state, two, any, or none at padding
    allowed = np.left_shift(1, rng.integers(0, len(names), (rows, time))).astype(np.uint32)
    allowed |= np.where(rng.random((rows, time)) < 0.3, 1 << rng.integers(0, len(names), (rows, time)), 0).astype(
        np.uint32
    )
    allowed[0, :20], allowed[1, :20], marks[1, :20] = eukaryote_labels.ANY, 0, 0
    nothing = np.zeros((rows, time, 4), np.float32)
    expected = []
    for i, (mark, standing) in enumerate(SITES.values()):
        picked = []
        for row, t in np.ndindex(rows, time):
            states = {s for k, s in enumerate(names) if allowed[row, t] >> k & 1}
            certain = states <= standing or not states & standing
            if marks[row, t] & mark and certain:
                picked.append((float(sites[row, t, i]), bool(states) and states <= standing))
        right = sum(true for _, true in picked)
        odds = np.log((right + 0.5) / (len(picked) - right + 0.5))
        assert right > 0
        loss = sum(np.logaddexp(0, -(x + odds) if true else x + odds) for x, true in picked)
        expected.append(loss / (right + 1))
    found = sitewise(eukaryote.TRAINING, Tracks(nothing, sites, marks, nothing), allowed)
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-4)
    assert float(sitewise(eukaryote.TRAINING, Tracks(nothing, sites, 0 * marks, nothing), allowed)) == 0
