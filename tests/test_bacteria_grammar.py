from __future__ import annotations

from functools import partial
from itertools import pairwise

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstmhmm_bio.features import Gene
from lstmhmm_bio.hmm.grammars import bacteria
from lstmhmm_bio.hmm.grammars.bacteria import ANY, GRAPH, INDEX, INITIAL_WEIGHTS, STATES, UNKNOWN_STATE
from lstmhmm_bio.hmm.graph import NEG
from lstmhmm_bio.hmm.viterbi import viterbi
from lstmhmm_bio.sequence import GeneticCode, encode, kmer_indices

CODE = GeneticCode.from_number(11)
SCORES = GRAPH.scores(INITIAL_WEIGHTS)
POSITION = {"S": 0, "1": 0, "2": 1, "3": 2, "T": 2}
STOPS, STARTS, SENSE = ("TAA", "TAG", "TGA"), ("ATG", "GTG", "TTG"), ("GCC", "AAC", "CTC", "GAC", "ATC")
PAD = 208  # one compiled shape; `representable` is 198 bases long at most


def gene(start: int, end: int, *, has_start: bool = True, has_stop: bool = True) -> Gene:
    return Gene("", start, end, "+", 1.0, partial_left=not has_start, partial_right=not has_stop)


def masks(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where start codons begin and where stop codons end, [length] each."""
    codons = kmer_indices(codes, 3)
    ends = np.zeros(len(codes), bool)
    ends[2:] = (CODE.is_stop[codons] & (codons >= 0))[:-2]
    return CODE.is_start[codons] & (codons >= 0), ends


def emissions(codes: np.ndarray, coding: np.ndarray, sites: np.ndarray) -> np.ndarray:
    starts_here, stop_ends_here = masks(codes)
    marks = starts_here * bacteria.START_HERE + stop_ends_here * bacteria.STOP_ENDS_HERE
    inputs = (coding.astype(np.float32), sites.astype(np.float32), marks.astype(np.uint16))
    return np.asarray(_emissions(*map(padded, inputs)))[: len(codes)]


_emissions = jax.jit(partial(bacteria.emissions, impossible=NEG))


def padded(x: np.ndarray) -> np.ndarray:
    return np.pad(x, [(0, PAD - len(x))] + [(0, 0)] * (x.ndim - 1))


def best_path(e: np.ndarray) -> tuple[float, np.ndarray]:
    score, path = viterbi(GRAPH, SCORES, padded(e)[None], np.array([len(e)]))
    return float(score[0]), path[0, : len(e)]


def found_genes(path: np.ndarray) -> list[tuple[int, int, bool, bool]]:
    return list(zip(*(x.tolist() for x in bacteria.intervals(path)), strict=True))


def as_tuples(genes: list[Gene]) -> list[tuple[int, int, bool, bool]]:
    return sorted((g.start, g.end, g.has_start, g.has_stop) for g in genes)


# ---- the graph


def test_edges_are_those_of_one_or_two_genes() -> None:
    """Every step is explained by each gene moving on by one base, and at most one ending or beginning."""
    after = {"S": "2", "1": "2", "2": "3T", "3": "1"}
    expected = {("I", "I"): "stay", ("I", "S"): "start", ("T", "I"): "end", ("T", "S"): "start_adjacent"}
    names = {frozenset(s): s for s in STATES[1:]}
    for source in STATES[1:]:
        if source == "T":
            continue
        ending = "T" in source
        steps: set[frozenset[str]] = {frozenset()}
        for member in source.replace("T", ""):
            steps = {step | {to} for step in steps for to in after[member]}
        for step in steps:
            if step in names:
                expected[source, names[step]] = "end" if ending else "stay"
            # inside a single gene a second one begins, in another frame; after its start codon's first base none can
            if len(source) == 1 and source != "S" and POSITION[next(iter(step))] != 0:
                expected[source, names[step | {"S"}]] = "start_overlap"
    assert {(e.source, e.target): e.weight for e in GRAPH.edges} == expected
    by_hand = {
        "I": "I S", "S": "2", "1": "2 S2", "2": "3 T S3 ST", "3": "1", "T": "I S", "12": "23 2T", "S2": "23 2T",
        "13": "12", "S3": "12", "1T": "2", "ST": "2", "23": "13 1T", "2T": "3 T",
    }  # fmt: skip
    assert {s: " ".join(t for t in STATES if (s, t) in expected) for s in STATES} == {
        s: " ".join(sorted(t.split(), key=STATES.index)) for s, t in by_hand.items()
    }


def test_ends_of_records() -> None:
    partial = {"1", "2", "3", "12", "13", "23"}
    assert {s for s, _ in GRAPH.initial} == {"I", "S", *partial}
    assert {s for s, _ in GRAPH.final} == {"I", "T", "1T", "2T", *partial}
    assert {s for s, w in GRAPH.initial if w == "partial_start"} == partial
    assert set(GRAPH.weights) == set(INITIAL_WEIGHTS)


def test_emissions_by_the_letters_of_each_state() -> None:
    rng = np.random.default_rng(0)
    codes = encode("ATGTAACCATGATG")
    coding, sites = (rng.normal(size=(14, n)).astype(np.float32) for n in (3, 2))
    found = emissions(codes, coding, sites)
    starts_here, stop_ends_here = masks(codes)
    assert starts_here.nonzero()[0].tolist() == [0, 8, 11]
    assert stop_ends_here.nonzero()[0].tolist() == [5, 11]
    for t in range(14):
        for i, state in enumerate(STATES):
            total = 0.0
            for letter in state.replace("I", ""):
                total += coding[t, POSITION[letter]] + (sites[t, "ST".index(letter)] if letter in "ST" else 0)
            allowed = (
                ("S" not in state or starts_here[t])
                and ("T" not in state or stop_ends_here[t])
                and ("3" not in state or not stop_ends_here[t])
            )
            if allowed:
                assert found[t, i] == pytest.approx(total, abs=1e-5)
            else:
                assert found[t, i] <= 0.99 * NEG
    assert found.min() >= NEG


# ---- decoding

dna = st.lists(st.sampled_from(["ATG", "TAA", "TGA", "GCC", "AA", "C", "T", "GTG", "ATGA", "TAATG"]), max_size=30).map(
    lambda parts: encode("".join(parts)[:120])
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(dna, st.integers(0, 2**32 - 1), st.floats(-1, 3))
def test_every_decoded_gene_can_be_read(codes: np.ndarray, seed: int, bias: float) -> None:
    if not len(codes):
        return
    rng = np.random.default_rng(seed)
    length = len(codes)
    coding = rng.normal(size=(length, 3), scale=2) + bias
    score, path = best_path(emissions(codes, coding.astype(np.float32), rng.normal(size=(length, 2))))
    assert score > 0.5 * NEG
    covered = np.zeros((length, 3), int)
    for start, end, has_start, has_stop in found_genes(path):
        assert 0 <= start < end <= length
        assert (end - start) % 3 == 0
        codons = kmer_indices(codes[start:end], 3)[::3]
        assert not CODE.is_stop[codons[:-1]].any()
        assert CODE.is_stop[codons[-1]] == has_stop
        assert CODE.is_start[codons[0]] if has_start else start < 3
        assert has_stop or end > length - 3
        covered[start:end, start % 3] += 1
    assert covered.max() <= 1  # never two genes in one frame
    assert covered.sum(1).max() <= 2
    # and the path says nothing beyond its genes, cut codons at the ends apart
    inner = slice(2, length - 2)
    np.testing.assert_array_equal(
        covered.sum(1)[inner], [0 if STATES[s] == "I" else len(STATES[s]) for s in path][inner]
    )


def test_best_path_is_the_best_of_all() -> None:
    """Against every path of the graph through seven bases."""
    rng = np.random.default_rng(1)
    for text in ("ATGTAAC", "TAATGAC", "ATGATGA"):
        e = emissions(encode(text), rng.normal(size=(7, 3)) + 2, np.zeros((7, 2)))
        paths, totals = _graph_paths(e)
        assert best_path(e)[0] == pytest.approx(totals.max(), abs=0.01)
        assert tuple(best_path(e)[1]) == paths[int(totals.argmax())]


def _graph_paths(e: np.ndarray) -> tuple[list[tuple[int, ...]], np.ndarray]:
    edge = {(INDEX[x.source], INDEX[x.target]): float(SCORES.edges[k]) for k, x in enumerate(GRAPH.edges)}
    paths = [((s,), float(SCORES.initial[s]) + float(e[0, s])) for s in range(len(STATES))]
    for row in e[1:]:
        paths = [((*p, b), v + w + float(row[b])) for p, v in paths for (a, b), w in edge.items() if a == p[-1]]
    totals = [v + float(SCORES.final[p[-1]]) for p, v in paths]
    return [p for p, _ in paths], np.array(totals)


# ---- labels


@st.composite
def representable(draw: st.DrawFn) -> tuple[int, list[Gene], np.ndarray]:
    """Genes with gaps, 1-base and 4-base and longer overlaps, off the ends; and bases that spell them."""
    genes: list[Gene] = []
    position = draw(st.integers(-12, 12))
    for _ in range(draw(st.integers(0, 4))):
        size = 3 * draw(st.integers(8, 12))
        genes.append(gene(position, position + size))
        position += size + draw(st.sampled_from([-8, -7, -4, -1, 0, 1, 2, 3, 10]))
    end = max((g.end for g in genes), default=position)
    length = max(1, end + draw(st.integers(-12, 12)))
    cut = [_cut(g, length) for g in genes]
    kept = [g for g in cut if g is not None]
    return length, kept, _spell(length, kept)


def _cut(g: Gene, length: int) -> Gene | None:
    has_start, has_stop = g.start >= 0, g.end <= length
    start = g.start if has_start else g.start % 3
    end = g.end if has_stop else length - (length - start) % 3
    return gene(start, end, has_start=has_start, has_stop=has_stop) if end - start >= 3 else None


def _spell(length: int, genes: list[Gene]) -> np.ndarray:
    codes = encode("C" * length)
    for g in genes:
        if g.has_start:
            codes[g.start : g.start + 3] = encode("ATG")
    for g in genes:
        if g.has_stop:
            codes[g.end - 3 : g.end] = encode("TGA")  # ends and begins as ATG does: ATGA, TGATG
    return codes


def allowed_emissions(codes: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    e = emissions(codes, np.zeros((len(codes), 3)), np.zeros((len(codes), 2)))
    bits = (allowed[:, None] >> np.arange(len(STATES))) & 1
    return np.where(bits == 1, e, np.float32(NEG))


@settings(max_examples=300)
@given(representable())
def test_labels_say_the_genes(case: tuple[int, list[Gene], np.ndarray]) -> None:
    length, genes, codes = case
    allowed, left_out = bacteria.lattice(length, genes)
    assert not left_out
    path = bacteria.labelled_path(allowed)
    assert (path != UNKNOWN_STATE).all()
    assert found_genes(path) == as_tuples(genes)
    # and every step is one of the graph's
    edges = {(e.source, e.target) for e in GRAPH.edges}
    names = [STATES[s] for s in path]
    assert all(step in edges for step in pairwise(names))
    assert names[0] in dict(GRAPH.initial)
    assert names[-1] in dict(GRAPH.final)
    # which the bases permit
    score, best = best_path(allowed_emissions(codes, allowed))
    assert score > 0.5 * NEG
    np.testing.assert_array_equal(best, path)


@pytest.mark.parametrize(
    ("text", "genes"),
    [
        ("CCATGGCCTAACC", [gene(2, 11)]),
        ("ATGGCCTAA", [gene(0, 9)]),
        ("ATGGCCTAATGGCCTAACC", [gene(0, 9), gene(8, 17)]),  # TAATG
        ("ATGGCCGCATGACCTAAC", [gene(0, 12), gene(8, 17)]),  # ATGA
        ("CATGGCCGCATGACCGA", [gene(1, 13), gene(9, 15, has_stop=False)]),
        ("GGCCTAAC", [gene(1, 7, has_start=False)]),
        ("GCCAATAAC", [gene(2, 8, has_start=False)]),
        ("CATGGCCAA", [gene(1, 7, has_stop=False)]),
        ("AGCCAACAA", [gene(1, 7, has_start=False, has_stop=False)]),
        ("ATGGCCTAAATGGCCTAG", [gene(0, 9), gene(9, 18)]),
    ],
)
def test_labels_are_possible_in_their_sequence(text: str, genes: list[Gene]) -> None:
    codes = encode(text)
    allowed, left_out = bacteria.lattice(len(codes), genes)
    assert not left_out
    score, path = best_path(allowed_emissions(codes, allowed))
    assert score > 0.5 * NEG
    assert found_genes(path) == as_tuples(genes)
    np.testing.assert_array_equal(path, bacteria.labelled_path(allowed))


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_overlaps_in_states(shift: int) -> None:
    allowed, left_out = bacteria.lattice(40, [gene(3, 18), gene(18 - shift, 36 - shift)])
    assert not left_out
    names = [STATES[s] for s in bacteria.labelled_path(allowed)]
    assert names[18 - shift : 18] == {1: ["ST"], 2: ["S2", "2T"], 4: ["S3", "12", "23", "1T"]}[shift]


THREE = [gene(0, 30), gene(10, 40), gene(20, 50)]
SAME_FRAME = [gene(0, 30), gene(12, 30)]


def test_three_genes_over_one_base_are_reported() -> None:
    allowed, left_out = bacteria.lattice(60, THREE)
    assert left_out == THREE[2:]
    assert (allowed[20:50] == ANY).all()
    assert (allowed[:20] != ANY).all()
    assert (allowed[50:] == 1 << INDEX["I"]).all()


def test_two_genes_in_one_frame_are_reported() -> None:
    allowed, left_out = bacteria.lattice(40, SAME_FRAME)
    assert left_out == SAME_FRAME
    assert (allowed[12:30] == ANY).all()
    assert [STATES[s] for s in bacteria.labelled_path(allowed[:12])] == ["S", "2", "3"] + ["1", "2", "3"] * 3
    assert (allowed[30:] == 1 << INDEX["I"]).all()


def test_a_cut_codon_is_no_gene() -> None:
    broken = gene(5, 15)
    allowed, left_out = bacteria.lattice(30, [broken])
    assert left_out == [broken]
    assert (allowed[5:15] == ANY).all()
    assert (np.delete(allowed, np.arange(5, 15)) == 1 << INDEX["I"]).all()


@pytest.mark.parametrize(
    "genes",
    [
        [gene(9, 30, has_start=False)],  # begins in the middle of nowhere
        [gene(9, 30, has_stop=False)],
        [gene(0, 30), gene(4, 16), gene(16, 46)],  # one ends and another begins inside a third
    ],
)
def test_steps_without_an_edge_are_reported(genes: list[Gene]) -> None:
    allowed, left_out = bacteria.lattice(50, genes)
    assert set(left_out) == set(genes)
    known = bacteria.labelled_path(allowed)
    edges = {(e.source, e.target) for e in GRAPH.edges}
    for a, b in pairwise(known):
        assert UNKNOWN_STATE in (a, b) or (STATES[a], STATES[b]) in edges


def test_unknown_labels_break_genes() -> None:
    path = bacteria.labelled_path(bacteria.lattice(30, [gene(3, 24)])[0])
    path[12:15] = UNKNOWN_STATE
    assert found_genes(path) == [(3, 12, True, False), (15, 24, False, True)]
    assert found_genes(np.full(9, UNKNOWN_STATE, np.uint8)) == []
    assert found_genes(np.zeros(0, np.uint8)) == []


def test_labelled_path_needs_one_state() -> None:
    allowed = np.array([0, 1, 2, 3, 1 << 13, ANY], np.uint16)
    assert bacteria.labelled_path(allowed).tolist() == [UNKNOWN_STATE, 0, 1, UNKNOWN_STATE, 13, UNKNOWN_STATE]
