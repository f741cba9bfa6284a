"""Searching with profiles, beside pyhmmer on simulated families."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyhmmer
import pytest
from Bio import SearchIO
from click.testing import CliRunner
from profile_samples import family

from lstmhmm_bio.cli.profile_search import search as command
from lstmhmm_bio.errors import InputError, UsageError
from lstmhmm_bio.profiles.domains import has_several, regions
from lstmhmm_bio.profiles.ensemble import Passes, clusters, exit_order, passes
from lstmhmm_bio.profiles.genome import search_genome
from lstmhmm_bio.profiles.hits import QueryResult, Thresholds
from lstmhmm_bio.profiles.hmmfile import read_profiles
from lstmhmm_bio.profiles.profile import AMINO, DNA, Profile
from lstmhmm_bio.profiles.report import align_text
from lstmhmm_bio.profiles.search import Settings, search_proteins
from lstmhmm_bio.profiles.sequences import Sequence, SequenceFile
from lstmhmm_bio.profiles.tables import coordinates

FAMILIES = Path(__file__).parents[1].parent / "shared" / "data" / "valid" / "families"
EVERYTHING = Thresholds(evalue=1e9, domain_evalue=1e9)


def build(alphabet: pyhmmer.easel.Alphabet, rows: list[str], path: Path) -> pyhmmer.plan7.HMM:
    sequences = [pyhmmer.easel.TextSequence(name=f"s{i}", sequence=row) for i, row in enumerate(rows)]
    msa = pyhmmer.easel.TextMSA(name="simulated", sequences=sequences).digitize(alphabet)
    builder = pyhmmer.plan7.Builder(alphabet)
    hmm, _, _ = builder.build_msa(msa, pyhmmer.plan7.Background(alphabet))
    with path.open("wb") as handle:
        hmm.write(handle)
    return hmm


@pytest.fixture(scope="module")
def proteins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pyhmmer.plan7.HMM, dict[str, str]]:
    """A profile file, the same for pyhmmer, and sequences: members, fragments, tandems, shuffled and odd ones."""
    rng = np.random.default_rng(3)
    rows = family(rng, AMINO, 40, 12)
    path = tmp_path_factory.mktemp("profile") / "simulated.hmm"
    hmm = build(pyhmmer.easel.Alphabet.amino(), rows, path)

    def noise(length: int) -> str:
        return "".join(rng.choice(list(AMINO.letters), length, p=AMINO.background))

    members = [row.replace("-", "") for row in rows]
    out = {f"member{i}": noise(rng.integers(0, 80)) + m + noise(rng.integers(0, 80)) for i, m in enumerate(members)}
    out |= {f"fragment{i}": noise(30) + m[8:28] + noise(20) for i, m in enumerate(members[:4])}
    out |= {f"tandem{i}": noise(20) + members[i] + noise(i) + members[i + 1] + members[i + 2] for i in range(4)}
    out |= {f"noise{i}": noise(int(rng.integers(10, 300))) for i in range(20)}
    out |= {f"shuffled{i}": "".join(rng.permutation(list(m * 2))) for i, m in enumerate(members[:6])}
    out["odd"] = noise(10) + members[0][:15] + "XBZJOU*" + members[0][15:] + noise(5)
    out["one"], out["biased"] = "M", "P" * 60 + members[1] + "P" * 60
    return path, hmm, out


def ours(path: Path, sequences: dict[str, str], thresholds: Thresholds, settings: Settings) -> QueryResult:
    profile = next(read_profiles(str(path)))
    targets = [Sequence(name, "", profile.alphabet.encode(letters)) for name, letters in sequences.items()]
    return next(search_proteins([profile], targets, thresholds, settings))


def theirs(hmm: pyhmmer.plan7.HMM, sequences: dict[str, str], **options: object) -> pyhmmer.plan7.TopHits:
    alphabet = hmm.alphabet
    digital = [
        pyhmmer.easel.TextSequence(name=name, sequence=letters).digitize(alphabet)
        for name, letters in sequences.items()
    ]
    pipeline = pyhmmer.plan7.Pipeline(alphabet, **options)
    return pipeline.search_hmm(hmm, pyhmmer.easel.DigitalSequenceBlock(alphabet, digital))


def compare(result: QueryResult, expected: pyhmmer.plan7.TopHits, tolerance: float) -> int:
    """Hits, scores, E-values, domains and their coordinates; gives the number of domains."""
    reported = {hit.name: hit for hit in expected if hit.reported}
    assert {hit.target for hit in result.hits} == reported.keys()
    domains = 0
    for hit in result.hits:
        other = reported[hit.target]
        assert hit.score == pytest.approx(other.score, abs=tolerance)
        assert hit.score + hit.bias == pytest.approx(other.pre_score, abs=tolerance)
        assert hit.evalue == pytest.approx(other.evalue, rel=0.02)
        shown = [d for d in other.domains if d.reported]
        assert [coordinates(hit, d) for _, d in hit.reported_domains] == [
            (
                (d.alignment.hmm_from, d.alignment.hmm_to),
                (d.alignment.target_from, d.alignment.target_to),
                (d.env_from, d.env_to),
            )
            for d in shown
        ]
        for (_, d), e in zip(hit.reported_domains, shown, strict=True):
            assert d.score == pytest.approx(e.score, abs=tolerance)
            assert (d.independent_evalue, d.conditional_evalue) == pytest.approx((e.i_evalue, e.c_evalue), rel=0.02)
            domains += 1
    return domains


@pytest.mark.parametrize("null2", [True, False])
def test_everything_as_pyhmmer(proteins: tuple[Path, pyhmmer.plan7.HMM, dict[str, str]], null2: bool) -> None:
    path, hmm, sequences = proteins
    expected = theirs(hmm, sequences, null2=null2, bias_filter=False, F1=1.0, F2=1.0, F3=1.0, E=1e9, domE=1e9)
    result = ours(path, sequences, EVERYTHING, Settings(filters=False, null2=null2))
    assert compare(result, expected, 0.01) > 25


def test_defaults_as_pyhmmer(proteins: tuple[Path, pyhmmer.plan7.HMM, dict[str, str]]) -> None:
    path, hmm, sequences = proteins
    result = ours(path, sequences, Thresholds(), Settings())
    assert compare(result, theirs(hmm, sequences), 0.01) > 15
    names = {hit.target for hit in result.hits}
    assert {"member0", "tandem0"} <= names
    assert not any(name.startswith(("noise", "shuffled")) for name in names)


def test_a_file_without_the_first_filters_statistics(
    proteins: tuple[Path, pyhmmer.plan7.HMM, dict[str, str]], tmp_path: Path
) -> None:
    path, hmm, sequences = proteins
    lines = path.read_text().splitlines(keepends=True)
    without = tmp_path / "without.hmm"
    without.write_text("".join(line for line in lines if "LOCAL MSV" not in line))
    assert len(without.read_text().splitlines()) == len(lines) - 1
    assert compare(ours(without, sequences, Thresholds(), Settings()), theirs(hmm, sequences), 0.01) > 15


def test_alignments_as_pyhmmer(proteins: tuple[Path, pyhmmer.plan7.HMM, dict[str, str]]) -> None:
    path, hmm, sequences = proteins
    profile = next(read_profiles(str(path)))
    reported = {hit.name: hit for hit in theirs(hmm, sequences)}
    for hit in ours(path, sequences, Thresholds(), Settings()).hits:
        others = [d.alignment for d in reported[hit.target].domains if d.reported]
        for (_, d), other in zip(hit.reported_domains, others, strict=True):
            text = align_text(profile, d.domain)
            assert text.sequence == other.target_sequence
            assert text.posterior == other.posterior_probabilities
            assert [x == "." for x in text.model] == [x == "." for x in other.hmm_sequence]


def test_tables(proteins: tuple[Path, pyhmmer.plan7.HMM, dict[str, str]], tmp_path: Path) -> None:
    path, hmm, sequences = proteins
    fasta = tmp_path / "x.fa"
    fasta.write_text("".join(f">{name} what it is\n{letters}\n" for name, letters in sequences.items()))
    names = {kind: str(tmp_path / kind) for kind in ("out", "tbl", "dom", "json")}
    options = ["--tblout", names["tbl"], "--domtblout", names["dom"], "--json", names["json"], "-o", names["out"]]
    done = CliRunner().invoke(command, [str(path), str(fasta), *options, "--no-cache"], catch_exceptions=False)
    assert done.exit_code == 0
    expected = theirs(hmm, sequences)
    wanted = io.BytesIO()
    expected.write(wanted, format="domains", header=False)
    rows = [line.split() for line in Path(names["dom"]).read_text().splitlines() if line[0] != "#"]
    # the description is ours alone
    assert [row[:22] for row in rows] == [line.split()[:22] for line in wanted.getvalue().decode().splitlines()]
    (query,) = SearchIO.parse(names["dom"], "hmmsearch3-domtab")
    (flat,) = SearchIO.parse(names["tbl"], "hmmer3-tab")
    with open(names["json"]) as handle:
        hits = json.load(handle)["hits"]
    assert [hit["target"] for hit in hits] == [hit.id for hit in query] == [hit.id for hit in flat]
    for record, hit in zip(hits, query, strict=True):
        assert round(record["score"], 1) == pytest.approx(hit.bitscore, abs=0.051)
        assert len(record["domains"]) == len(hit.hsps)
        assert record["forward_bits"] < record["score"] + record["bias"] + 0.01
    text = Path(names["out"]).read_text()
    assert "member0" in text
    assert "noise0" not in text


def test_thresholds(proteins: tuple[Path, pyhmmer.plan7.HMM, dict[str, str]]) -> None:
    path, hmm, sequences = proteins
    result = ours(path, sequences, Thresholds(score=20.0, domain_score=15.0, targets=1000), Settings())
    expected = theirs(hmm, sequences, T=20.0, domT=15.0, Z=1000)
    assert compare(result, expected, 0.01)
    with pytest.raises(UsageError, match="no GA scores"):
        ours(path, sequences, Thresholds(cutoff="GA"), Settings())


def test_order_and_chunks_do_not_matter(
    proteins: tuple[Path, pyhmmer.plan7.HMM, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, sequences = proteins
    whole = ours(path, sequences, Thresholds(), Settings())
    monkeypatch.setattr("lstmhmm_bio.profiles.search._CHUNK", 500)
    parts = ours(path, dict(reversed(sequences.items())), Thresholds(), Settings())
    assert [h.target for h in whole.hits] == [h.target for h in parts.hits]
    assert [h.score for h in whole.hits] == pytest.approx([h.score for h in parts.hits], abs=1e-3)


@pytest.fixture(scope="module")
def several(
    proteins: tuple[Path, pyhmmer.plan7.HMM, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A file of three profiles, one of them twice, and a file of sequences."""
    folder = tmp_path_factory.mktemp("several")
    build(pyhmmer.easel.Alphabet.amino(), family(np.random.default_rng(4), AMINO, 30, 8), folder / "other.hmm")
    path, _, sequences = proteins
    one, other = path.read_text(), (folder / "other.hmm").read_text().replace("simulated", "x" * 25)
    (folder / "three.hmm").write_text(one + other + one.replace("simulated", "again"))
    (folder / "x.fa").write_text("".join(f">{name} what it is\n{letters}\n" for name, letters in sequences.items()))
    return folder / "three.hmm", folder / "x.fa"


def test_groups_do_not_matter(several: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is the same, to the byte, and with small groups no more than one profile is read ahead."""
    database, fasta = map(str, several)

    def outputs(name: str) -> list[str]:
        paths = [str(tmp_path / f"{name}.{kind}") for kind in ("out", "tbl", "dom", "json")]
        options = [x for pair in zip(("-o", "--tblout", "--domtblout", "--json"), paths, strict=True) for x in pair]
        done = CliRunner().invoke(command, [database, fasta, *options, "--no-cache"], catch_exceptions=False)
        assert done.exit_code == 0
        return [Path(path).read_text() for path in paths]

    whole = outputs("whole")
    monkeypatch.setattr("lstmhmm_bio.profiles.search._NODES", 1)
    assert outputs("apart") == whole
    assert [query.id for query in SearchIO.parse(str(tmp_path / "apart.tbl"), "hmmer3-tab")] == ["simulated", "again"]
    rows = [line.split() for line in whole[2].splitlines() if line[0] != "#"]
    assert [row[0] for row in rows if row[3] == "simulated"] == [row[0] for row in rows if row[3] == "again"]

    read: list[str] = []

    def counted() -> Iterator[Profile]:
        for profile in read_profiles(database):
            read.append(profile.name)
            yield profile

    targets = SequenceFile(fasta, AMINO)
    for number, result in enumerate(search_proteins(counted(), targets), 1):
        assert len(read) == number
        assert result.profile.name == read[-1]
    # what can be read but once is kept for the second group
    (_, _, last) = search_proteins(read_profiles(database), iter(list(targets)))
    assert last.sequences == len(list(targets))
    assert {hit.target for hit in last.hits} == {row[0] for row in rows if row[3] == "again"}


def test_profiles_from_standard_input(several: tuple[Path, Path]) -> None:
    database, fasta = several
    text = database.read_text()
    runs = [
        CliRunner().invoke(command, [name, str(fasta), "--noali", "--no-cache"], input=text, catch_exceptions=False)
        for name in ("-", str(database))
    ]
    assert runs[0].output == runs[1].output
    assert runs[0].output.count("Query: ") == 3


def test_what_does_not_fit_is_known_before_the_search(several: tuple[Path, Path], tmp_path: Path) -> None:
    database, fasta = several
    lines = database.read_text().splitlines(keepends=True)
    nucleotides, truncated = tmp_path / "both.hmm", tmp_path / "truncated.hmm"
    build(pyhmmer.easel.Alphabet.dna(), family(np.random.default_rng(5), DNA, 20, 5), tmp_path / "dna.hmm")
    nucleotides.write_text("".join(lines) + (tmp_path / "dna.hmm").read_text())
    truncated.write_text("".join(lines[:-1]))
    for path, options, problem in (
        (nucleotides, [], "profiles of different alphabets"),
        (database, ["--cut_ga"], "profile simulated has no GA scores"),
        (truncated, [], f"line {len(lines) - 1}: the file ends where // should come"),
    ):
        done = CliRunner().invoke(command, [str(path), str(fasta), *options, "--no-cache"])
        assert isinstance(done.exception, UsageError | InputError)
        assert problem in str(done.exception)
        assert not done.output


@pytest.mark.slow
def test_genome_as_nhmmer(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    rows = family(rng, DNA, 60, 15)
    path = tmp_path / "dna.hmm"
    hmm = build(pyhmmer.easel.Alphabet.dna(), rows, path)
    genome = rng.choice(list("ACGT"), 9000)
    other = str.maketrans("ACGT", "TGCA")
    for place, row in zip((500, 2000, 3500, 5100, 8940), rows[:5], strict=True):
        copy = row.replace("-", "")
        genome[place : place + len(copy)] = list(copy if place % 1000 else copy.translate(other)[::-1])
    letters = "".join(genome)
    profile = next(read_profiles(str(path)))
    (result,) = search_genome([profile], [Sequence("g", "", DNA.encode(letters))], Thresholds(evalue=1e-3))
    block = pyhmmer.easel.DigitalSequenceBlock(hmm.alphabet)
    block.append(pyhmmer.easel.TextSequence(name="g", sequence=letters).digitize(hmm.alphabet))
    pipeline = pyhmmer.plan7.LongTargetsPipeline(hmm.alphabet, E=1e-3)
    expected = {
        (hit.best_domain.alignment.target_from, hit.best_domain.alignment.target_to): hit
        for hit in pipeline.search_hmm(hmm, block)
        if hit.reported
    }
    found = {coordinates(hit, hit.best)[1]: hit for hit in result.hits}
    assert found.keys() == expected.keys()
    assert len(found) == 5
    assert {hit.strand for hit in result.hits} == {"+", "-"}
    for place, hit in found.items():
        assert hit.score == pytest.approx(expected[place].score, abs=0.3)
        assert np.log(hit.evalue) == pytest.approx(np.log(expected[place].evalue), abs=0.3)


def test_regions() -> None:
    outside = np.ones(30)
    outside[5:12] = outside[20:25] = 0.0
    begin, end = np.zeros(30), np.zeros(30)
    begin[[5, 20]] = end[[11, 24]] = 1.0
    assert list(regions(begin, end, outside)) == [(5, 12), (20, 25)]
    assert list(regions(begin, end, np.full(30, 0.8))) == []
    assert not has_several(begin[5:12], end[5:12])
    assert has_several(begin, end)


def test_passes_and_clusters() -> None:
    node = np.array([[0, 3, 4, 4, 5, 0, 1, 2, 0], [0, 3, 4, 4, 5, 1, 2, 0, 0]])
    inserted = np.array([[0, 0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0]], bool)
    first = np.array([[0, 1, 0, 0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1, 0, 0, 0]], bool)
    found = passes(node, inserted, first)
    assert list(zip(*found, strict=True)) == [(0, 2, 5, 3, 5), (0, 7, 8, 1, 2), (1, 2, 5, 3, 5), (1, 6, 7, 1, 2)]
    same = [np.repeat(x, 10) for x in found]
    assert clusters(Passes(np.arange(40), *same[1:]), 40)[0] == (1, 5)
    rare = Passes(np.array([0, 1, 2, 3]), *(np.array(x) for x in ([1, 1, 1, 60], [50, 50, 51, 90], [1] * 4, [50] * 4)))
    assert clusters(rare, 4) == [(0, 51), (59, 90)]
    assert clusters(rare, 5) == [(0, 51)]


def test_exits_are_laid_out_in_stripes() -> None:
    order = exit_order(5, 64)
    assert sorted(order) == list(range(128))
    # nodes 1 3 5, then their delete states, then 2 4
    assert order[:10].tolist() == [0, 2, 4, 64, 66, 68, 1, 3, 65, 67]


@pytest.mark.data
@pytest.mark.parametrize(("profile", "sequences"), [("globins4.hmm.gz", "globins45.fa"), ("fn3.hmm", "7LESS_DROME")])
def test_tutorial(profile: str, sequences: str) -> None:
    if not FAMILIES.exists():
        pytest.skip("no families beside the checkout")
    path = FAMILIES / profile
    with pyhmmer.plan7.HMMFile(gzip.open(path) if path.suffix == ".gz" else path) as handle:
        hmm = handle.read()
    with pyhmmer.easel.SequenceFile(FAMILIES / sequences, digital=True, alphabet=hmm.alphabet) as handle:
        targets = {s.name: s.textize().sequence for s in handle.read_block()}
    assert compare(ours(path, targets, Thresholds(), Settings()), theirs(hmm, targets), 0.01)
