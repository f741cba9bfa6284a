from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyhmmer
import pytest
from command import run
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_samples import FAMILY, random_profile

from lstmhmm_bio.profiles.align import Path as ProfilePath
from lstmhmm_bio.profiles.align import align_paths, encode_posteriors, judged, lay_out
from lstmhmm_bio.profiles.build import build_profile
from lstmhmm_bio.profiles.hmmfile import read_profiles, write_profile
from lstmhmm_bio.profiles.msa import Alignment, read_alignments
from lstmhmm_bio.profiles.profile import AMINO, DNA, Alphabet, Profile
from lstmhmm_bio.profiles.sequences import Sequence, read_sequences

FAMILIES = Path(__file__).parents[1].parent / "shared" / "data" / "valid" / "families"
PROFILE = build_profile(FAMILY, "family")


#: columns of transitions out of M, I and D
_OUT = ((0, 3), (3, 5), (5, 7))


def emit(profile: Profile, rng: np.random.Generator, flank: int = 6) -> str:
    """A sequence from a profile, between random flanks."""
    alphabet = profile.alphabet
    letters = list(rng.choice(list(alphabet.letters), rng.integers(0, flank)))
    k, state = 0, 0
    while True:
        t = profile.transitions[k] / np.repeat([profile.transitions[k, i:j].sum() for i, j in _OUT], (3, 2, 2))
        if state == 0:
            state = rng.choice(3, p=t[:3])
        elif state == 1:
            state = rng.choice(2, p=t[3:5])
        else:
            state = 2 * rng.choice(2, p=t[5:])
        k += state != 1
        if k > profile.length:
            break
        if state != 2:
            emission = profile.match[k - 1] if state == 0 else profile.insert[k]
            letters.append(alphabet.letters[rng.choice(alphabet.size, p=emission / emission.sum())])
    return "".join([*letters, *rng.choice(list(alphabet.letters), rng.integers(0, flank))])


def records_of(alphabet: Alphabet, sequences: list[str]) -> list[Sequence]:
    return [Sequence(f"s{i}", "", alphabet.encode(s)) for i, s in enumerate(sequences)]


def write_hmm(profile: Profile, path: Path) -> Path:
    handle = io.StringIO()
    write_profile(handle, profile)
    path.write_text(handle.getvalue())
    return path


def hmmalign(path: Path, records: list[Sequence], *, trim: bool = False) -> pyhmmer.easel.MSA:
    with pyhmmer.plan7.HMMFile(path) as file:
        hmm = file.read()
    block = pyhmmer.easel.DigitalSequenceBlock(hmm.alphabet)
    alphabet = next(read_profiles(str(path))).alphabet
    for record in records:
        text = pyhmmer.easel.TextSequence(name=record.id, sequence=alphabet.decode(record.codes))
        block.append(text.digitize(hmm.alphabet))
    return pyhmmer.hmmer.hmmalign(hmm, block, trim=trim)


def texts(rows: np.ndarray | None) -> list[str]:
    assert rows is not None
    return [row.tobytes().decode() for row in rows]


@pytest.mark.parametrize("trim", [False, True])
def test_layout_is_hmmaligns(tmp_path: Path, trim: bool) -> None:
    rng = np.random.default_rng(3)
    records = records_of(AMINO, [emit(PROFILE, rng) for _ in range(40)])
    path = write_hmm(PROFILE, tmp_path / "x.hmm")
    profile = next(read_profiles(str(path)))
    ours = lay_out(profile, records, align_paths(profile, [r.codes for r in records]), trim=trim)
    theirs = hmmalign(path, records, trim=trim)
    assert texts(ours.rows) == list(theirs.alignment)
    assert ours.columns["RF"] == theirs.reference
    assert ours.columns["PP_cons"] == theirs.posterior_probabilities


@settings(max_examples=8)
@given(length=st.integers(2, 40), seed=st.integers(0, 10_000), alphabet=st.sampled_from([AMINO, DNA]))
def test_agrees_with_hmmalign_on_random_profiles(
    tmp_path_factory: pytest.TempPathFactory, length: int, seed: int, alphabet: Alphabet
) -> None:
    path = write_hmm(random_profile(alphabet, length, seed), tmp_path_factory.mktemp("align") / "x.hmm")
    profile = next(read_profiles(str(path)))
    rng = np.random.default_rng(seed)
    records = records_of(alphabet, [emit(profile, rng)[:120] or alphabet.letters[0] for _ in range(8)])
    ours = lay_out(profile, records, align_paths(profile, [r.codes for r in records]))
    theirs = hmmalign(path, records)
    residues = agreeing = 0
    for row, other in zip(texts(ours.rows), theirs.alignment, strict=True):
        mine, its = placed(row, ours.columns["RF"]), placed(other, theirs.reference)
        residues += len(mine)
        agreeing += sum(x == y for x, y in zip(mine, its, strict=True))
    # paths of equal accuracy can differ
    assert agreeing >= 0.9 * residues


def placed(row: str, rf: str) -> list[tuple[int, bool]]:
    """Consensus column (from 1; of an insertion the one before it) of each residue, and whether it is inserted."""
    places, k = [], 0
    for letter, mark in zip(row, rf, strict=True):
        k += mark != "."
        if letter not in "-.":
            places.append((k, mark == "."))
    return places


def test_odd_sequences() -> None:
    sequences = [
        "",
        "M",
        "*",
        "XXXX",
        "WWWWWWWWWWWWWW",
        "MKIAVIG*AGVMGSGI",
        FAMILY.rows[0].tobytes().decode().replace("-", ""),
    ]
    records = records_of(AMINO, [s.upper() for s in sequences])
    paths = align_paths(PROFILE, [r.codes for r in records])
    alignment = lay_out(PROFILE, records, paths)
    for row, sequence, path in zip(texts(alignment.rows), sequences, paths, strict=True):
        assert row.replace("-", "").replace(".", "").upper() == sequence.upper()
        assert np.isfinite(path.posterior).all()
        assert (np.diff(path.node) >= 0).all()


def test_order_and_batches_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    codes = [AMINO.encode(emit(PROFILE, rng, 40)) for _ in range(12)]
    together = align_paths(PROFILE, codes)
    backwards = align_paths(PROFILE, codes[::-1])[::-1]
    alone = [align_paths(PROFILE, [c])[0] for c in codes]
    for a, b, c in zip(together, backwards, alone, strict=True):
        assert (a.node == b.node).all()
        assert (a.node == c.node).all()
        np.testing.assert_allclose(a.posterior, c.posterior, atol=1e-5)


def test_paths_are_judged_as_they_were_decoded() -> None:
    sequences = [AMINO.encode(s) for s in ("MKVLAAGIVGLC", "WWMKVLAAGI*GLCWW", "MKGLC", "")]
    paths = align_paths(PROFILE, sequences, "glocal")
    blank = [ProfilePath(p.node, p.is_match, np.zeros_like(p.posterior)) for p in paths]
    for path, again in zip(paths, judged(PROFILE, sequences, blank), strict=True):
        np.testing.assert_allclose(again.posterior, path.posterior, atol=1e-6)


def test_encoding_of_posteriors() -> None:
    assert encode_posteriors(np.array([0.0, 0.049, 0.051, 0.5, 0.94, 0.951, 1.0])).tobytes() == b"00159**"


def test_command(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    hmm = write_hmm(PROFILE, tmp_path / "x.hmm")
    sequences = [emit(PROFILE, rng) for _ in range(5)]
    fasta = tmp_path / "s.fa"
    fasta.write_text("".join(f">s{i} word{i}\n{s}\n" for i, s in enumerate(sequences)))
    results = {}
    for ending in ("sto", "a2m", "afa"):
        out = tmp_path / f"out.{ending}"
        assert run("align", fasta, "--profile", hmm, "-o", out) == (
            result := run("align", fasta, "--profile", hmm, "-o", out)
        )
        assert result.code == 0, result.err
        (results[ending],) = read_alignments(str(out))
    sto = results["sto"]
    assert sto.names == tuple(f"s{i}" for i in range(5))
    assert sto.descriptions == tuple(f"word{i}" for i in range(5))
    assert sto.posteriors is not None
    assert texts(results["afa"].rows) == [row.replace(".", "-") for row in texts(sto.rows)]
    assert results["a2m"].columns["RF"].count("x") == PROFILE.length
    assert [r.replace(".", "") for r in texts(results["a2m"].rows)] == [r.replace(".", "") for r in texts(sto.rows)]
    assert run("align", fasta, "--profile", hmm).out == (tmp_path / "out.sto").read_text()


def test_command_refuses(tmp_path: Path) -> None:
    hmm = write_hmm(PROFILE, tmp_path / "x.hmm")
    two = tmp_path / "two.hmm"
    two.write_text(hmm.read_text() * 2)
    fasta = tmp_path / "s.fa"
    fasta.write_text(">a\nMK\n>a\nMK\n")
    for arguments, code, message in (
        ((fasta, "--profile", hmm), 1, "two records are named 'a'"),
        ((fasta, "--profile", two), 2, "holds 2 profiles"),
        ((fasta, "--profile", hmm, "-o", tmp_path / "x.txt"), 2, "no alignment format"),
        ((fasta, "--profile", hmm, "-o", fasta), 2, "is an input and an output"),
        ((fasta, "--profile", tmp_path / "no.hmm"), 1, "there is no such file"),
    ):
        result = run("align", *arguments)
        assert result.code == code
        assert message in result.err
        assert result.out == ""


@pytest.mark.data
@pytest.mark.skipif(not FAMILIES.exists(), reason="no real families beside the checkout")
def test_globins_as_hmmalign(tmp_path: Path) -> None:
    (profile,) = read_profiles(str(FAMILIES / "globins4.hmm.gz"))
    path = write_hmm(profile, tmp_path / "x.hmm")
    records = list(read_sequences(str(FAMILIES / "globins45.fa")))
    ours: Alignment = lay_out(profile, records, align_paths(profile, [r.codes for r in records]))
    assert texts(ours.rows) == list(hmmalign(path, records).alignment)
