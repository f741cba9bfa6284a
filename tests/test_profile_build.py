from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyhmmer
import pytest
from command import run
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_samples import FAMILY, alignment_of, random_profile

from lstmhmm_bio.errors import InputError
from lstmhmm_bio.profiles.build import build_profile, count, digitise, max_length
from lstmhmm_bio.profiles.calibrate import calibrate, gumbel_location, tail_location
from lstmhmm_bio.profiles.hmmfile import read_profiles
from lstmhmm_bio.profiles.msa import Alignment, read_alignments, write_alignment
from lstmhmm_bio.profiles.priors import prior_of
from lstmhmm_bio.profiles.profile import AMINO, DNA, Profile
from lstmhmm_bio.profiles.weights import GAP, position_based_weights

FAMILIES = Path(__file__).parents[1].parent / "shared" / "data" / "valid" / "families"


def hmmer_build(
    alignment: Alignment, path: Path, alphabet: pyhmmer.easel.Alphabet, **options: float
) -> pyhmmer.plan7.HMM:
    with path.open("w") as handle:
        write_alignment(handle, alignment, "stockholm")
    with pyhmmer.easel.MSAFile(path, digital=True, alphabet=alphabet) as file:
        msa = file.read()
    msa.name = "x"
    builder = pyhmmer.plan7.Builder(alphabet, **options)
    return builder.build_msa(msa, pyhmmer.plan7.Background(alphabet))[0]


def assert_equal_profiles(ours: Profile, theirs: pyhmmer.plan7.HMM) -> None:
    assert ours.length == theirs.M
    assert ours.effective == pytest.approx(theirs.nseq_effective, rel=1e-5)
    np.testing.assert_allclose(ours.match, np.array(theirs.match_emissions)[1:], atol=2e-6)
    np.testing.assert_allclose(ours.insert, np.array(theirs.insert_emissions), atol=2e-6)
    np.testing.assert_allclose(ours.transitions, np.array(theirs.transition_probabilities), atol=2e-6)
    np.testing.assert_allclose(ours.composition, np.array(theirs.composition), atol=2e-6)
    assert ours.consensus == theirs.consensus


def test_equals_hmmbuild(tmp_path: Path) -> None:
    assert_equal_profiles(
        build_profile(FAMILY, "x"), hmmer_build(FAMILY, tmp_path / "x.sto", pyhmmer.easel.Alphabet.amino())
    )


@settings(max_examples=30)
@given(
    sequences=st.integers(1, 12),
    columns=st.integers(3, 25),
    gaps=st.floats(0, 0.7),
    seed=st.integers(0, 10_000),
)
def test_equals_hmmbuild_on_random_alignments(
    tmp_path_factory: pytest.TempPathFactory, sequences: int, columns: int, gaps: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWYBXZ", np.uint8)
    ancestor = rng.choice(20, columns)
    mutated = np.where(rng.random((sequences, columns)) < 0.5, rng.choice(23, (sequences, columns)), ancestor)
    rows = np.where(rng.random(mutated.shape) < gaps, ord("-"), letters[mutated]).astype(np.uint8)
    rows[:, 0] = letters[ancestor[0]]  # no sequence is empty
    alignment = Alignment(tuple(f"s{i}" for i in range(sequences)), rows)
    path = tmp_path_factory.mktemp("build") / "x.sto"
    # fragments that end in an insertion are counted a little differently
    theirs = hmmer_build(alignment, path, pyhmmer.easel.Alphabet.amino(), fragthresh=0)
    assert_equal_profiles(build_profile(alignment, "x", alphabet=AMINO, fragthresh=0), theirs)


def test_annotation_is_kept() -> None:
    columns = {"RF": "x" * 10 + "." + "x" * (FAMILY.rows.shape[1] - 11), "SS_cons": "H" * FAMILY.rows.shape[1]}
    facts = {"ID": "Fam", "AC": "X1.1", "DE": "words of it", "GA": "25.0 20.0;", "TC": "30"}
    annotated = Alignment(FAMILY.names, FAMILY.rows, columns=columns, facts=facts)
    profile = build_profile(annotated, "file", hand=True)
    assert profile.map == tuple(c + 1 for c, letter in enumerate(columns["RF"]) if letter == "x")
    assert (profile.name, profile.accession, profile.description) == ("Fam", "X1.1", "words of it")
    assert profile.cutoffs == {"GA": (25.0, 20.0), "TC": (30.0, 30.0)}
    assert profile.rf == "x" * profile.length
    assert profile.cs == "H" * profile.length


def test_weights_of_a_published_example() -> None:
    # Henikoff and Henikoff 1994, their first example
    codes = digitise(alignment_of("a GYVGS\nb GFDGF\nc GYDGF\nd GYQGG"), AMINO)
    weights = position_based_weights(codes, 20, np.ones(5, bool))
    np.testing.assert_allclose(weights / 4, np.array([4, 4, 3, 4]) / 15)


def test_twins_share_their_weight() -> None:
    codes = digitise(alignment_of("a MKVLAW\nb MKVLAW\nc GRTPEY"), AMINO)
    weights = position_based_weights(codes, 20, np.ones(6, bool))
    np.testing.assert_allclose(weights, [0.75, 0.75, 1.5])


def test_counts_by_hand() -> None:
    # columns:     M M i i M
    alignment = alignment_of("a AC..D\nb A-eeD\nc ACk.-\nd -C..D")
    codes = digitise(alignment, AMINO)
    assert (codes == GAP).sum() == 8
    counts = count(codes, np.ones(4), np.array([True, True, False, False, True]), AMINO)
    letters = AMINO.letters
    # b's first e moves into the gap before it, c's k into the one behind it
    assert counts.match[1, letters.index("E")] == 1
    assert counts.match[2, letters.index("K")] == 1
    assert counts.match.sum() == 11
    assert counts.insert[2].sum() == counts.insert[2, letters.index("E")] == 1
    assert counts.transitions[0].tolist() == [3, 0, 1, 0, 0, 0, 0]
    assert counts.transitions[1].tolist() == [3, 0, 0, 0, 0, 1, 0]
    assert counts.transitions[2].tolist() == [3, 1, 0, 1, 0, 0, 0]
    assert counts.transitions[3].tolist() == [4, 0, 0, 0, 0, 0, 0]


def test_mean_posterior_of_one_component() -> None:
    prior = prior_of(DNA).from_match
    alpha = prior.alphas[0]
    counts = np.array([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    expected = (counts + alpha) / (counts.sum(axis=1, keepdims=True) + alpha.sum())
    np.testing.assert_allclose(prior.mean_posterior(counts), expected)


def test_mean_posterior_of_a_mixture_by_integration() -> None:
    """E[p | counts] by sampling p from the prior and weighing it by its likelihood."""
    prior = prior_of(DNA).match
    rng = np.random.default_rng(0)
    component = rng.choice(len(prior.weights), 200_000, p=prior.weights)
    p = np.empty((len(component), 4))
    for q, alpha in enumerate(prior.alphas):
        p[component == q] = rng.dirichlet(alpha, np.count_nonzero(component == q))
    counts = np.array([2.0, 0.0, 1.0, 0.5])
    likelihood = np.exp(np.log(np.maximum(p, 1e-300)) @ counts)
    np.testing.assert_allclose(prior.mean_posterior(counts), likelihood @ p / likelihood.sum(), atol=0.01)


def test_max_length_by_simulation() -> None:
    profile = random_profile(DNA, 12, 5)
    rng = np.random.default_rng(0)
    lengths = []
    for _ in range(3000):
        k, state, emitted = 0, 0, 0
        while True:
            t = profile.transitions[k]
            choice = rng.choice(3, p=t[:3]) if state == 0 else 0
            if state == 1:
                choice = rng.choice(2, p=t[3:5])
            elif state == 2:
                choice = 2 * rng.choice(2, p=t[5:])
            if choice == 1:
                state, emitted = 1, emitted + 1
                continue
            k, state = k + 1, choice
            if k > profile.length:
                break
            emitted += state == 0
        lengths.append(emitted)
    assert max(lengths) <= max_length(profile) <= 4 * max(lengths)


def test_no_consensus_and_wrong_letters() -> None:
    with pytest.raises(InputError, match="x: no column is a consensus column"):
        build_profile(alignment_of("a AC--\nd --GT"), "x", alphabet=DNA, fragthresh=0, symfrac=1)
    with pytest.raises(InputError, match="'a': position 1 holds E, which is no letter of the DNA alphabet"):
        build_profile(alignment_of("a EK"), "x", alphabet=DNA)
    with pytest.raises(InputError, match="no RF line"):
        build_profile(FAMILY, "x", hand=True)


def test_gumbel_location_and_tail() -> None:
    rng = np.random.default_rng(1)
    scores = rng.gumbel(-7.0, 1 / 0.69, 20_000)
    assert gumbel_location(scores, 0.69) == pytest.approx(-7.0, abs=0.05)
    # a Gumbel distribution's own tail is exponential, from its location on
    assert tail_location(scores, 0.69) == pytest.approx(-7.0, abs=0.1)


def test_calibration_agrees_with_hmmer(tmp_path: Path) -> None:
    hmm = hmmer_build(FAMILY, tmp_path / "x.sto", pyhmmer.easel.Alphabet.amino())
    theirs = list(hmm.evalue_parameters.as_vector())
    ours = calibrate(build_profile(FAMILY, "x")).statistics
    for name, location, slope in zip(ours, theirs[::2], theirs[1::2], strict=True):
        assert ours[name][0] == pytest.approx(location, abs=0.6)  # 200 random sequences each
        assert ours[name][1] == pytest.approx(slope, abs=1e-4)


def test_command(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with (tmp_path / f"{name}.sto").open("w") as handle:
            write_alignment(handle, Alignment(FAMILY.names, FAMILY.rows, facts={"ID": name}), "stockholm")
    both = tmp_path / "both.sto"
    both.write_text((tmp_path / "one.sto").read_text() + (tmp_path / "two.sto").read_text())
    assert run("profile", "build", both, "-o", tmp_path / "x.hmm").code == 0
    first, second = read_profiles(str(tmp_path / "x.hmm"))
    assert (first.name, second.name) == ("one", "two")
    assert set(first.statistics) == {"MSV", "VITERBI", "FORWARD"}
    assert first.statistics == second.statistics
    result = run("profile", "build", both, "-n", "name")
    assert result.code == 2
    assert "holds several alignments" in result.err
    result = run("profile", "build", tmp_path / "two.sto", "-n", "name")
    assert "NAME  name\n" in result.out
    assert result.code == 0
    result = run("profile", "build", tmp_path / "none.sto")
    assert (result.code, result.out) == (1, "")


@pytest.mark.data
@pytest.mark.skipif(not FAMILIES.exists(), reason="no real families beside the checkout")
@pytest.mark.parametrize("name", ["globins4.sto", "fn3.sto", "RRM_1.sto", "LuxC.sto"])
def test_equals_hmmbuild_on_real_alignments(tmp_path: Path, name: str) -> None:
    alignment = next(read_alignments(str(FAMILIES / name)))
    plain = Alignment(alignment.names, alignment.rows, columns=alignment.columns)
    assert_equal_profiles(
        build_profile(plain, "x"), hmmer_build(plain, tmp_path / "x.sto", pyhmmer.easel.Alphabet.amino())
    )


def test_written_profile_is_what_hmmer_would_search_with(tmp_path: Path) -> None:
    from lstmhmm_bio.profiles.hmmfile import write_profile

    handle = io.StringIO()
    write_profile(handle, calibrate(build_profile(FAMILY, "x")))
    path = tmp_path / "x.hmm"
    path.write_text(handle.getvalue())
    alphabet = pyhmmer.easel.Alphabet.amino()
    target = pyhmmer.easel.TextSequence(name="t", sequence="GSMKIAVIGAGVMGSGIAQVCAQAGYDVAVYDRNE").digitize(alphabet)
    with pyhmmer.plan7.HMMFile(path) as file:
        (hits,) = pyhmmer.hmmsearch(file, pyhmmer.easel.DigitalSequenceBlock(alphabet, [target]))
    assert hits[0].evalue < 1e-5


def test_show(tmp_path: Path) -> None:
    with (tmp_path / "fam.sto").open("w") as handle:
        write_alignment(handle, FAMILY, "stockholm")
    assert run("profile", "build", tmp_path / "fam.sto", "-o", tmp_path / "x.hmm").code == 0
    lines = run("profile", "show", tmp_path / "x.hmm").out.splitlines()
    facts = dict(line.split(None, 1) for line in lines)
    assert (facts["name"], facts["length"]) == ("fam", "32")
    assert facts["sequences"] == "5 (effective 5.00)"
    assert facts["consensus"].upper().startswith("MKVLVIG")
    for kind, magic in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        picture = tmp_path / f"logo.{kind}"
        assert run("profile", "show", tmp_path / "x.hmm", "-o", picture).code == 0
        assert picture.read_bytes().startswith(magic)
    result = run("profile", "show", tmp_path / "x.hmm", "-o", tmp_path / "logo.bmp")
    assert result.code == 2
    assert "a logo is drawn as .svg, .png, .pdf" in result.err


def test_heights_of_a_logo() -> None:
    from lstmhmm_bio.profiles.logo import heights

    profile = random_profile(DNA, 1, 1)
    profile.match[0] = [0.5, 0.5, 0, 0]
    np.testing.assert_allclose(heights(profile), [[0.5, 0.5, 0, 0]])
