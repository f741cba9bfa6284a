from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import random_codes, random_counts

from lstmhmm_bio import calibration as cal
from lstmhmm_bio.calibration import (
    GC_GRID,
    PWM_FIRST,
    PWM_WIDTH,
    UPSTREAM_FIRST,
    UPSTREAM_LAST,
    Calibration,
    Counts,
    Prior,
)
from lstmhmm_bio.sequence import BASES, GeneticCode, decode, encode, reverse_complement

CODE = GeneticCode.from_number(11)
STARTS = {"ATG", "GTG", "TTG"}


def kmer(index: int, k: int) -> str:
    return "".join(BASES[index >> 2 * j & 3] for j in reversed(range(k)))


def by_name(counts: np.ndarray, k: int) -> Counter[str]:
    return Counter({kmer(i, k): int(n) for i, n in enumerate(counts) if n})


def count_strings(text: str, genes: list[tuple[int, int, bool]]) -> dict[str, Counter]:
    """The same counts from strings; genes must not lie on each other in one frame."""
    coding: Counter = Counter()
    true, false = [], []
    for start, end, has_start in genes:
        coding.update(text[t : t + 6] for t in range(start, end - 8, 3))
        true += [start] * has_start
        inner = range(start + 3, start + min((end - start) // 2, 150), 3)
        false += [t for t in inner if text[t : t + 3] in STARTS]
    base = lambda t: text[t] if 0 <= t < len(text) else "N"  # noqa: E731
    out = {"coding": coding}
    for name, places in (("", true), ("false_", false)):
        out[name + "upstream"] = Counter(
            text[p + t : p + t + 5] for p in places for t in range(UPSTREAM_FIRST, UPSTREAM_LAST + 1) if p + t >= 0
        )
        out[name + "context"] = Counter((j, base(p + PWM_FIRST + j)) for p in places for j in range(PWM_WIDTH))
    return {name: Counter({k: n for k, n in c.items() if "N" not in k}) for name, c in out.items()}


gene_sets = st.lists(st.tuples(st.integers(0, 40), st.integers(3, 60), st.booleans()), min_size=1, max_size=4)


@given(gene_sets, st.integers(0, 2**32 - 1))
def test_counts_by_strings(parts: list[tuple[int, int, bool]], seed: int) -> None:
    genes, position = [], 0
    for gap, codons, has_start in parts:
        genes.append((position + gap, position + gap + 3 * codons, has_start))
        position = genes[-1][1] - (4 if gap % 2 else 0)
    codes = random_codes(np.random.default_rng(seed), genes[-1][1] + seed % 7, unknown=0.02)
    starts, ends, has_start = (np.array(x) for x in zip(*genes, strict=True))
    found = cal.count(codes, starts, ends, has_start, CODE)
    expected = count_strings(decode(codes), genes)
    assert by_name(found.coding, 6) == expected["coding"]
    for prefix in ("", "false_"):
        assert by_name(getattr(found, prefix + "upstream"), 5) == expected[prefix + "upstream"]
        table = getattr(found, prefix + "context")
        cells = Counter({(j, BASES[b]): int(table[j, b]) for j, b in np.ndindex(table.shape) if table[j, b]})
        assert cells == expected[prefix + "context"]
    assert not found.background.any()
    assert found.starts == sum(decode(codes)[s] != "N" for s, _, known in genes if known)


def test_count_leaves_the_stop_codon_out() -> None:
    codes = encode("ATGGCCAAACCCTAA")
    counts = cal.count(codes, np.array([0]), np.array([15]), np.array([True]), CODE)
    assert by_name(counts.coding, 6) == {"ATGGCC": 1, "GCCAAA": 1, "AAACCC": 1}


def test_false_starts_are_in_frame_and_in_the_first_half() -> None:
    text = "ATG" + "AATGAC" + "GTG" + "CCC" * 4 + "TTG" + "TAA"
    assert len(text) == 30
    counts = cal.count(encode(text), np.array([0]), np.array([30]), np.array([True]), CODE)
    assert counts.false_context[-PWM_FIRST].tolist() == [0, 0, 1, 0]  # GTG alone


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_background_is_that_of_both_strands(seed: int, length: int) -> None:
    codes = random_codes(np.random.default_rng(seed), length, unknown=0.05)
    found = cal.background_counts(codes)
    texts = [decode(codes), decode(reverse_complement(codes))]
    hexamers = Counter(t[i : i + 6] for t in texts for i in range(length - 5) if "N" not in t[i : i + 6])
    assert by_name(found, 6) == hexamers
    np.testing.assert_array_equal(found, cal.background_counts(reverse_complement(codes)))


def prior_of(seed: int) -> Counts:
    rng = np.random.default_rng(seed)
    frequencies = [a + 1 for a in vars(random_counts(rng)).values()]
    return Counts(*((a / a.sum(-1, keepdims=True)).astype(np.float32) for a in frequencies))


def test_log_odds_by_the_formula() -> None:
    rng = np.random.default_rng(0)
    counts, prior = random_counts(rng), prior_of(0)
    tables = cal.tables(counts, prior, 0.4)
    for name, true, false, weight in (
        ("hexamers", "coding", "background", 2000),
        ("upstream", "upstream", "false_upstream", 640),
        ("context", "context", "false_context", 40),
    ):
        table = getattr(tables, name)
        for place in [(0, 0), (5, 3), (37, 1)] if name == "context" else [(0,), (17,), (1000,)]:
            shares = []
            for field in (true, false):
                n, p = getattr(counts, field), getattr(prior, field)
                total = n[place[0]].sum() if name == "context" else n.sum()
                shares.append((float(n[place]) + weight * float(p[place])) / (float(total) + weight))
            assert table[place] == pytest.approx(np.log(shares[0] / shares[1]), abs=1e-5)
    expected = [4 * (0.4 - 0.5), np.log10(1 + counts.coding.sum()) / 5, np.log10(1 + counts.context[32].sum()) / 3]
    np.testing.assert_allclose(tables.summary, expected, rtol=1e-5)
    introns, codons = counts.introns + 1000 * prior.introns
    assert tables.intron_rate == pytest.approx(np.log(introns / (introns + codons) / 1e-3), abs=1e-5)


def test_unknown_kmers_score_nothing() -> None:
    tables = cal.tables(random_counts(np.random.default_rng(1)), prior_of(1), 0.5)
    assert [t.shape for t in tables] == [(4097,), (1025,), (PWM_WIDTH, 5), (3,), ()]
    assert tables.hexamers[-1] == tables.upstream[-1] == 0
    assert not tables.context[:, -1].any()
    assert all(t.dtype == np.float32 for t in tables)


def test_without_counts_the_tables_are_the_priors() -> None:
    prior = prior_of(2)
    tables = cal.tables(Counts.zeros(), prior, 0.5)
    np.testing.assert_allclose(tables.hexamers[:-1], np.log(prior.coding / prior.background), atol=1e-5)
    np.testing.assert_allclose(tables.upstream[:-1], np.log(prior.upstream / prior.false_upstream), atol=1e-5)
    np.testing.assert_allclose(tables.context[:, :-1], np.log(prior.context / prior.false_context), atol=1e-5)
    np.testing.assert_array_equal(tables.summary, 0)


def test_many_counts_leave_the_prior_behind() -> None:
    counts = Counts(*(1e6 * a for a in vars(prior_of(3)).values()))
    found, expected = cal.tables(counts, prior_of(4), 0.5), cal.tables(Counts.zeros(), prior_of(3), 0.5)
    np.testing.assert_allclose(found.hexamers, expected.hexamers, atol=0.1)
    np.testing.assert_allclose(found.context, expected.context, atol=0.01)


def test_log_odds_are_limited() -> None:
    counts = Counts.zeros()
    counts.coding[7] = 1e9
    counts.background[8] = 1e9
    tables = cal.tables(counts, prior_of(5), 0.5)
    assert tables.hexamers[7] == 4
    assert tables.hexamers[8] == -4


def test_prior_is_linear_between_its_grid_points() -> None:
    rng = np.random.default_rng(6)
    prior = Prior.fit([random_counts(rng) for _ in range(3)], [0.3, 0.5, 0.65])
    grid = prior.frequencies.coding
    np.testing.assert_array_equal(prior.at(GC_GRID[3] / 100).coding, grid[3])
    step = GC_GRID[1] - GC_GRID[0]
    blended = prior.at((GC_GRID[3] + 0.25 * step) / 100)
    np.testing.assert_allclose(blended.coding, 0.75 * grid[3] + 0.25 * grid[4], rtol=1e-4)
    for values in vars(blended).values():
        np.testing.assert_allclose(values.sum(-1), 1, rtol=1e-4)
    np.testing.assert_array_equal(prior.at(0.0).coding, grid[0])
    np.testing.assert_allclose(prior.at(1.0).coding, grid[-1])


def test_prior_is_that_of_genomes_alike() -> None:
    rng = np.random.default_rng(7)
    low, high = random_counts(rng), random_counts(rng)

    def share(counts: Counts) -> np.ndarray:
        return (counts.coding + 0.5) / (counts.coding + 0.5).sum()

    prior = Prior.fit([low, high], [0.3, 0.7])
    np.testing.assert_allclose(prior.at(0.3).coding, share(low), rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(prior.at(0.7).coding, share(high), rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(prior.at(0.5).coding, (share(low) + share(high)) / 2, rtol=1e-3)
    weighted = Prior.fit([low, high], [0.5, 0.5], [3, 1])
    np.testing.assert_allclose(weighted.at(0.5).coding, 0.75 * share(low) + 0.25 * share(high), rtol=1e-3)


def test_counts_add_up() -> None:
    rng = np.random.default_rng(8)
    a, b = random_counts(rng), random_counts(rng)
    for name, values in vars(a + b).items():
        np.testing.assert_array_equal(values, getattr(a, name) + getattr(b, name))


def test_gc_content() -> None:
    assert cal.gc_content(encode("GGCATTNNNN")) == 0.5
    assert cal.gc_content(encode("GCCCA")) == 0.8
    assert cal.gc_content(encode("NN")) == 0.5


def test_calibration_gives_its_tables() -> None:
    rng = np.random.default_rng(9)
    prior, counts = Prior.fit([random_counts(rng)], [0.5]), random_counts(rng)
    found = Calibration(counts, 0.41, 11).tables(prior)
    for a, b in zip(found, cal.tables(counts, prior.at(0.41), 0.41), strict=True):
        np.testing.assert_array_equal(a, b)
