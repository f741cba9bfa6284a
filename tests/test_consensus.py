"""One alignment of several."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lstmhmm_bio.profiles.consensus import consensus_alignment, heaviest_path
from lstmhmm_bio.profiles.profile import AMINO
from lstmhmm_bio.profiles.weights import GAP


def rows_of(*texts: str) -> np.ndarray:
    width = max(map(len, texts))
    return np.array(
        [[GAP if c == "-" else AMINO.encode(c)[0] for c in text.ljust(width, "-")] for text in texts], np.uint8
    )


def texts(rows: np.ndarray) -> list[str]:
    return ["".join("-" if c == GAP else AMINO.symbols[c] for c in row) for row in rows]


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(lambda s: arrays(np.int8, s, elements=st.integers(0, 9)))
)
def test_heaviest_path_against_all(score: np.ndarray) -> None:
    n, m = score.shape

    def best(i: int, j: int) -> int:
        if i == n or j == m:
            return 0
        return max(score[i, j] + best(i + 1, j + 1), best(i + 1, j), best(i, j + 1))

    i = j = total = 0
    for step in heaviest_path(score.astype(float)):
        total += score[i, j] if step == 0 else 0
        i, j = i + (step != 2), j + (step != 1)
    assert (i, j) == (n, m)
    assert total == best(0, 0)


def test_the_consensus_of_one_is_itself() -> None:
    rows = rows_of("MKV-LAG", "MKVWLAG", "M--WLA-")
    assert texts(consensus_alignment([rows, rows], np.random.default_rng(0))) == texts(rows)


def test_most_are_right() -> None:
    right = rows_of("MKVLLAG", "MK--LAG", "MKVLLAG")
    wrong = rows_of("MKVLLAG", "MKLAG--", "MKVLLAG")
    assert texts(consensus_alignment([right, wrong, right], np.random.default_rng(0))) == texts(right)


@pytest.mark.parametrize("seed", range(5))
def test_sequences_are_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sequences = [rng.integers(0, 20, rng.integers(0, 9)).astype(np.uint8) for _ in range(6)]

    def spread() -> np.ndarray:
        rows = np.full((6, 12), GAP, np.uint8)
        for row, codes in zip(rows, sequences, strict=True):
            row[np.sort(rng.choice(12, len(codes), False))] = codes
        return rows

    rows = consensus_alignment([spread() for _ in range(3)], rng)
    for row, codes in zip(rows, sequences, strict=True):
        assert (row[row != GAP] == codes).all()
    assert (rows != GAP).any(axis=0).all()


def test_a_single_sequence() -> None:
    assert texts(consensus_alignment([rows_of("M-KV")], np.random.default_rng(0))) == ["MKV"]
