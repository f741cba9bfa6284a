"""Grammars with constraints: decoded without them, and with them where they are broken."""

from __future__ import annotations

from itertools import pairwise

import hmm_oracle as oracle
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_codes

from lstmhmm_bio import constraints, decoding, paths, strands
from lstmhmm_bio.constraints import forbidden_ends, slices_of
from lstmhmm_bio.decoding import Decoded, Weights, decode_records
from lstmhmm_bio.features import Record
from lstmhmm_bio.hmm.grammars.eukaryote import INITIAL_WEIGHTS, TRAINING, grammar
from lstmhmm_bio.hmm.grammars.grammar import Grammar
from lstmhmm_bio.hmm.graph import NEG
from lstmhmm_bio.hmm.viterbi import UNITS, to_fixed, to_fixed_scores
from lstmhmm_bio.nn.network import CodeMasks
from lstmhmm_bio.scoring import Tracks
from lstmhmm_bio.sequence import EUKARYOTIC_STARTS, GeneticCode, reverse_complement

CODE = GeneticCode.from_number(1, EUKARYOTIC_STARTS)
MIN_INTRON = 9
WHOLE = grammar(MIN_INTRON, memory=True)
RELAXATION = WHOLE.relaxed
assert RELAXATION is not None
SMALL = RELAXATION.grammar
#: genes and introns cost little
TRANSITIONS = INITIAL_WEIGHTS | {
    "start": -1.0,
    "partial_start": -2.0,
    "partial_end": -2.0,
    **{f"intron{phase}": -1.0 for phase in range(3)},
    "short_end": -0.5,
    "long_end": -1.0,
}
WEIGHTS = Weights.of(WHOLE, TRANSITIONS)


#: the one step of the small grammar that the whole one has not: an intron behind AT of a start codon
CUT_START = ("2s", "D2")
ALL_MARKS = np.uint16(0xFFFF)


def random_walk(rng: np.random.Generator, shortest: int, stay: float, *, cut_start: bool) -> np.ndarray:
    """A path of the small grammar with introns of at least so many bases, none in a start codon unless asked for."""
    graph = SMALL.graph
    cut = tuple(graph.index[s] for s in CUT_START)
    initial, final = ([graph.index[s] for s, _ in pairs] for pairs in (graph.initial, graph.final))
    path = [int(rng.choice(initial))]
    least, bases = int(rng.integers(1, 60)), shortest  # of the intron; one that the path begins in is long enough
    while True:
        in_loop = graph.states[path[-1]][0] in "NM"
        too_short = in_loop and bases < shortest - 1
        if len(path) >= least and path[-1] in final and not too_short:
            break
        if too_short or (in_loop and rng.random() < stay):
            path.append(path[-1])
        else:
            after = [arc.state for arc in graph.successors[path[-1]]]
            path.append(int(rng.choice([s for s in after if cut_start or (path[-1], s) != cut])))
        bases = 1 if graph.states[path[-1]][0] == "D" else bases + 1
    return np.array(path, np.uint8)


def is_path(g: Grammar, path: np.ndarray) -> bool:
    names = [g.graph.states[s] for s in path]
    edges = {(e.source, e.target) for e in g.graph.edges} | {CUT_START}
    return names[0] in dict(g.graph.initial) and names[-1] in dict(g.graph.final) and {*pairwise(names)} <= edges


def score(g: Grammar, path: np.ndarray, transitions: dict[str, float]) -> int:
    """Of a path's transitions, in Viterbi's units."""
    edges, initial, final = (np.asarray(x, np.int64) for x in to_fixed_scores(g.scores(transitions)))
    of = {(g.graph.index[e.source], g.graph.index[e.target]): int(edges[k]) for k, e in enumerate(g.graph.edges)}
    of.setdefault((g.graph.index["2s"], g.graph.index["D2"]), round(transitions["intron2"] * UNITS))
    return int(initial[path[0]] + final[path[-1]]) + sum(of[int(a), int(b)] for a, b in pairwise(path))


def without_memory(path: np.ndarray) -> np.ndarray:
    """A path of `SMALL` in the states of the training grammar."""
    names = [SMALL.graph.states[s] for s in path]
    return np.array([TRAINING.graph.index[s if s == "2s" else s.rstrip("tag")] for s in names], np.uint8)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_paths_score_the_same_in_all_grammars(seed: int) -> None:
    """With a minimum of introns and without, with memory and without, for any weights."""
    rng = np.random.default_rng(seed)
    transitions = {name: float(rng.normal(scale=3)) for name in INITIAL_WEIGHTS} | {"stay": 0.0}
    path = random_walk(rng, MIN_INTRON, 0.5, cut_start=False)
    named = RELAXATION.named(path)
    assert is_path(WHOLE, named)
    assert score(WHOLE, named, transitions) == score(SMALL, path, transitions)
    if not {SMALL.graph.states[s] for s in path} & {"Tt", "Ta", "Tg"}:  # cut stop codons, which training cannot say
        plain = without_memory(path)
        assert is_path(TRAINING, plain)
        assert score(TRAINING, plain, transitions) == score(SMALL, path, transitions)


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.9))
def test_what_is_broken_is_no_path_of_the_whole_grammar(seed: int, stay: float) -> None:
    path = random_walk(np.random.default_rng(seed), 3, stay, cut_start=True)
    broken = RELAXATION.broken(path, np.full(len(path), ALL_MARKS))
    assert (not broken) == is_path(WHOLE, RELAXATION.named(path))
    # no base completes a start codon
    more = RELAXATION.broken(path, np.zeros(len(path), np.uint16))
    assert {*broken} <= {*more}
    names = [SMALL.graph.states[s] for s in path]
    for start, end in more:
        assert names[start][0] == "D"
        assert {s[0] for s in names[start + 1 : end]} <= set("NMA")
        assert ((start, end) in broken) == (end - start < MIN_INTRON)
        assert (start, end) in broken or names[start - 1] == "2s"
    ended = {start for start, _ in more}
    cut = [i for i, pair in enumerate(pairwise(names), 1) if pair == CUT_START]
    assert all(i in ended or all(s[0] in "DNMA" for s in names[i:]) for i in cut)


@settings(max_examples=200)
@given(st.lists(st.booleans(), min_size=1, max_size=80), st.integers(0, 30), st.data())
def test_slices_begin_and_end_outside_genes(genic: list[bool], reach: int, data: st.DataObject) -> None:
    path = np.array(genic, np.uint8) * SMALL.graph.index["1"]
    at = data.draw(st.lists(st.sampled_from(np.flatnonzero(genic).tolist()), max_size=4)) if any(genic) else []
    at = sorted(set(at))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constraints, "REACH", reach)
        found = slices_of(path, at, RELAXATION)
    assert all(a[1] <= b[0] for a, b in pairwise(found))
    for begin, end in found:
        assert begin == 0 or not genic[begin]
        assert end == len(genic) or not genic[end - 1]
        assert any(begin <= i < end for i in at)
    for i in at:
        (covering,) = [s for s in found if s[0] <= i < s[1]]
        first, last = i, i
        while first > 0 and genic[first - 1]:
            first -= 1
        while last < len(genic) - 1 and genic[last + 1]:
            last += 1
        assert covering[0] <= max(first - max(reach, 1), 0)
        assert covering[1] >= min(last + 1 + max(reach, 1), len(genic))


# ---- decoding


def case(rng: np.random.Generator, length: int) -> tuple[Record, Tracks]:
    """A sequence of many sites and scores that know nothing."""
    words = ["ATG", "GTAAG", "CAG", "TAG", "TAA", "TGA", "T", "TG", "GCA", "AG", "GT", "GCC", "AC", "TGG"]
    text = "".join(rng.choice(words, length))[:length]
    codes = np.array(["ACGT".index(c) for c in text], np.uint8)
    island = int(rng.integers(0, length))
    codes[island : island + 40] = random_codes(rng, len(codes[island : island + 40]), unknown=0.3)
    classes = (rng.normal(size=(2, length, 4), scale=1.5) + rng.uniform(-1, 1)) * UNITS
    sites = rng.normal(size=(2, length, 4), scale=2) * UNITS
    return Record("r", codes), Tracks(classes.astype(np.int16), sites.astype(np.int16))


def fixed_emissions(g: Grammar, record: Record, tracks: Tracks) -> np.ndarray:
    """[2, length, states] in Viterbi's units."""
    codes = np.stack([record.codes, reverse_complement(record.codes)])
    classes, sites = (jnp.asarray(x) * jnp.float32(1 / UNITS) for x in (tracks.classes, tracks.sites))
    e = g.emissions(classes, sites, jnp.asarray(g.marks(codes, CodeMasks.of(CODE))), impossible=NEG)
    return np.asarray(to_fixed(e), np.int64)


def compared(record: Record, tracks: Tracks, decoded: Decoded) -> list[tuple[int, int, bool]]:
    """For each strand: score of the decoded path, that of the best one, by the whole grammar if the relaxed one's best
    path breaks a constraint, and whether it does.
    """
    codes = np.stack([record.codes, reverse_complement(record.codes)])
    marks = WHOLE.marks(codes, CodeMasks.of(CODE))
    of_whole, of_small, out = (*(fixed_emissions(g, record, tracks) for g in (WHOLE, SMALL)), [])
    for path, here, e, small in zip(decoded.paths, marks, of_whole, of_small, strict=True):
        assert is_path(WHOLE, path)
        along = e[np.arange(len(path)), path]
        assert (along > 0.99 * NEG * UNITS).all()
        total = score(WHOLE, path, TRANSITIONS) + int(along.sum())
        best, _ = oracle.viterbi_reference(WHOLE.graph, WEIGHTS.path, e / UNITS)
        upper, relaxed = oracle.viterbi_reference(SMALL.graph, WEIGHTS.relaxed, small / UNITS)
        assert max(total, round(best * UNITS)) <= round(upper * UNITS)
        broken = bool(RELAXATION.broken(relaxed.astype(np.uint8), here))
        out.append((total, round((best if broken else upper) * UNITS), broken))
    return out


@pytest.fixture
def small_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records and slices of up to 256 bases as batches, longer ones block by block."""
    for name, value in {
        "SHORT": (), "LONG": 256, "BLOCK": 200, "SEGMENT_FLANK": 64, "SEGMENT_CORE": 128, "BATCH_BASES": 2048,
        "PATH_SEGMENT": 256, "PATH_FLANK": 64,
    }.items():  # fmt: skip
        for module in (strands, paths, decoding):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


def test_decoding_obeys_the_constraints_and_loses_nothing(small_shapes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As good as the best constrained path where nothing is broken and where all of a record is decoded again; else
    never better, and mostly as good.
    """
    rng = np.random.default_rng(1)
    records, tracks = zip(*(case(rng, n) for n in (60, 200) * 8 + (700,) * 4), strict=True)

    def results(reach: int) -> list[tuple[int, int, bool]]:
        monkeypatch.setattr(constraints, "REACH", reach)
        decoded = decode_records(records, tracks, CODE, WHOLE, WEIGHTS)
        return [x for given in zip(records, tracks, decoded, strict=True) for x in compared(*given)]

    wide = results(1000)
    assert all(total == best for total, best, _ in wide)
    assert {broken for *_, broken in wide} == {False, True}
    near = results(30)
    assert all(total == best for total, best, broken in near if not broken)
    assert np.mean([total == best for total, best, _ in near]) > 0.5


def test_introns_are_as_sure_as_the_grammar_wants(small_shapes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is the best one without the sites that are less sure."""
    monkeypatch.setattr(constraints, "REACH", 1000)
    rng = np.random.default_rng(2)
    records, tracks = zip(*(case(rng, n) for n in (60, 200) * 8 + (700,) * 4), strict=True)
    wanting = grammar(MIN_INTRON, memory=True, least_intron=0.4)
    changed = 0
    plain = decode_records(records, tracks, CODE, WHOLE, WEIGHTS)
    sure_ones = decode_records(records, tracks, CODE, wanting, WEIGHTS)
    for record, scores, before, found in zip(records, tracks, plain, sure_ones, strict=True):
        np.testing.assert_array_equal(found.posteriors, before.posteriors)
        changed += not np.array_equal(found.paths, before.paths)
        sure = Tracks(scores.classes, scores.sites.copy())
        for site in ("donor", "acceptor"):
            unsure = found.posterior(site) < 0.4
            sure.sites[..., wanting.sites.index(site)][unsure] = np.iinfo(np.int16).min + 1
            here = [i for i, s in enumerate(WHOLE.graph.states) if s[0] == site[0].upper()]
            assert not (np.isin(found.paths, here) & unsure).any()
        assert all(total == best for total, best, _ in compared(record, sure, found))
    assert changed > 5


def test_forbidden_ends_of_a_path() -> None:
    path = np.array(
        [SMALL.graph.index[s] for s in ["M0", "A0", "1", "2", "D2", "N2", "A2", "3", "T", "I", "S", "D1", "N1"]]
    )
    nowhere, everywhere = np.zeros(len(path), bool), np.ones(len(path), bool)
    assert forbidden_ends(path, SMALL, {"donor": everywhere, "acceptor": everywhere}) == [1, 4, 6, 11]
    assert forbidden_ends(path, SMALL, {"donor": nowhere, "acceptor": np.arange(len(path)) == 6}) == [6]
    assert forbidden_ends(path, SMALL, {"donor": nowhere, "acceptor": nowhere}) == []


def test_slices_are_a_function_of_their_record(small_shapes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints, "REACH", 30)
    rng = np.random.default_rng(7)
    cases = [case(rng, n) for n in (150, 700, 200, 1, 400)]
    cases.insert(
        2, (Record("empty", np.zeros(0, np.uint8)), Tracks(*(np.zeros((2, 0, 4), np.int16) for _ in range(2))))
    )
    together = decode_records([r for r, _ in cases], [t for _, t in cases], CODE, WHOLE, WEIGHTS)
    for (record, tracks), found in zip(cases, together, strict=True):
        (alone,) = decode_records([record], [tracks], CODE, WHOLE, WEIGHTS)
        assert found.record is record
        np.testing.assert_array_equal(alone.paths, found.paths)
