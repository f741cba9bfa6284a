"""Border models: what they see, and that they learn where regions begin and end."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from tiny import random_codes

from lstmhmm_bio.nn.borders import FIRST, WIDTH, border_scores, correction, init_borders
from lstmhmm_bio.sequence import UNKNOWN, reverse_complement
from lstmhmm_bio.training import borders as module
from lstmhmm_bio.training.borders import borders, fit_borders
from lstmhmm_bio.training.dataset import LabeledGenome, LabeledRecord

TIME = 1200


def _seen(codes: np.ndarray, at: int, first: int) -> np.ndarray:
    """The window of one base, base by base."""
    where = range(at + first, at + first + WIDTH)
    return np.array([codes[i] if 0 <= i < len(codes) else UNKNOWN for i in where], np.uint8)


def test_scores_are_the_screen_and_the_perceptron_at_the_best() -> None:
    rng = np.random.default_rng(1)
    codes = np.stack([random_codes(rng, TIME, unknown=0.02) for _ in range(2)])
    params = init_borders(np.random.default_rng(2), 2)
    weights = rng.normal(size=params.screen.w.shape).astype(np.float32)
    params = params._replace(screen=params.screen._replace(w=jnp.asarray(weights), b=jnp.arange(4.0)[:, None]))
    found = np.asarray(jax.jit(border_scores)(params, codes))
    assert found.shape == (2, TIME, 4)
    read = TIME * 2 // 64
    for row in range(2):
        for model in range(4):
            windows = np.stack([_seen(codes[row], t, FIRST[model % 2]) for t in range(TIME)])
            one_hot = (windows[..., None] == np.arange(4)).reshape(TIME, -1)
            rough = one_hot @ weights[model, :, 0] + model
            layers = jax.tree.map(lambda x, m=model: x[m], params.layers)
            best = np.argsort(-rough)[:read]
            expected = rough.copy()
            expected[best] += np.asarray(correction(layers, windows[best]))
            np.testing.assert_allclose(found[row, :, model], expected, atol=2e-3)


def test_borders_are_where_both_sides_are_certain() -> None:
    allowed = np.array([1, 2, 2, 1, 2, 3, 2, 1, 1, 2], np.uint32)
    first, last = borders(allowed, 1)
    assert first.tolist() == [1, 4, 9]
    assert last.tolist() == [2, 6]


def _genome(seed: int, word: np.ndarray, length: int = 40_000) -> tuple[LabeledGenome, np.ndarray]:
    """Regions of 80 bases on either strand, at random but for a word 20 bases from their first base and one 5 bases
    from their last; the codes.
    """
    rng = np.random.default_rng(seed)
    codes = random_codes(rng, length)
    allowed = np.ones((2, length), np.uint32)
    for start in range(500, length - 500, 300):
        region = random_codes(rng, 80)
        region[20 : 20 + len(word)] = word
        region[75 - len(word) : 75] = word[::-1]
        span = slice(start, start + 80)
        if rng.random() < 0.5:
            codes[span], allowed[0, span] = region, 2
        else:
            codes[span], allowed[1, length - start - 80 : length - start] = reverse_complement(region), 2
    record = LabeledRecord(f"r{seed}", codes, allowed, np.zeros((2, 1), np.float32))
    return LabeledGenome("g", "g", (record,), 11, 0.5, 1), codes


def test_borders_of_new_regions_are_found(monkeypatch) -> None:
    monkeypatch.setattr(module, "TRIED", 4000)
    word = np.array([2, 2, 3, 3, 1, 0, 0, 3, 1, 2, 0, 1], np.uint8)
    genome, _ = _genome(1, word)
    params = fit_borders([genome], [1], steps=60, seed=1)
    new, codes = _genome(2, word)
    for strand, (own, allowed) in enumerate(
        zip((codes, reverse_complement(codes)), new.records[0].allowed, strict=True)
    ):
        scores = np.asarray(border_scores(params, own[None]))[0]
        for end, true in enumerate(borders(allowed, 1)):
            # the best bases are the borders
            best = np.argsort(-scores[:, end])[: len(true)]
            assert len(np.intersect1d(best, true)) > 0.9 * len(true), (strand, end)
