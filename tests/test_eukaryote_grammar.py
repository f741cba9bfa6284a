"""The grammar of genes with introns, against plain Python on strings."""

from __future__ import annotations

import re
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tiny import random_codes

from lstmhmm_bio.hmm.grammars import eukaryote, eukaryote_marks
from lstmhmm_bio.hmm.grammars.eukaryote import (
    INITIAL_WEIGHTS,
    LONGEST_MINIMUM,
    TRAINING,
    grammar,
    transcripts,
)
from lstmhmm_bio.hmm.grammars.eukaryote_labels import ANY, lattice
from lstmhmm_bio.hmm.grammars.grammar import Grammar, Segments
from lstmhmm_bio.hmm.graph import NEG
from lstmhmm_bio.hmm.viterbi import MAX_STATES, viterbi
from lstmhmm_bio.nn.network import CodeMasks
from lstmhmm_bio.sequence import EUKARYOTIC_STARTS, GeneticCode, decode, encode

STOPS = ("TAA", "TAG", "TGA")
CODE = CodeMasks.of(GeneticCode.from_number(1, EUKARYOTIC_STARTS))
MIN_INTRON = 5
DECODING = grammar(MIN_INTRON, memory=True)
WITH_AT_AC = grammar(MIN_INTRON, memory=True, at_ac=True)
#: genes and introns cost little
WEIGHTS = INITIAL_WEIGHTS | {
    "start": -1.0,
    "partial_start": -2.0,
    "partial_end": -2.0,
    **{f"intron{phase}": -1.0 for phase in range(3)},
    "short_end": -0.5,
    "long_end": -1.0,
}
BATCH, PAD = 4, 128  # one compiled shape per grammar


def best_paths(decoding: Grammar, emissions: list[np.ndarray]) -> list[tuple[float, np.ndarray]]:
    """Scores and best paths of up to `BATCH` sequences."""
    stacked = np.zeros((BATCH, PAD, len(decoding.graph.states)), np.float32)
    for i, e in enumerate(emissions):
        stacked[i, : len(e)] = e
    lengths = np.array([len(e) for e in emissions] + [0] * (BATCH - len(emissions)))
    scores, paths = viterbi(decoding.graph, decoding.scores(WEIGHTS), stacked, lengths)
    return [(float(scores[i]), paths[i, : len(e)]) for i, e in enumerate(emissions)]


def permitted(text: str, t: int, state: str, memory: bool, stops: tuple[str, ...] = STOPS) -> bool:
    """Whether the sequence lets a base be in a state."""
    before, pair, triplet = text[max(t - 2, 0) : t], text[t : t + 2], text[t : t + 3]
    ends = text[max(t - 2, 0) : t + 1]
    completes = {"3": ends, "T": ends}
    completes |= {
        s: cut + text[max(t - 2 + len(cut), 0) : t + 1] for s, cut in (("3t", "T"), ("3a", "TA"), ("3g", "TG"))
    }
    completes |= {f"T{letter}": completes[f"3{letter}"] for letter in "tag"}
    if state == "S":
        return triplet == "ATG"
    if state in completes:
        return (completes[state] in stops) == (state[0] == "T")
    if state[0] == "A":
        return ends.endswith("AG")
    if state[0] == "D":
        if pair != "GT" and triplet != "GCA":
            return False
        if not memory:
            return True
        return {
            "D0": True,
            "D1": before[-1:] != "T",
            "D1t": before[-1:] == "T",
            "D2": before not in ("TA", "TG"),
            "D2a": before == "TA",
            "D2g": before == "TG",
        }[state]
    return True


# ---- marks and emissions


@pytest.mark.parametrize("number", [1, 6, 22])
def test_marks_by_strings(number: int) -> None:
    """For numpy and jax alike, of one sequence and of several."""
    code = CodeMasks.of(GeneticCode.from_number(number, EUKARYOTIC_STARTS))
    stops = {1: STOPS, 6: ("TGA",), 22: ("TCA", "TAA", "TGA")}[number]
    for length in (1, 2, 3, 400):
        rows = np.stack([random_codes(np.random.default_rng([number, r]), length, unknown=0.05) for r in range(2)])
        found = eukaryote_marks.marks(rows, code)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(eukaryote_marks.marks(rows[0], code), found[0])
        for text, row in zip(map(decode, rows), found, strict=True):
            for t in range(length):
                here, ends = text[t : t + 3], text[max(t - 2, 0) : t + 1]
                expected = [
                    here == "ATG",
                    ends in stops,
                    here[:2] == "GT" or here == "GCA",
                    ends[-2:] == "AG",
                    ends[-2:-1] == "T",
                    ends[:-1] == "TA",
                    ends[:-1] == "TG",
                    "T" + ends[-2:] in stops,
                    "TA" + ends[-1] in stops,
                    "TG" + ends[-1] in stops,
                    ends[-1] == "G",
                ]
                assert [bool(row[t] >> i & 1) for i in range(11)] == expected, (text[max(t - 2, 0) : t + 3], t)
                assert row[t] < 1 << 11
        if length in (1, 400):
            np.testing.assert_array_equal(np.asarray(eukaryote_marks.marks(jnp.asarray(rows), code)), found)


def test_marks_of_at_ac_introns_by_strings() -> None:
    rng = np.random.default_rng(3)
    words = ["ATATCCTT", "ATATCC", "TTAAC", "TTGAC", "TTCAC", "CAC", "TAC", "AAC", "C", "A", "GT", "N", "TTGGTCAGCA"]
    found = set()
    for _ in range(40):
        text = "".join(rng.choice(words, 40))
        plain = eukaryote_marks.marks(encode(text), CODE)
        for marks in (
            eukaryote_marks.marks(encode(text), CODE, at_ac=True),
            np.asarray(eukaryote_marks.marks(jnp.asarray(encode(text)), CODE, at_ac=True)),
        ):
            np.testing.assert_array_equal(marks & ((1 << 11) - 1), plain)
            for t in range(len(text)):
                # the branch site begins at most so many bases before the end, and ends before the last three
                intron = text[max(t + 1 - eukaryote_marks.BRANCH, 0) : t + 1]
                acceptor = re.search("TT[AG]AC.*[CT]AC$", intron) is not None
                expected = (text[t : t + 8] == "ATATCCTT") + 2 * acceptor
                assert marks[t] >> 11 == expected, (intron, t)
                found.add(int(expected))
    assert found == {0, 1, 2}


@pytest.mark.parametrize("memory", [False, True])
def test_emissions_by_the_letters_of_each_state(memory: bool) -> None:
    rng = np.random.default_rng(1)
    codes = np.concatenate([encode("ATGTGTAGTAAGCATAGTGCATGGTTAGTCAGA"), random_codes(rng, 60, unknown=0.02)])
    text, decoding = decode(codes), grammar(5, memory=memory)
    classes, sites = (rng.normal(size=(len(text), 4)).astype(np.float32) for _ in range(2))
    found = decoding.emissions(
        jnp.asarray(classes), jnp.asarray(sites), jnp.asarray(eukaryote_marks.marks(codes, CODE)), impossible=NEG
    )
    assert found.shape == (len(text), len(decoding.graph.states))
    for i, state in enumerate(decoding.graph.states):
        of_class = {"S": 0, "1": 0, "2": 1, "3": 2, "T": 2, "I": None}.get(state[0], 3)
        of_site = {"S": 0, "T": 1, "D": 2, "A": 3}.get(state[0])
        if state in ("Tt", "Ta", "Tg"):
            of_site = None  # the stop model scores whole stop codons
        for t in range(len(text)):
            if permitted(text, t, state, memory):
                total = 0.0 if of_class is None else classes[t, of_class]
                total += 0.0 if of_site is None else sites[t, of_site]
                assert found[t, i] == pytest.approx(total, abs=1e-5), (state, t)
            else:
                assert found[t, i] <= 0.99 * NEG, (state, t)
    assert np.asarray(found).min() >= NEG


def test_groups_and_bits_are_those_of_the_names() -> None:
    for g in (TRAINING, DECODING):
        members = {
            name: {s for s, value in zip(g.graph.states, row, strict=True) if value} for name, row in g.groups.items()
        }
        assert members["start"] == {"S"}
        assert members["stop"] == {s for s in g.graph.states if s[0] == "T"}
        assert members["coding"] == {s for s in g.graph.states if s[0] in "S123T"}
        assert members["intron"] == set(g.graph.states) - members["coding"] - {"I"}
        assert members["donor"] == {s for s in g.graph.states if s[0] == "D"}
        assert members["acceptor"] == {s for s in g.graph.states if s[0] == "A"}
    names = TRAINING.graph.states
    classes = [{s for i, s in enumerate(names) if bits >> i & 1} for bits in TRAINING.class_bits.tolist()]
    assert classes[:3] == [{"S", "1"}, {"2s", "2"}, {"3", "T"}]
    assert classes[3] == {s for s in names if s[0] in "DNMA"}
    sites = {site: {s for i, s in enumerate(names) if bits >> i & 1} for site, bits in TRAINING.site_bits.items()}
    assert sites == {"start": {"S"}, "stop": {"T"}, "donor": {"D0", "D1", "D2"}, "acceptor": {"A0", "A1", "A2"}}
    assert DECODING.for_posteriors is TRAINING
    assert WITH_AT_AC.for_posteriors is not TRAINING
    assert WITH_AT_AC.for_posteriors is not None
    assert WITH_AT_AC.for_posteriors.graph == TRAINING.graph
    assert list(DECODING.groups) == list(TRAINING.groups)
    assert DECODING.sites == TRAINING.sites == ("start", "stop", "donor", "acceptor")
    assert set(TRAINING.graph.weights) == set(INITIAL_WEIGHTS)
    assert set(DECODING.graph.weights) <= set(DECODING.completed(INITIAL_WEIGHTS))


@pytest.mark.parametrize("length", [2, LONGEST_MINIMUM + 1])
def test_limits_of_the_shortest_intron(length: int) -> None:
    with pytest.raises(ValueError, match=f"min_intron is {length}; it must be 3 to {LONGEST_MINIMUM}"):
        grammar(length)


def test_a_path_can_name_every_state() -> None:
    longest = grammar(LONGEST_MINIMUM, memory=True)
    assert len(longest.graph.states) <= MAX_STATES < len(longest.graph.states) + len(eukaryote.KINDS)


# ---- decoding


def emissions_of(
    decoding: Grammar, codes: np.ndarray, classes: np.ndarray, sites: np.ndarray, code: CodeMasks = CODE
) -> np.ndarray:
    marks = np.asarray(decoding.marks(codes, code))
    return np.asarray(decoding.emissions(jnp.asarray(classes), jnp.asarray(sites), jnp.asarray(marks), impossible=NEG))


def assert_possible(decoding: Grammar, path: np.ndarray, text: str, memory: bool) -> None:
    """The path is one of the graph's and of the sequence's."""
    graph = decoding.graph
    names = [graph.states[s] for s in path]
    assert names[0] in dict(graph.initial)
    assert names[-1] in dict(graph.final)
    assert {*pairwise(names)} <= {(e.source, e.target) for e in graph.edges}
    assert all(permitted(text, t, state, memory) for t, state in enumerate(names))


def assert_readable(text: str, gene: tuple[Segments, bool, bool], min_intron: int = MIN_INTRON) -> None:
    """A gene says a protein, by plain Python."""
    segments, has_start, has_stop = gene
    assert all(s < e for s, e in segments)
    for (_, donor), (end, _) in pairwise(segments):
        intron = text[donor:end]
        assert len(intron) >= min_intron
        assert intron.startswith(("GT", "GCA"))
        assert intron.endswith("AG")
    spliced = "".join(text[s:e] for s, e in segments)
    assert len(spliced) % 3 == 0
    codons = [spliced[i : i + 3] for i in range(0, len(spliced), 3)]
    assert not set(codons[:-1]) & set(STOPS)
    assert (codons[-1] in STOPS) == has_stop
    if has_start:
        assert codons[0] == "ATG"


pieces = st.lists(
    st.sampled_from(
        ["ATG", "ATG", "GTAAG", "CAG", "TAG", "TAA", "TGA", "T", "TA", "TG", "GCA", "AG", "GT", "GCC", "AC", "N", "TGG"]
    ),
    min_size=1,
    max_size=60,
)


# shrinking takes minutes
@settings(max_examples=60, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
@given(st.lists(pieces, min_size=BATCH, max_size=BATCH), st.integers(0, 2**32 - 1), st.floats(-0.5, 2))
def test_every_decoded_gene_can_be_read(parts: list[list[str]], seed: int, bias: float) -> None:
    rng = np.random.default_rng(seed)
    texts = ["".join(p)[:PAD] for p in parts]
    emissions = []
    for text in texts:
        classes = (rng.normal(size=(len(text), 4), scale=1.5) + bias).astype(np.float32)
        sites = rng.normal(size=(len(text), 4), scale=2).astype(np.float32)
        emissions.append(emissions_of(DECODING, encode(text), classes, sites))
    for text, (score, path) in zip(texts, best_paths(DECODING, emissions), strict=True):
        assert score > 0.5 * NEG
        assert_possible(DECODING, path, text, memory=True)
        genes = transcripts(DECODING, path)
        for gene in genes:
            assert_readable(text, gene)
            (first, _), *_, (_, end) = (gene[0][0], *gene[0][-1:])
            assert gene[1] or DECODING.graph.states[path[0]] not in ("I", "S")
            assert 0 <= first < end <= len(text)
        assert all(a[0][-1][1] < b[0][0][0] for a, b in pairwise(genes))
        # genes are all that the path says, but for cut codons at the ends of the record
        coding = {t for segments, *_ in genes for s, e in segments for t in range(s, e)}
        said = {t for t, s in enumerate(path) if DECODING.graph.states[s][0] in "S123T"}
        assert coding <= said
        assert len(said - coding) <= 4


def asked(text: str, chain: Segments, strength: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Class and site scores that ask for one gene."""
    classes = np.full((len(text), 4), -strength, np.float32)
    coding = [t for s, e in chain for t in range(s, e)]
    classes[coding, np.arange(len(coding)) % 3] = strength
    for (_, donor), (end, _) in pairwise(chain):
        classes[donor:end, 3] = strength
    return classes, np.zeros((len(text), 4), np.float32)


def joined(exons: list[str], introns: list[str], before: str = "CC", after: str = "CCC") -> tuple[str, Segments]:
    """A sequence and the CDS segments of its gene."""
    text, chain = before, []
    for exon, intron in zip(exons, [*introns, after], strict=True):
        chain.append((len(text), len(text) + len(exon)))
        text += exon + intron
    return text, tuple(chain)


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("cut", [1, 2])
def test_a_stop_codon_cut_by_an_intron_is_found(stop: str, cut: int) -> None:
    text, chain = joined(["ATGGCCGCC" + stop[:cut], stop[cut:]], ["GTCCCCAG"])
    path = best_paths(DECODING, [emissions_of(DECODING, encode(text), *asked(text, chain))])[0][1]
    assert transcripts(DECODING, path) == [(chain, True, True)]
    last = DECODING.graph.states[path[chain[-1][1] - 1]]
    assert last == ("Tt" if cut == 1 else f"T{stop[1].lower()}")


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("cut", [1, 2])
def test_no_gene_reads_through_a_stop_codon_cut_by_an_intron(stop: str, cut: int) -> None:
    """However much the scores ask for it; without memory it would."""
    text, chain = joined(["ATGGCCGCC" + stop[:cut], stop[cut:] + "GCCGCCTAA"], ["GTCCCCAG"])
    classes, sites = asked(text, chain)
    plain = best_paths(TRAINING, [emissions_of(TRAINING, encode(text), classes, sites)])[0][1]
    assert transcripts(TRAINING, plain) == [(chain, True, True)]
    path = best_paths(DECODING, [emissions_of(DECODING, encode(text), classes, sites)])[0][1]
    assert_possible(DECODING, path, text, memory=True)
    genes = transcripts(DECODING, path)
    assert (chain, True, True) not in genes
    for gene in genes:
        assert_readable(text, gene)


@pytest.mark.parametrize(
    ("codon", "cut", "number"),
    [
        ("TGG", 1, 1),
        ("TTA", 1, 1),
        ("TAC", 2, 1),
        ("TGC", 2, 1),
        ("GTA", 1, 1),
        ("AGA", 2, 1),
        ("TGA", 2, 4),
        ("TAA", 1, 6),
    ],
)
def test_other_codons_cut_by_an_intron_are_read(codon: str, cut: int, number: int) -> None:
    """Among them a codon that stops in the standard code, in a code where it does not."""
    text, chain = joined(
        ["ATGGCC" + codon[:cut], codon[cut:] + "GCCTGA" if number != 4 else codon[cut:] + "GCCTAA"], ["GTCCCCAG"]
    )
    code = CodeMasks.of(GeneticCode.from_number(number, EUKARYOTIC_STARTS))
    path = best_paths(DECODING, [emissions_of(DECODING, encode(text), *asked(text, chain), code)])[0][1]
    assert transcripts(DECODING, path) == [(chain, True, True)]


def relaxed_path(whole: Grammar, text: str, chain: Segments) -> tuple[np.ndarray, Segments]:
    """The best path of a relaxed grammar where the scores ask for a gene, and where it breaks a constraint."""
    assert whole.relaxed
    small, codes = whole.relaxed.grammar, encode(text)
    path = best_paths(small, [emissions_of(small, codes, *asked(text, chain))])[0][1]
    assert transcripts(small, path) == [(chain, True, True)]
    return path, whole.relaxed.broken(path, np.asarray(whole.marks(codes, CODE)))


@pytest.mark.parametrize("base", "GC")
def test_a_start_codon_cut_by_an_intron_goes_on_behind_it(base: str) -> None:
    """The bases after AT are a donor's GT. Where the gene would begin with ATC, the path is said to be broken."""
    text, chain = joined(["AT", base + "GCCGCCTAA"], ["GTCCCCAG"])
    assert relaxed_path(DECODING, text, chain)[1] == (() if base == "G" else ((4, 12),))
    # the grammar that is left where something is broken has no such start codons
    path = best_paths(DECODING, [emissions_of(DECODING, encode(text), *asked(text, chain))])[0][1]
    assert not any(has_start for _, has_start, _ in transcripts(DECODING, path))


@pytest.mark.parametrize(
    ("intron", "in_order"),
    [
        ("ATATCCTTCCTTAACCCCCCCCAC", True),
        ("ATATCCTTGACCCCCCCCCCTAC", True),
        ("ATATCCTTCCTTAACCCCCCCCAG", False),
        ("GTATCCTTCCTTAACCCCCCCCAC", False),
        ("GTATCCTTCCTTAACCCCCCCCAG", True),
    ],
)
def test_ends_of_an_intron_belong_together(intron: str, in_order: bool) -> None:
    text, chain = joined(["ATGGCCGCCG", "CCGCCTAA"], [intron])
    assert relaxed_path(WITH_AT_AC, text, chain)[1] == (() if in_order else ((12, 12 + len(intron)),))
    plain = intron[:2] == "GT" and intron[-1] == "G"
    for decoding in (WITH_AT_AC, DECODING, TRAINING):
        e = emissions_of(decoding, encode(text), *asked(text, chain))
        assert (transcripts(decoding, best_paths(decoding, [e])[0][1]) == [(chain, True, True)]) == plain


def test_an_intron_that_runs_off_the_record_breaks_nothing() -> None:
    assert WITH_AT_AC.relaxed
    small = WITH_AT_AC.relaxed.grammar
    text = "CCATATCCTTCC"
    names = ["I", "I", "S", "2s", "D2", *["N2"] * 7]
    path = np.array([small.graph.index[s] for s in names], np.uint8)
    marks = np.asarray(WITH_AT_AC.marks(encode(text), CODE))
    assert WITH_AT_AC.relaxed.broken(path, marks) == ()
    assert WITH_AT_AC.relaxed.broken(path[4:], marks[4:]) == ()


def test_what_an_at_ac_intron_costs() -> None:
    assert WITH_AT_AC.relaxed
    codes = encode("CCATATCCTTCCGTCC")
    classes, sites = np.zeros((16, 4), np.float32), np.full((16, 4), 2, np.float32)
    e = emissions_of(WITH_AT_AC.relaxed.grammar, codes, classes, sites)
    donor = WITH_AT_AC.relaxed.grammar.graph.index["D0"]
    assert e[2, donor] == 2 + eukaryote.AT_AC_SCORE
    assert e[12, donor] == 2
    assert (np.delete(e[:, donor], [2, 12]) <= 0.99 * NEG).all()
    assert emissions_of(WITH_AT_AC, codes, classes, sites)[2, WITH_AT_AC.graph.index["D0"]] <= 0.99 * NEG


@pytest.mark.parametrize("length", [4, 5, 6, 9])
def test_the_shortest_intron(length: int) -> None:
    text, chain = joined(["ATGGCCGC", "CGCCTAA"], ["GT" + "C" * (length - 4) + "AG"])
    path = best_paths(DECODING, [emissions_of(DECODING, encode(text), *asked(text, chain))])[0][1]
    assert (transcripts(DECODING, path) == [(chain, True, True)]) == (length >= MIN_INTRON)


@pytest.mark.parametrize(
    ("exons", "introns", "before", "after", "expected", "ends"),
    [
        # off the left end in the middle of a codon: two bases of it do not count
        (["GCATGGCCTAA"], [], "", "CC", ((2, 11),), (False, True)),
        (["ATGGCCGCCGC"], [], "CC", "", ((2, 11),), (True, False)),
        # a cut codon that an intron cuts again: the exon with its rest goes, and the intron with it
        (["C", "GGCCTAA"], ["GTCCCAG"], "", "CC", ((9, 15),), (False, True)),
    ],
)
def test_genes_off_the_record(
    exons: list[str],
    introns: list[str],
    before: str,
    after: str,
    expected: Segments,
    ends: tuple[bool, bool],
) -> None:
    text, chain = joined(exons, introns, before, after)
    shift = (-sum(e - s for s, e in chain)) % 3 if ends[1] and not ends[0] else 0
    classes = np.full((len(text), 4), -6, np.float32)
    coding = [t for s, e in chain for t in range(s, e)]
    classes[coding, (np.arange(len(coding)) + shift) % 3] = 6
    for (_, donor), (end, _) in pairwise(chain):
        classes[donor:end, 3] = 6
    sites = np.zeros((len(text), 4), np.float32)
    path = best_paths(DECODING, [emissions_of(DECODING, encode(text), classes, sites)])[0][1]
    assert transcripts(DECODING, path) == [(expected, *ends)]


def test_a_record_inside_an_intron_holds_no_gene() -> None:
    names = TRAINING.graph.index
    assert transcripts(TRAINING, np.full(9, names["N1"], np.uint8)) == []
    assert transcripts(TRAINING, np.zeros(9, np.uint8)) == []
    assert transcripts(TRAINING, np.array([names["2"], names["3"], names["D0"], names["M0"]], np.uint8)) == []


def test_best_path_is_the_best_of_all() -> None:
    """Against every path of the graph, those that the sequence forbids left out, one by one."""
    rng = np.random.default_rng(2)
    seen = set()
    for text in ("ATGGTCAGTAA", "TGGTAGATAAC", "CATGTGTCAGA", "CCAGTAGTAGT") * 3:
        classes = rng.normal(size=(len(text), 4)).astype(np.float32) + np.float32([1, 1, 1, 1])
        e = emissions_of(TRAINING, encode(text), classes, rng.normal(size=(len(text), 4)).astype(np.float32))
        paths, totals = _all_paths(e)
        assert len(paths) > 20
        score, path = best_paths(TRAINING, [e])[0]
        assert score == pytest.approx(totals.max(), abs=0.02)
        assert tuple(path) == paths[int(totals.argmax())]
        seen |= {TRAINING.graph.states[s][0] for s in path}
    assert seen >= {"D", "A", "S", "T"}


def _all_paths(e: np.ndarray) -> tuple[list[tuple[int, ...]], np.ndarray]:
    graph, scores = TRAINING.graph, TRAINING.graph.scores(WEIGHTS)
    initial, final, edges = (np.asarray(x, float) for x in (scores.initial, scores.final, scores.edges))
    after: dict[int, list[tuple[int, float]]] = {s: [] for s in range(len(graph.states))}
    for k, edge in enumerate(graph.edges):
        after[graph.index[edge.source]].append((graph.index[edge.target], float(edges[k])))
    paths = [((s,), initial[s] + float(e[0, s])) for s in after if initial[s] + e[0, s] > 0.5 * NEG]
    for row in e[1:]:
        paths = [((*p, b), v + w + float(row[b])) for p, v in paths for b, w in after[p[-1]] if row[b] > 0.5 * NEG]
    complete = [(p, v + final[p[-1]]) for p, v in paths if final[p[-1]] > 0.5 * NEG]
    return [p for p, _ in complete], np.array([v for _, v in complete])


# ---- labels


def spliced_genes(rng: np.random.Generator, genes: int) -> tuple[str, list[Segments]]:
    """Genes with up to four introns, of every length from the shortest, one exon of one base among them."""
    text, chains = "".join(rng.choice(list("ACGT"), rng.integers(0, 12))), []
    for _ in range(genes):
        text += "".join(rng.choice(list("ACGT"), rng.integers(1, 6)))
        body = "".join(rng.choice(["GCC", "TGG", "AAG", "TTC", "GTA", "CAG"], rng.integers(0, 12)))
        coding = "ATG" + body + str(rng.choice(STOPS))
        # the stop codon and the first two bases stay together
        cuts = sorted(set(rng.integers(2, len(coding) - 2, rng.integers(0, 5)).tolist()))
        if cuts and len(coding) > 12 and rng.random() < 0.3:
            cuts = sorted({*cuts, cuts[0] + 1} & set(range(2, len(coding) - 2)))
        exons = [coding[a:b] for a, b in pairwise([0, *cuts, len(coding)])]
        chain = []
        for i, exon in enumerate(exons):
            chain.append((len(text), len(text) + len(exon)))
            text += exon
            if i < len(cuts):
                text += str(rng.choice(["GT", "GCA"])) + "".join(rng.choice(list("ACGT"), rng.integers(0, 9))) + "AG"
        chains.append(tuple(chain))
    return text + "C" * int(rng.integers(1, 8)), chains


def expected_roles(length: int, chains: list[Segments]) -> list[set[str]]:
    """Names of the states of each base."""
    roles: list[set[str]] = [{"I"} for _ in range(length)]
    for chain in chains:
        coding = 0
        for n, (s, e) in enumerate(chain):
            if n:
                phase = coding % 3
                for t in range(chain[n - 1][1], s):
                    roles[t] = {f"N{phase}", f"M{phase}"}
                roles[chain[n - 1][1]], roles[s - 1] = {f"D{phase}"}, {f"A{phase}"}
            for t in range(s, e):
                roles[t] = {"123"[coding % 3]}
                coding += 1
        roles[chain[0][0]], roles[chain[0][0] + 1], roles[chain[-1][1] - 1] = {"S"}, {"2s"}, {"T"}
    return roles


def names_of(allowed: np.ndarray) -> list[set[str]]:
    return [{s for i, s in enumerate(TRAINING.graph.states) if bits >> i & 1} for bits in allowed.tolist()]


def path_through(text: str, roles: list[set[str]]) -> np.ndarray | None:
    """A path of the graph through allowed states that the sequence permits, None if there is none."""
    graph = TRAINING.graph
    came: list[dict[str, str]] = []
    reached = {s: "" for s in roles[0] & set(dict(graph.initial)) if permitted(text, 0, s, False)}
    for t in range(1, len(text)):
        came.append(reached)
        reached = {
            e.target: e.source
            for e in graph.edges
            if e.source in reached and e.target in roles[t] and permitted(text, t, e.target, False)
        }
    ends = [s for s in reached if s in dict(graph.final)]
    if not ends:
        return None
    path = [ends[0]]
    for before in [reached, *came[:0:-1]]:
        path.append(before[path[-1]])
    return np.array([graph.index[s] for s in reversed(path)], np.uint8)


@settings(max_examples=80)
@given(st.integers(0, 2**32 - 1))
def test_labels_say_the_genes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text, chains = spliced_genes(rng, int(rng.integers(1, 4)))
    marks = eukaryote_marks.marks(encode(text), CODE)
    allowed, left_out = lattice(len(text), [chains[i] for i in rng.permutation(len(chains))], marks)
    assert not left_out
    assert allowed.dtype == np.uint32
    assert names_of(allowed) == expected_roles(len(text), chains)
    assert TRAINING.whole(allowed) == chains
    path = path_through(text, names_of(allowed))
    assert path is not None
    assert transcripts(TRAINING, path) == [(chain, True, True) for chain in chains]
    # and of a path of known states the same genes are read
    assert TRAINING.whole(1 << path.astype(np.int64)) == chains


def test_whole_wants_certain_states_and_both_ends() -> None:
    text, (chain,) = spliced_genes(np.random.default_rng(4), 1)
    allowed, _ = lattice(len(text), [chain], eukaryote_marks.marks(encode(text), CODE))
    middle = (chain[0][0] + chain[-1][1]) // 2
    for place in (chain[0][0], middle, chain[-1][1] - 1):
        unsure = allowed.copy()
        unsure[place] = ANY
        assert TRAINING.whole(unsure) == []
    assert TRAINING.whole(allowed[middle:]) == []
    assert TRAINING.whole(allowed[:middle]) == []
    assert TRAINING.whole(np.full(20, ANY)) == []
    assert TRAINING.whole(allowed[:0]) == []


GOOD = "GTCCCAG"
LEFT_OUT = {
    "a donor that is neither GT nor GCA": (["ATGGCC", "GCCTAA"], ["GCCCCAG"]),
    "an acceptor that is not AG": (["ATGGCC", "GCCTAA"], ["GTCCCAC"]),
    "AT-AC": (["ATGGCC", "GCCTAA"], ["ATATCCAC"]),
    "an intron of two bases": (["ATGGCC", "GCCTAA"], ["AG"]),
    "a start codon cut after its first base": (["A", "TGGCCTAA"], [GOOD]),
    "a cut start codon that does not go on": (["AT", "CGCCTAA"], [GOOD]),
    "a stop codon cut by an intron": (["ATGGCCTA", "A"], [GOOD]),
    "no whole number of codons": (["ATGGCC", "GCTAA"], [GOOD]),
    "another start codon": (["CTGGCC", "GCCTAA"], [GOOD]),
    "no stop codon": (["ATGGCC", "GCCTAC"], [GOOD]),
}


@pytest.mark.parametrize("why", LEFT_OUT)
def test_what_cannot_be_said_is_left_open(why: str) -> None:
    text, chain = joined(*LEFT_OUT[why])
    other, beside = joined(["ATGGCC", "GCCTAA"], [GOOD])
    marks = eukaryote_marks.marks(encode(text + other), CODE)
    moved = tuple((s + len(text), e + len(text)) for s, e in beside)
    allowed, left_out = lattice(len(text + other), [moved, chain], marks)
    assert left_out == [1]
    assert (allowed[chain[0][0] : chain[-1][1]] == ANY).all()
    expected = expected_roles(len(text + other), [moved])
    found = names_of(allowed)
    assert found[: chain[0][0]] + found[chain[-1][1] :] == expected[: chain[0][0]] + expected[chain[-1][1] :]
    assert path_through(text + other, found) is not None


@pytest.mark.parametrize("gap", [-4, 0, 1])
def test_genes_that_overlap_or_touch(gap: int) -> None:
    """Between two genes lies a base of none: without it, or with an overlap, the second is left open."""
    first, second = "ATGGCCATGACCTAA", "ATGACCAAAGCCTAA"
    text = "CC" + first[: len(first) + min(gap, 0)] + "C" * max(gap, 0) + second + "CC"
    begin = 2 + len(first) + gap
    chains = [((2, 2 + len(first)),), ((begin, begin + len(second)),)]
    codes = encode(text)
    codes[begin : begin + 3] = encode("ATG")
    codes[14:17] = encode("TAA")
    if gap == -4:
        codes[13:17] = encode("ATGA")
    marks = eukaryote_marks.marks(codes, CODE)
    allowed, left_out = lattice(len(text), chains, marks)
    assert left_out == ([] if gap > 0 else [1])
    assert path_through(decode(codes), names_of(allowed)) is not None
