from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pyhmmer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_samples import FAMILY, random_profile

from lstmhmm_bio.errors import InputError, UsageError
from lstmhmm_bio.profiles.hmmfile import read_profiles, write_profile
from lstmhmm_bio.profiles.msa import format_of_output, read_alignments, write_alignment
from lstmhmm_bio.profiles.profile import ALPHABETS, AMINO, DNA, RNA, Profile
from lstmhmm_bio.profiles.sequences import alphabet_of, guess_alphabet, read_sequences

FAMILIES = Path(__file__).parents[1].parent / "shared" / "data" / "valid" / "families"


def written(*profiles: Profile) -> str:
    handle = io.StringIO()
    for profile in profiles:
        write_profile(handle, profile)
    return handle.getvalue()


def annotated(alphabet_name: str, length: int, seed: int) -> Profile:
    from dataclasses import replace

    return replace(
        random_profile(ALPHABETS[alphabet_name], length, seed),
        accession="XY00001.3",
        description="A family with: odd description",
        rf="x" * length,
        cs="H" * length,
        map=tuple(range(3, 3 + length)),
        composition=np.full(ALPHABETS[alphabet_name].size, 1 / ALPHABETS[alphabet_name].size),
        cutoffs={"GA": (25.0, 20.5), "NC": (19.9, 18.0)},
        statistics={"MSV": (-8.5, 0.71), "VITERBI": (-9.25, 0.71), "FORWARD": (-3.5, 0.71)},
        nseq=12,
        effective=3.25,
        max_length=99,
        checksum=123456,
        date="Mon Jan  1 00:00:00 2024",
        commands=("first", "second"),
    )


@pytest.mark.parametrize("name", ["amino", "dna", "rna"])
def test_round_trip_keeps_every_line(tmp_path: Path, name: str) -> None:
    text = written(annotated(name, 7, 1), random_profile(ALPHABETS[name], 3, 2))
    (tmp_path / "x.hmm.gz").write_bytes(gzip.compress(text.encode()))
    again = list(read_profiles(str(tmp_path / "x.hmm.gz")))
    assert written(*again) == text
    assert again[0].map == (3, 4, 5, 6, 7, 8, 9)
    assert again[0].cutoffs == {"GA": (25.0, 20.5), "NC": (19.9, 18.0)}
    assert again[0].commands == ("first", "second")
    assert again[1].statistics == {}


@settings(max_examples=25)
@given(length=st.integers(1, 12), seed=st.integers(0, 1000), name=st.sampled_from(["amino", "dna"]))
def test_hmmer_reads_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, length: int, seed: int, name: str
) -> None:
    profile = annotated(name, length, seed)
    path = tmp_path_factory.mktemp("hmm") / "x.hmm"
    path.write_text(written(profile))
    with pyhmmer.plan7.HMMFile(path) as file:
        read = file.read()
    assert length == read.M
    np.testing.assert_allclose(np.array(read.match_emissions)[1:], profile.match, atol=2e-5)
    np.testing.assert_allclose(np.array(read.insert_emissions), profile.insert, atol=2e-5)
    np.testing.assert_allclose(np.array(read.transition_probabilities), profile.transitions, atol=2e-5)
    assert read.consensus == profile.consensus
    assert read.evalue_parameters.as_vector()[0] == pytest.approx(-8.5)
    again = next(read_profiles(str(path)))
    np.testing.assert_allclose(again.transitions, profile.transitions, rtol=1e-4)


def test_other_versions_of_the_format(tmp_path: Path) -> None:
    text = written(annotated("amino", 4, 3))
    old = []
    for line in text.splitlines():
        words = line.split()
        if line.startswith("HMMER3/f"):
            line = "HMMER3/b [3.0 | March 2010]"
        elif words[0] in {"1", "2", "3", "4"}:  # no consensus, no mask
            line = " ".join([*words[:22], words[23], words[25]])
        if words[0] not in {"CONS", "MM"}:
            old.append(line)
    path = tmp_path / "old.hmm"
    path.write_text("\n".join(old))
    profile = next(read_profiles(str(path)))
    assert profile.consensus == ""
    assert profile.rf == "xxxx"
    assert profile.cs == "HHHH"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "", "holds no profiles"),
        (lambda t: ">s\nACGT\n", "line 1: .*is not the start of a HMMER3 profile"),
        (lambda t: t.replace("HMMER3/f", "HMMER2.0"), "line 1: HMMER2.0 is not read; convert"),
        (lambda t: t.replace("LENG  4", "LENG  5"), r"node 5 should start here, not '//'"),
        (lambda t: t.replace("LENG  4", "LENG  four"), "line 5: LENG cannot be followed by 'four'"),
        (lambda t: t.replace("ALPH  amino", "ALPH  coins"), "'coins' is no alphabet"),
        (lambda t: t.replace("//", ""), "the file ends where // should come: it is truncated"),
        (lambda t: t.replace("*\n", "\n", 1), "6 numbers instead of 7"),
        (lambda t: t.replace("*\n", "?\n", 1), "a probability is neither a number nor"),
        (lambda t: t.replace("*\n", "-800\n", 1), "a probability is above 1"),
    ],
)
def test_damaged_profiles(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "x.hmm"
    path.write_text(change(written(annotated("amino", 4, 3))))  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as error:
        list(read_profiles(str(path)))
    assert "x.hmm" in str(error.value)


def test_alphabets_agree_with_hmmer() -> None:
    for ours, theirs in (
        (AMINO, pyhmmer.easel.Alphabet.amino()),
        (DNA, pyhmmer.easel.Alphabet.dna()),
        (RNA, pyhmmer.easel.Alphabet.rna()),
    ):
        frequencies = pyhmmer.plan7.Background(theirs).residue_frequencies
        np.testing.assert_allclose(ours.background, np.array(frequencies), atol=1e-6)
        symbols = theirs.symbols
        assert symbols.startswith(ours.letters)
        assert set(ours.symbols) == set(symbols) - set("-~")
        # what a degenerate letter may be, seen through the expected score of indicator scores
        for letter, residues in ours.degenerate.items():
            assert ours.decode(ours.encode(letter.lower() + residues)) == letter + residues
            assert ours.expand[ours.encode(letter)[0]].sum() == len(residues)
    assert DNA.decode(DNA.encode("acgun")) == "ACGTN"
    assert RNA.decode(RNA.encode("ACGT")) == "ACGU"
    assert AMINO.unknown == AMINO.encode("x")[0]
    assert not AMINO.expand[AMINO.encode("*")[0]].any()


@pytest.mark.parametrize(
    ("letters", "alphabet"),
    [("MKVLAAGIVG", AMINO), ("ACGTTGCANN", DNA), ("ACGUUGCA", RNA), ("gattaca", DNA), ("ACGTRYACGTACGTACGTACGT", DNA)],
)
def test_guessing_the_alphabet(letters: str, alphabet: object) -> None:
    assert guess_alphabet(letters) is alphabet


def test_sequences(tmp_path: Path) -> None:
    path = tmp_path / "s.fa.gz"
    path.write_bytes(gzip.compress(b">a first one\nMKV-l\r\nAAG*\n>b\n\n>c\nXBZ\n"))
    a, b, c = read_sequences(str(path))
    assert a[:2] == ("a", "first one")
    assert AMINO.decode(a.codes) == "MKVLAAG*"
    assert (b.id, len(b.codes)) == ("b", 0)
    assert AMINO.decode(c.codes) == "XBZ"
    assert alphabet_of(str(path)) is AMINO


UNIPROT = """ID   TOY1_ECOLX              Reviewed;          24 AA.
AC   P00000; Q00000;
DT   01-JAN-2020, integrated into UniProtKB/Swiss-Prot.
DT   01-JAN-2020, sequence version 1.
DT   02-JAN-2020, entry version 2.
DE   RecName: Full=Toy protein {ECO:0000305};
GN   Name=toyA; OrderedLocusNames=b0000;
OS   Escherichia coli.
OC   Bacteria; Pseudomonadota.
OX   NCBI_TaxID=562;
CC   -!- FUNCTION: None at all. {ECO:0000305}.
DR   Pfam; PF99999; Toy; 1.
PE   1: Evidence at protein level;
KW   Reference proteome.
FT   CHAIN           1..24
FT                   /note="Toy protein"
SQ   SEQUENCE   24 AA;  2600 MW;  0123456789ABCDEF CRC64;
     MKVLAAGIVG LCAKAYLERG HEVU
//
ID   TOY2_ECOLX              Unreviewed;         3 AA.
AC   A0A000;
DE   SubName: Full=Another;
OS   Escherichia coli.
SQ   SEQUENCE   3 AA;  300 MW;  0123456789ABCDEF CRC64;
     MKX
//
"""


def test_uniprot(tmp_path: Path) -> None:
    path = tmp_path / "toys.dat.gz"
    path.write_bytes(gzip.compress(UNIPROT.encode()))
    first, second = read_sequences(str(path))
    assert first[:2] == ("TOY1_ECOLX", "RecName: Full=Toy protein {ECO:0000305};")
    assert AMINO.decode(first.codes) == "MKVLAAGIVGLCAKAYLERGHEVU"
    assert (second.id, AMINO.decode(second.codes)) == ("TOY2_ECOLX", "MKX")
    assert alphabet_of(str(path)) is AMINO
    fasta = tmp_path / "toys.fa"
    fasta.write_text("".join(f">{s.id} {s.description}\n{AMINO.decode(s.codes)}\n" for s in (first, second)))
    for one, other in zip(read_sequences(str(fasta)), (first, second), strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_array_equal(one.codes, other.codes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("ACGT\n", "is not FASTA: it does not begin with '>'"),
        (">a\nMK1V\n", "record 'a': position 3 holds 1, which is no letter of the amino alphabet"),
        ("> \nMKV\n", "has no id"),
        (">a\n>b\n", "no letters to tell the alphabet from"),
        (UNIPROT[:-60], "entry 2 is not valid UniProt"),
        (UNIPROT.replace("3 AA.", "4 AA."), "entry TOY2_ECOLX has 3 residues instead of 4"),
        (UNIPROT.replace("MKX", "MK1"), "record 'TOY2_ECOLX': position 3 holds 1"),
        (UNIPROT.replace("KW   ", "K?   "), "entry 1 is not valid UniProt"),
        ("ID   X56734; SV 1; linear; mRNA; STD; PLN; 1859 BP.\n", "is not FASTA"),
    ],
)
def test_bad_sequences(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.fa"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        list(read_sequences(str(path)))


STOCKHOLM = """# STOCKHOLM 1.0
#=GF ID   Fam
#=GF AC   XX00001.2
#=GF DE   A family
#=GF GA   25.00 20.00;
#=GS one  DE first
#=GS two  WT 0.5

one          MK.L
#=GR one PP  99.*
two          -KaL
#=GC RF      xx.x

one          AV
#=GR one PP  8*
two          A-
#=GC RF      xx
//
"""


def test_stockholm(tmp_path: Path) -> None:
    path = tmp_path / "x.sto"
    path.write_text(STOCKHOLM * 2)
    first, second = read_alignments(str(path))
    assert first.names == ("one", "two")
    assert [row.tobytes().decode() for row in first.rows] == ["MK.LAV", "-KaLA-"]
    assert first.posteriors is not None
    assert [row.tobytes().decode() for row in first.posteriors] == ["99.*8*", "......"]
    assert first.columns == {"RF": "xx.xxx"}
    assert first.facts == {"ID": "Fam", "AC": "XX00001.2", "DE": "A family", "GA": "25.00 20.00;"}
    assert first.descriptions == ("first", "")
    assert first.weights is not None
    assert first.weights.tolist() == [1.0, 0.5]
    handle = io.StringIO()
    write_alignment(handle, second, "stockholm")
    path.write_text(handle.getvalue())
    (again,) = read_alignments(str(path))
    assert (again.rows == first.rows).all()
    assert again.columns == first.columns
    with pyhmmer.easel.MSAFile(path, digital=False) as file:
        msa = file.read()
    assert list(msa.alignment) == ["MK.LAV", "-KaLA-"]
    assert msa.reference == "xx.xxx"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("//", ""), "does not end in '//'"),
        (lambda t: t.replace("two          A-", "two          A"), "'two' is 5 columns wide"),
        (lambda t: t.replace("RF      xx.x", "RF      xx."), "#=GC RF is 5 columns wide, the alignment 6"),
        (lambda t: t.replace("one          MK.L", "one"), "line 9 is not Stockholm"),
        (lambda t: "# STOCKHOLM 1.0\n//\n", "holds no sequences"),
        (lambda t: "CLUSTAL\n", "no alignment read here"),
    ],
)
def test_bad_stockholm(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "x.sto"
    path.write_text(change(STOCKHOLM))  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        list(read_alignments(str(path)))


def test_a2m_with_and_without_dots(tmp_path: Path) -> None:
    rows = {"one": "M-aLV", "two": "MKL-gh", "three": "tMKLV"}
    dotless, dotted = tmp_path / "x.fa", tmp_path / "x.a2m"
    dotless.write_text("".join(f">{n}\n{r}\n" for n, r in rows.items()))
    (short,) = read_alignments(str(dotless))
    assert [row.tobytes().decode() for row in short.rows] == [".M-aLV..", ".MK.L-gh", "tMK.LV.."]
    assert short.columns["RF"] == ".xx.xx.."
    dotted.write_text("".join(f">{n}\n{r.tobytes().decode()}\n" for n, r in zip(short.names, short.rows, strict=True)))
    (full,) = read_alignments(str(dotted))
    assert (full.rows == short.rows).all()
    assert full.columns == short.columns
    handle = io.StringIO()
    write_alignment(handle, full, "a2m")
    assert handle.getvalue() == dotless.read_text()


def test_unaligned_fasta_is_no_alignment(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text(">a\nMKV\n>b\nMK\n")
    with pytest.raises(InputError, match="differ in length; align them first"):
        list(read_alignments(str(path)))


def test_aligned_fasta(tmp_path: Path) -> None:
    path = tmp_path / "x.afa"
    with path.open("w") as handle:
        write_alignment(handle, FAMILY, "afa")
    (again,) = read_alignments(str(path))
    assert (again.is_residue == FAMILY.is_residue).all()
    assert (again.rows[again.is_residue] == FAMILY.rows[FAMILY.is_residue]).all()
    assert not (again.rows == ord(".")).any()
    assert again.columns == {}


@pytest.mark.parametrize(
    ("path", "kind"), [("x.sto", "stockholm"), ("x.a2m.gz", "a2m"), ("x.AFA", "afa"), (None, "stockholm")]
)
def test_format_from_the_name(path: str | None, kind: str) -> None:
    assert format_of_output(path) == kind
    with pytest.raises(UsageError, match=r"no alignment format is written as \.txt"):
        format_of_output("x.txt")


@pytest.mark.data
@pytest.mark.skipif(not FAMILIES.exists(), reason="no real families beside the checkout")
@pytest.mark.parametrize("name", ["globins4.hmm.gz", "fn3.hmm", "MADE1.hmm", "Pkinase.hmm.gz"])
def test_real_profiles_round_trip(name: str) -> None:
    path = FAMILIES / name
    text = (gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()).decode()
    (profile,) = read_profiles(str(path))
    assert written(profile).splitlines()[1:] == [line.replace(";", "") for line in text.splitlines()][1:]
