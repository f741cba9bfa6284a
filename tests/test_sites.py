"""The site models: what each sees of its candidates' surroundings."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from tiny import random_codes, random_tables

from lstmhmm_bio.calibration import PWM_FIRST, PWM_WIDTH, UPSTREAM_FIRST, UPSTREAM_LAST, Tables
from lstmhmm_bio.nn.reading_frames import Frames, open_frames
from lstmhmm_bio.nn.sites import (
    BINS,
    FROM_FIRST,
    LENGTHS,
    MOTIF,
    NARROW,
    SITES,
    Dense,
    Site,
    SiteParams,
    Surroundings,
    best_motifs,
    class_sums,
    corrections,
    init_site,
    read_in,
    site_scores,
)

HIDDEN, WIDTH, STRIDE, TIME, MOTIFS = 4, 6, 6, 240, 3
NO_FRAMES = open_frames(*np.zeros((3, 1, TIME), bool))


@pytest.mark.parametrize(("name", "classes"), [("start", 3), ("start", 4), ("stop", 4), ("donor", 4), ("acceptor", 5)])
def test_a_model_sees_what_it_should(name: str, classes: int) -> None:
    """Its input, rebuilt one candidate and one number at a time, through a first layer that lets one input pass."""
    rng = np.random.default_rng(classes)
    codes, tables = np.stack([random_codes(rng, TIME, unknown=0.02) for _ in range(2)]), random_tables(rng, 2)
    features = rng.normal(size=(TIME // STRIDE, 2, 2 * HIDDEN)).astype(np.float32)
    scores = rng.normal(size=(2, TIME, classes)).astype(np.float32) * (codes < 4)[..., None]
    candidates = np.array([[3, 50, 117, 239], [0, 31, 60, 200]])
    params = init_site(np.random.default_rng(0), SITES[name], classes, HIDDEN, STRIDE, WIDTH, MOTIFS)
    inputs = len(params.layers[0].w)

    # the features as they are, and nothing in the places of those that are too few
    narrow = Dense(jnp.eye(2 * HIDDEN, NARROW), jnp.zeros(NARROW))
    params = params._replace(narrow=narrow)
    sums = class_sums(jnp.asarray(scores), jnp.asarray(codes < 4))
    starts, stops, unknown = rng.random((3, *codes.shape)) < np.array([0.1, 0.05, 0.01])[:, None, None]
    frames = open_frames(starts, stops, unknown)
    around = Surroundings(codes, tables, jnp.asarray(features), sums, frames)

    # relu(x) - relu(-x) = x: the model as a probe of single inputs
    def probe(unit: jax.Array) -> jax.Array:
        return corrections(_probe(params, unit), SITES[name], around, candidates)

    found = np.asarray(jax.jit(jax.vmap(probe, out_axes=-1))(np.eye(inputs, dtype=np.float32)))
    for row in range(2):
        own, of = Tables(*(x[row] for x in tables)), Frames(*(np.asarray(x[row]) for x in frames))
        for k, at in enumerate(candidates[row]):
            expected = _input(SITES[name], params.motifs, codes[row], own, scores[row], features[:, row], of, at)
            np.testing.assert_allclose(found[row, k], expected, atol=2e-4)


def _probe(params: SiteParams, unit: jax.Array) -> SiteParams:
    first, second, last = (jax.tree.map(jnp.zeros_like, layer) for layer in params.layers)
    first = first._replace(w=first.w.at[:, 0].set(unit).at[:, 1].set(-unit))
    second = second._replace(w=second.w.at[0, 0].set(1).at[1, 1].set(1))
    last = last._replace(w=last.w.at[0, 0].set(1).at[1, 0].set(-1))
    return params._replace(layers=(first, second, last))


def _fit(motifs: Dense, bases: list[int]) -> np.ndarray:
    """How well each motif fits, at least 0; unknown bases fit none."""
    if max(bases) > 3:
        return np.zeros(MOTIFS)
    return np.maximum(np.asarray(motifs.b) + sum(motifs.w[4 * j + b] for j, b in enumerate(bases)), 0)


def _input(
    site: Site,
    motifs: Dense,
    codes: np.ndarray,
    tables: Tables,
    scores: np.ndarray,
    features: np.ndarray,
    frames: Frames,
    at: int,
) -> np.ndarray:
    length = len(codes)
    base = lambda t: int(codes[t]) if 0 <= t < length else 4  # noqa: E731
    out: list[float] = []
    first = at + site.motifs_from
    for width in site.bins:
        fits = [_fit(motifs, [base(t + j) for j in range(MOTIF)]) for t in range(first, first + width)]
        out += np.max(fits, axis=0).tolist()
        first += width
    if site.calibrated:
        out += [tables.context[j, base(at + PWM_FIRST + j)] for j in range(PWM_WIDTH)]
        for t in range(at + UPSTREAM_FIRST, at + UPSTREAM_LAST + 1):
            pentamer = [base(t + j) for j in range(5)]
            index = int("".join(map(str, pentamer)), 4) if max(pentamer) < 4 and t >= 0 else 1024
            out.append(tables.upstream[index])

    def means(first: int, last: int, at: int) -> list[float]:
        """Of the codon positions in the candidate's own frame, then in the two others; then of the other classes."""
        inside = [t for t in range(first, last) if 0 <= t < length and codes[t] < 4]
        if not inside:
            return [0.0] * scores.shape[1]
        of_frames = [np.mean([scores[t, (t - at - frame) % 3] for t in inside]) for frame in range(3)]
        return [*of_frames, *scores[inside, 3:].mean(0)]

    for first, last in pairwise(BINS):
        out += means(at + first, at + last, at)
    out += [*tables.summary, *np.pad(features[at // STRIDE], (0, NARROW - 2 * HIDDEN))]
    if site.frame == "behind":
        out += _of_frame(frames.behind[at], frames.closed[at], means(at, at + 3 * frames.behind[at], at))
    if site.frame == "before":
        codon = max(at - 2, 0)
        before, first = frames.before[codon], frames.first[codon]
        out += _of_frame(before, frames.opened[codon], means(codon - 3 * before, codon, codon))
        out += [*_tents(first, FROM_FIRST), frames.inner[codon], means(codon - 3 * first, codon, codon)[0]]
    return np.array(out)


def _tents(length: int, knots: tuple[int, ...]) -> list[float]:
    return [np.interp(np.log1p(length), np.log1p(knots), unit) for unit in np.eye(len(knots))]


def _of_frame(length: int, cut: bool, means: list[float]) -> list[float]:
    return [*_tents(length, LENGTHS), cut, *means[:3], means[0] * np.log1p(length) / 4]


@pytest.mark.parametrize("name", SITES)
def test_the_matrix_counts_the_bases_around(name: str) -> None:
    rng = np.random.default_rng(3)
    codes, tables = random_codes(rng, TIME, unknown=0.1)[None], random_tables(rng, 1)
    site = SITES[name]
    params = init_site(np.random.default_rng(2), site, 4, HIDDEN, STRIDE, WIDTH, MOTIFS)
    matrix = rng.normal(size=(site.width, 4)).astype(np.float32)
    at = jnp.array([[0, 5, 100, 239]])

    @jax.jit
    def correction(matrix: jax.Array) -> jax.Array:
        features, sums = jnp.zeros((TIME // STRIDE, 1, 2 * HIDDEN)), jnp.zeros((1, TIME + 1, 5))
        around = Surroundings(codes, tables, features, sums, NO_FRAMES)
        return corrections(params._replace(matrix=matrix), site, around, at)[0]

    difference = np.asarray(correction(matrix)) - np.asarray(correction(0 * matrix))
    for k, place in enumerate(at[0].tolist()):
        around = [(j, t) for j, t in enumerate(range(place + site.first, place + site.last + 1)) if 0 <= t < TIME]
        expected = sum(matrix[j, codes[0, t]] for j, t in around if codes[0, t] < 4)
        assert difference[k] == pytest.approx(expected, abs=1e-4)


def test_gradients_of_motifs_are_those_of_their_best_places() -> None:
    """The rule of `best_motifs` against finite differences of a weighted sum of the fits."""
    rng = np.random.default_rng(4)
    motifs = Dense(rng.normal(size=(4 * MOTIF, MOTIFS)), rng.normal(size=MOTIFS))
    begins = rng.integers(0, 4**MOTIF + 1, (2, 3, 9))
    weights = rng.normal(size=(2, 3, 2, MOTIFS))

    with jax.enable_x64(True):

        @jax.jit
        def loss(motifs: Dense) -> jax.Array:
            return (weights * best_motifs(motifs, (4, 5), jnp.asarray(begins))).sum()

        jax.test_util.check_grads(loss, (jax.tree.map(jnp.asarray, motifs),), order=1, modes=("rev",), eps=1e-6)


@pytest.mark.parametrize("name", SITES)
def test_the_best_candidates_by_the_screen_are_corrected(name: str) -> None:
    """Each candidate has the screen of its base of the step; the perceptron is added to the best of them alone."""
    rng = np.random.default_rng(1)
    codes, tables = random_codes(rng, TIME)[None], random_tables(rng, 1)
    features = rng.normal(size=(TIME // STRIDE, 1, 2 * HIDDEN)).astype(np.float32)
    sums = jnp.zeros((1, TIME + 1, 5))
    per_256 = 8
    params = init_site(np.random.default_rng(1), SITES[name], 4, HIDDEN, STRIDE, WIDTH, MOTIFS)
    here, inner = rng.random((2, 1, TIME)) < 0.4
    if name == "start":
        params = params._replace(inner=jnp.float32(-1.5))
    screen = features @ params.screen.w + params.screen.b
    around = Surroundings(codes, tables, jnp.asarray(features), sums, NO_FRAMES._replace(inner=jnp.asarray(inner)))
    scored = jax.jit(site_scores, static_argnums=(1, 2))
    found = scored(params, SITES[name], per_256, around, screen, jnp.asarray(here))[0]
    rough = np.stack([features[t // STRIDE, 0] @ params.screen.w[:, t % STRIDE] for t in range(TIME)])
    rough += np.tile(params.screen.b, TIME // STRIDE) + (tables.intron_rate[0] if name == "donor" else 0)
    if name == "start":
        rough -= 1.5 * inner[0]
    places = np.flatnonzero(here[0])
    count = read_in(TIME, per_256)
    assert len(places) > count
    best = places[np.argsort(-rough[places])[:count]]
    expected = np.where(here[0], rough, 0.0)
    fine = jax.jit(corrections, static_argnums=1)(params, SITES[name], around, jnp.asarray(best)[None])[0]
    assert np.ptp(fine) > 1e-4
    expected[best] += fine
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_candidate_is_read_where_they_are_few() -> None:
    assert [read_in(time, 8) for time in (5, 200, 1536, 6144)] == [5, 8, 48, 192]
    assert [read_in(time, 3) for time in (5, 200, 1536, 6144)] == [5, 8, 18, 72]
