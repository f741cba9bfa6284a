"""Reading bases around positions, against plain indexing."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import random_codes

from lstmhmm_bio.nn.bases import bases_around, kmers, of_bases
from lstmhmm_bio.sequence import kmer_indices


@pytest.mark.parametrize(("length", "k"), [(1, 3), (40, 3), (40, 5), (40, 6), (6, 6)])
def test_kmers_are_those_of_the_sequence(length: int, k: int) -> None:
    codes = np.stack([random_codes(np.random.default_rng(seed), length, unknown=0.05) for seed in range(8)])
    expected = np.stack([kmer_indices(row, k) for row in codes])
    np.testing.assert_array_equal(kmers(codes, k), np.where(expected < 0, 4**k, expected))


@pytest.mark.parametrize(("first", "last"), [(-56, 20), (-3, 6), (0, 0), (-30, -1), (2, 14)])
def test_bases_around_positions(first: int, last: int) -> None:
    rng = np.random.default_rng(0)
    codes = np.stack([random_codes(rng, 90, unknown=0.05) for _ in range(3)])
    at = np.stack([[0, 89, *rng.integers(0, 90, 6)] for _ in range(3)])
    beyond = np.full((3, 100), 4)
    padded = np.hstack([beyond, codes, beyond])
    expected = [
        [row[100 + i + first : 100 + i + last + 1] for i in places] for row, places in zip(padded, at, strict=True)
    ]
    np.testing.assert_array_equal(bases_around(codes, at, first, last), expected)


def test_what_a_table_holds_for_each_base() -> None:
    rng = np.random.default_rng(0)
    values, bases = rng.normal(size=(2, 1, 7, 4)).astype(np.float32), rng.integers(0, 5, (2, 3, 7))
    with_unknown = np.pad(values, [(0, 0)] * 3 + [(0, 1)])
    expected = np.take_along_axis(np.broadcast_to(with_unknown, (2, 3, 7, 5)), bases[..., None], axis=-1)[..., 0]
    np.testing.assert_array_equal(of_bases(values, bases), expected)
