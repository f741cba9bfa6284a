from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from command import REPOSITORY, run
from profile_samples import alignment_of, random_profile
from test_align import emit, records_of, texts

from lstmhmm_bio.errors import InputError
from lstmhmm_bio.profiles.align import align_group, align_paths, lay_out
from lstmhmm_bio.profiles.build import build_profile
from lstmhmm_bio.profiles.guide import guide_tree, tree_of, tree_weights, word_vectors
from lstmhmm_bio.profiles.hmmfile import read_profiles
from lstmhmm_bio.profiles.learn import align_insertions, learn_profile
from lstmhmm_bio.profiles.msa import Alignment, read_alignments
from lstmhmm_bio.profiles.profile import AMINO, DNA
from lstmhmm_bio.profiles.progressive import Group, Places, _align, progressive_alignment
from lstmhmm_bio.profiles.weights import GAP

sys.path.insert(0, str(REPOSITORY / "benchmarks"))


def family(members: int, length: int = 40, seed: int = 1) -> list[str]:
    """Sequences of one profile."""
    profile = random_profile(AMINO, length, seed)
    rng = np.random.default_rng(seed)
    return [emit(profile, rng, 3) for _ in range(members)]


@pytest.mark.parametrize("seed", range(5))
def test_pairwise_alignment_is_optimal(seed: int) -> None:
    """Against all alignments of two short sequences, one by one."""
    from lstmhmm_bio.profiles.progressive import _AT_ENDS, _EXTEND

    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 5, 2)
    scores = rng.normal(0, 3, (n, m))
    one, two, gap_open = rng.uniform(0.1, 1, n), rng.uniform(0.1, 1, m), 3.0

    def value(steps: list[int]) -> float:
        total, i, j, before = 0.0, 0, 0, 0
        for step in steps:
            if step == 0:
                total += scores[i, j]
            elif step == 1:
                total -= (_AT_ENDS if j in (0, m) else 1) * (_EXTEND if before == 1 else gap_open) * one[i]
            else:
                total -= (_AT_ENDS if i in (0, n) else 1) * (_EXTEND if before == 2 else gap_open) * two[j]
            i, j, before = i + (step != 2), j + (step != 1), step
        return total

    def every(i: int, j: int) -> list[list[int]]:
        if (i, j) == (n, m):
            return [[]]
        found = []
        for step in (0, 1, 2):
            if i + (step != 2) <= n and j + (step != 1) <= m:
                found += [[step, *rest] for rest in every(i + (step != 2), j + (step != 1))]
        # a gap in one directly before a gap in the other is only searched for in this order
        return [steps for steps in found if (2, 1) not in pairwise(steps)]

    best = max(value(steps) for steps in every(0, 0))
    assert value(_align(scores, one, two, gap_open).tolist()) == pytest.approx(best)


def test_progressive_alignment_keeps_the_sequences() -> None:
    sequences = [AMINO.encode(s) for s in family(12)]
    tree = guide_tree(word_vectors(sequences, AMINO))
    rows = progressive_alignment(sequences, tree, tree_weights(tree), AMINO)
    for row, codes in zip(rows, sequences, strict=True):
        assert (row[row != GAP] == codes).all()
    assert (rows != GAP).any(axis=0).all()


def test_columns_come_where_the_profile_has_them() -> None:
    """Residues that no matrix would pair stand in one column if the profile has them in one match state."""
    sequences = [AMINO.encode(s) for s in ("GGWGG", "GGPGGGG")]
    tree = np.array([[0.0, 1.0, 1.0, 2.0]])
    node = np.array([0, 1, 2, 3, 4, 0, 1, 1, 1, 2, 3, 4])
    sure = np.where(np.arange(12) < 9, 0.0, 1.0)
    sure[:5] = 1.0
    weights = np.ones(2)
    group = Group(np.array([1]), sequences[1][None])
    share = Places(np.array([0, 5]), node, sure, 5).of(group, weights)
    assert share.shape == (7, 5)
    assert [tuple(x) for x in np.argwhere(share)] == [(4, 2), (5, 3), (6, 4)]
    pair = [AMINO.encode(s) for s in ("AAAA", "AAAAAA")]
    for first in (0, 1, 2):
        node = np.concatenate([np.arange(4), np.clip(np.arange(6) - first, 0, 3)])
        sure = np.concatenate([np.ones(4), (np.arange(6) >= first) & (np.arange(6) < first + 4)])
        rows = progressive_alignment(pair, tree, weights, AMINO, places=Places(np.array([0, 4]), node, sure, 4))
        assert np.flatnonzero(rows[0] != GAP).tolist() == list(range(first, first + 4))


def test_identical_sequences_align_without_gaps() -> None:
    sequences = [AMINO.encode("MKVLAAGIVGLCAKAYLERGHEVTVL")] * 5
    tree = guide_tree(word_vectors(sequences, AMINO))
    rows = progressive_alignment(sequences, tree, tree_weights(tree), AMINO)
    assert rows.shape == (5, len(sequences[0]))


def test_trees_join_relatives_first() -> None:
    rows = np.array([AMINO.encode(s) for s in ("ACDEFGHIKL", "ACDEFGHIKM", "WYVTSRQPNM", "WYVTSRQPNL")])
    for tree in (tree_of(rows), guide_tree(word_vectors(list(rows), AMINO))):
        assert {frozenset(map(int, pair)) for pair in tree[:2, :2]} == {frozenset({0, 1}), frozenset({2, 3})}
    weights = tree_weights(tree_of(np.vstack([rows[:2], rows[:1], rows[2:3]])))
    assert weights[3] == max(weights)
    assert weights.mean() == pytest.approx(1)


def test_learned_alignment_of_relatives() -> None:
    """Sequences drawn from a profile are aligned as they were drawn, nearly."""
    from families import sum_of_pairs

    rng = np.random.default_rng(4)
    ancestor = rng.choice(20, 45)
    names, rows = [], []
    for i in range(16):
        codes = np.where(rng.random(45) < 0.35, rng.choice(20, 45), ancestor)
        start, gap = rng.integers(5, 35), rng.integers(0, 5)
        row = "".join(AMINO.letters[c] for c in codes)
        names.append(f"s{i}")
        rows.append(row[:start] + "-" * gap + row[start + gap :])
    truth = alignment_of("\n".join(f"{n} {r}" for n, r in zip(names, rows, strict=True)))
    records = records_of(AMINO, [r.replace("-", "") for r in rows])
    learned = learn_profile([r.codes for r in records], AMINO, "x")
    alignment = align_insertions(lay_out(learned.profile, records, learned.paths), AMINO)
    assert sum_of_pairs(truth, alignment) > 0.9
    assert abs(learned.profile.length - 45) <= 3


def test_insertions_are_aligned_afterwards() -> None:
    table = {
        "a": (b"Mwwykkpcdef...K", b"*9999999888...*"),
        "b": (b"Mwwykkp...cdefK", b"*999999...7777*"),
        "c": (b"M.............K", b"*.............*"),
    }
    rows, posteriors = (np.array([list(pair[i]) for pair in table.values()], np.uint8) for i in (0, 1))
    columns = {"RF": "x.............x", "PP_cons": "*.............*"}
    alignment = Alignment(tuple(table), rows, columns=columns, posteriors=posteriors)
    better = align_insertions(alignment, AMINO)
    assert texts(better.rows) == ["MwwykkpcdefK", "MwwykkpcdefK", "M..........K"]
    assert texts(better.posteriors) == ["*9999999888*", "*9999997777*", "*..........*"]
    assert better.columns == {"RF": "x..........x", "PP_cons": "*..........*"}


def test_of_many_insertions_those_of_long_sequences_are_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstmhmm_bio.profiles.learn._ALIGNED", 2)
    rows = np.array(
        [list(r) for r in (b"mwwykkpcdefKLM", b"..mwwykkdefKLM", b".........aaKLM", b"..........aKLM")], np.uint8
    )
    alignment = Alignment(tuple("abcd"), rows, columns={"RF": "...........xxx"})
    better = texts(align_insertions(alignment, AMINO).rows)
    assert [row.replace(".", "") for row in better] == ["mwwykkpcdefKLM", "mwwykkdefKLM", "aaKLM", "aKLM"]
    assert [better[1][better[0].index(x)] for x in "mwydef"] == list("mwydef")
    # those before a profile stand at the right
    assert [row[-5:] for row in better[2:]] == ["aaKLM", ".aKLM"]


def test_sequences_far_from_a_glocal_path() -> None:
    """A fragment of a long profile: the path through all of it underflows, and the local one is taken."""
    profile = random_profile(AMINO, 400, 1)
    codes = np.random.default_rng(0).choice(20, 60).astype(np.uint8)
    for path in (*align_paths(profile, [codes], "glocal"), *align_group(profile, codes[None])):
        assert ((path.posterior >= 0) & (path.posterior < 1.05)).all()


def test_a_group_takes_the_same_copy() -> None:
    rng = np.random.default_rng(3)
    ancestor = rng.choice(20, 30).astype(np.uint8)

    def drawn(changed: float) -> np.ndarray:
        return np.where(rng.random(30) < changed, rng.choice(20, 30), ancestor).astype(np.uint8)

    letters = [f"s{i} " + "".join(AMINO.letters[c] for c in drawn(0.2)) for i in range(10)]
    profile = build_profile(alignment_of("\n".join(letters)), "x", alphabet=AMINO)
    (single,) = align_group(profile, ancestor[None])
    (alone,) = align_paths(profile, [ancestor], "glocal")
    assert (single.node == alone.node).all()
    assert (single.is_match == alone.is_match).all()
    np.testing.assert_allclose(single.posterior, alone.posterior, atol=1e-5)
    # each alone takes the copy that is nearer, together the one that is nearer on average
    rows = np.array([np.r_[drawn(0.5), drawn(0.0)], np.r_[drawn(0.1), drawn(0.3)], np.r_[drawn(0.6), drawn(0.1)]])
    paths = align_group(profile, rows)
    for path in paths:
        assert (path.node[30:] == np.arange(1, 31)).all()
        assert path.is_match[30:].all()
        assert not path.is_match[:30].any()


def test_sum_of_pairs_by_hand() -> None:
    from families import sum_of_pairs

    reference = alignment_of("a AC-Dx\nb ACKDx\nc A-KDy")
    assert sum_of_pairs(reference, reference) == 1
    # pairs of the reference: 3 (A), 1 (C), 1 (K), 3 (D); small letters do not count
    assert sum_of_pairs(reference, alignment_of("a ACD-x\nb ACKDx\nc AK-Dy")) == pytest.approx((3 + 1 + 0 + 1) / 8)


def test_degenerate_families() -> None:
    with pytest.raises(InputError, match="two sequences or more"):
        learn_profile([AMINO.encode("MKV"), AMINO.encode("")], AMINO, "x")
    learned = learn_profile([AMINO.encode(s) for s in ("M", "", "WWX")], AMINO, "x")
    assert [len(path.node) for path in learned.paths] == [1, 0, 3]


def test_command(tmp_path: Path) -> None:
    fasta = tmp_path / "s.fa"
    fasta.write_text("".join(f">s{i}\n{s}\n" for i, s in enumerate(family(8, 30))))
    out, hmm = tmp_path / "out.afa", tmp_path / "x.hmm"
    assert run("align", "--learn", fasta, "-o", out, "--save", hmm).code == 0
    (alignment,) = read_alignments(str(out))
    assert [row.replace("-", "").upper() for row in texts(alignment.rows)] == family(8, 30)
    (profile,) = read_profiles(str(hmm))
    assert profile.name == "s"
    assert "FORWARD" in profile.statistics
    first = out.read_bytes()
    assert run("align", "--learn", fasta, "-o", out).code == 0
    assert out.read_bytes() == first
    for arguments, message in (
        ((fasta,), "give either --profile or --learn"),
        ((fasta, "--learn", "--profile", hmm), "give either --profile or --learn"),
        ((fasta, "--profile", hmm, "--save", tmp_path / "y.hmm"), "--save belongs to --learn"),
        (("-", "--learn"), "needs --alphabet"),
    ):
        result = run("align", *arguments)
        assert result.code == 2
        assert message in result.err


def test_nucleotides() -> None:
    rng = np.random.default_rng(0)
    ancestor = rng.choice(4, 50)
    codes = [np.where(rng.random(50) < 0.2, rng.choice(4, 50), ancestor).astype(np.uint8) for _ in range(10)]
    learned = learn_profile(codes, DNA, "x")
    assert abs(learned.profile.length - 50) <= 2
    assert learned.profile.max_length is not None
