"""Domains of predicted genes: found as pyhmmer finds them, and in the right place on the genome."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyhmmer
import pytest
from Bio import SeqIO
from Bio.Seq import Seq
from command import fasta, run, small_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_samples import family, random_profile
from spliced import CODONS, letters, simulate_spliced, turned

from lstmhmm_bio.errors import UsageError
from lstmhmm_bio.features import Annotation, Gene, ProteinDomain, Record
from lstmhmm_bio.io import WRITERS, gene_ids
from lstmhmm_bio.io.derived import cross_reference, protein
from lstmhmm_bio.io.journal import Journal
from lstmhmm_bio.profiles.domains import Domain
from lstmhmm_bio.profiles.gene_domains import DomainSearch, place
from lstmhmm_bio.profiles.hmmfile import ProfileFile, read_profiles, write_profile
from lstmhmm_bio.profiles.profile import AMINO, DNA, Profile
from lstmhmm_bio.sequence import encode
from lstmhmm_bio.simulate import simulate_genome

CODON_OF = {str(Seq(codon).translate(table=1)): codon for codon in CODONS}


def write_family(path: Path, name: str, rows: list[str], accession: str = "", ga: float | None = None) -> None:
    """Appends the profile that pyhmmer builds."""
    alphabet = pyhmmer.easel.Alphabet.amino()
    sequences = [pyhmmer.easel.TextSequence(name=f"s{i}", sequence=row) for i, row in enumerate(rows)]
    msa = pyhmmer.easel.TextMSA(name=name, sequences=sequences).digitize(alphabet)
    hmm, _, _ = pyhmmer.plan7.Builder(alphabet).build_msa(msa, pyhmmer.plan7.Background(alphabet))
    hmm.accession, hmm.description = accession or None, f"the {name}, 100%; of odd names"
    if ga is not None:
        hmm.cutoffs.gathering = ga, ga
    with path.open("ab") as handle:
        hmm.write(handle)


def gene_of(residues: str, *, introns: bool, strand: str, rng: np.random.Generator, at: int) -> tuple[str, Gene]:
    """The forward strand of a gene that codes for some residues and begins at `at`, and the gene."""
    coding = "ATG" + "".join(CODON_OF[x] for x in residues) + "TAA"
    cuts = sorted(rng.choice(np.arange(1, len(coding)), 2, replace=False).tolist()) if introns else []
    exons = [coding[a:b] for a, b in zip([0, *cuts], [*cuts, len(coding)], strict=True)]
    between = ["GT" + "".join(rng.choice(list("ACGT"), 30)) + "AG" for _ in cuts]
    pieces = [piece for pair in zip(exons, [*between, ""], strict=True) for piece in pair][:-1]
    if strand == "-":
        pieces = [str(Seq(piece).reverse_complement()) for piece in reversed(pieces)]
    edges = (at + np.cumsum([0, *map(len, pieces)])).tolist()
    inner = tuple(zip(edges[1:-1:2], edges[2:-1:2], strict=True))
    return "".join(pieces), Gene(
        "c", at, edges[-1], strand, 0.9, start_score=0.9, start_codon="ATG", introns=inner, intronic=introns
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """A file of three profiles, the second with gathering scores, and their families."""
    path = tmp_path_factory.mktemp("profiles") / "db.hmm"
    families = [
        family(np.random.default_rng(seed), AMINO, length, 10, differing=0.3, deleted=0.03)
        for seed, length in ((1, 45), (2, 60), (3, 50))
    ]
    write_family(path, "Kin", families[0], "PF99990.4")
    write_family(path, "Strict", families[1], "XY0001", ga=70.0)
    write_family(path, "Bare", families[2])
    return path, families


@pytest.fixture(scope="module")
def annotations(database: tuple[Path, list[list[str]]]) -> list[Annotation]:
    """Genes with no domain, one or several, on both strands, with introns and without, some over the origin."""
    rng = np.random.default_rng(5)
    _, families = database

    def noise(length: int) -> str:
        return "".join(rng.choice(list(AMINO.letters), length, p=AMINO.background))

    def member(which: int) -> str:
        return families[which][rng.integers(len(families[which]))].replace("-", "")

    found = []
    for number in range(4):
        contents = (
            noise(20) + member(0) + noise(30),
            noise(90),
            member(1) + noise(15) + member(0) + member(0) + noise(5),
            noise(10) + member(2)[:30] + noise(10),
            noise(12) + member(2) + noise(70) + member(1)[10:40],
        )
        text, genes = "".join(rng.choice(list("ACGT"), 25)), []
        for content in contents:
            piece, gene = gene_of(content, introns=number % 2 == 1, strand="+-"[rng.integers(2)], rng=rng, at=len(text))
            genes.append(replace(gene, seqid=f"c{number}"))
            text += piece + "".join(rng.choice(list("ACGT"), 30))
        whole = Annotation(Record(f"c{number}", encode(text)), tuple(genes))
        found.append(turned(whole, genes[2].start + genes[2].length // 2) if number > 1 else whole)
    return found


@pytest.fixture(scope="module")
def searched(database: tuple[Path, list[list[str]]], annotations: list[Annotation]) -> list[Annotation]:
    return list(DomainSearch(list(read_profiles(str(database[0])))).annotate(annotations))


def translated(annotation: Annotation, spans: list[tuple[int, int]], strand: str) -> str:
    """Protein of ascending 0-based spans, which may count on beyond the origin."""
    record = annotation.record
    twice = letters(record) * 2
    bases = Seq("".join(twice[start:end] for start, end in spans))
    return str((bases if strand == "+" else bases.reverse_complement()).translate())


def match_rows(text: str) -> dict[str, list[tuple[list[str], dict[str, str]]]]:
    """The protein_match rows of a GFF3 file by ID: columns and decoded attributes."""
    found: dict[str, list[tuple[list[str], dict[str, str]]]] = {}
    for line in text.splitlines():
        columns = line.split("\t")
        if len(columns) == 9 and columns[2] == "protein_match":
            pairs = dict(pair.split("=") for pair in columns[8].split(";"))
            found.setdefault(pairs["ID"], []).append((columns, {k: unquote(v) for k, v in pairs.items()}))
    return found


def written(kind: str, *annotations: Annotation) -> str:
    handle = io.StringIO()
    writer = WRITERS[kind](handle)
    for annotation in annotations:
        writer.write(annotation)
    return handle.getvalue()


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), turn=st.floats(0, 1, exclude_max=True) | st.none())
def test_bases_of_a_match_translate_to_its_residues(seed: int, turn: float | None) -> None:
    """Spliced, partial, reverse and over the origin; every row has the profile's positions of its own bases."""
    rng = np.random.default_rng(seed)
    annotation, _ = simulate_spliced("chr 1", seed, open_ends=turn is None)
    if turn is not None:
        annotation = turned(annotation, int(turn * len(annotation.record)))
    profile = replace(random_profile(AMINO, 200, 1), name="Fam x", description="")
    genes, nodes = [], {}
    for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
        residues = protein(annotation.record, gene)
        start = int(rng.integers(0, len(residues)))
        end = int(rng.integers(start + 1, len(residues) + 1))
        node = np.sort(rng.integers(1, 201, end - start)).astype(np.int32)
        blank = np.zeros(end - start)
        domain = Domain((start, end), 1.0, 0.0, 1.0, start, blank.astype(np.uint8), node, blank > 0, blank)
        genes.append(replace(gene, domains=(place(gene, profile, domain, 33.25, 1e-9),)))
        nodes[f"{name}.match1"] = residues[start:end], node
    text = written("gff3", Annotation(annotation.record, tuple(genes)))
    rows = match_rows(text)
    assert rows.keys() == nodes.keys()
    for name, (residues, node) in nodes.items():
        spans, strand = [(int(c[3]) - 1, int(c[4])) for c, _ in rows[name]], rows[name][0][0][6]
        assert spans == sorted(spans)
        assert spans[0][0] < len(annotation.record)
        assert translated(annotation, spans, strand) == residues
        # which node each base belongs to, in reading order
        by_base, read = np.repeat(node, 3), 0
        for columns, attributes in rows[name] if strand == "+" else rows[name][::-1]:
            length = int(columns[4]) - int(columns[3]) + 1
            mine = by_base[read : read + length]
            assert attributes["Target"] == f"Fam_x {mine.min()} {mine.max()}"
            assert (columns[5], columns[7], attributes["bit_score"]) == ("1e-09", ".", "33.2")
            read += length
        assert read == len(by_base)


def test_domains_as_pyhmmer(
    database: tuple[Path, list[list[str]]], annotations: list[Annotation], searched: list[Annotation]
) -> None:
    """Gathering scores where there are, else E-values of as many profiles as the file has."""
    expected = []
    alphabet = pyhmmer.easel.Alphabet.amino()
    proteins = [(a, gene, protein(a.record, gene)) for a in annotations for gene in a.genes]
    block = pyhmmer.easel.DigitalSequenceBlock(alphabet)
    for i, (_, _, residues) in enumerate(proteins):
        block.append(pyhmmer.easel.TextSequence(name=str(i), sequence=residues).digitize(alphabet))
    with pyhmmer.plan7.HMMFile(database[0]) as hmms:
        for hmm in hmms:
            limits = {"bit_cutoffs": "gathering"} if hmm.name == "Strict" else {"E": 1e-5, "domE": 1e-5}
            pipeline = pyhmmer.plan7.Pipeline(alphabet, Z=3, domZ=1, **limits)
            for hit in pipeline.search_hmm(hmm, block).reported:
                for d in hit.domains.reported:
                    ali = d.alignment
                    expected.append((int(hit.name), ali.target_from, ali.target_to, hmm.name, d.score, d.i_evalue))
    found = [
        (i, d.start + 1, d.end, d.name, d.score, d.evalue)
        for i, gene in enumerate(gene for a in searched for gene in a.genes)
        for d in gene.domains
    ]
    expected.sort()
    assert [f[:4] for f in sorted(found)] == [e[:4] for e in expected]
    assert len(found) > 15
    for f, e in zip(sorted(found), expected, strict=True):
        assert f[4] == pytest.approx(e[4], abs=0.01)
        assert f[5] == pytest.approx(e[5], rel=0.02)
    # the fragments of the second family are below its gathering score, and without it above
    strict = [f for f in found if f[3] == "Strict"]
    profiles = list(read_profiles(str(database[0])))
    by_evalue = DomainSearch(profiles, 1e-4).domains([g for _, g, _ in proteins], [p for *_, p in proteins])
    assert sum(d.name == "Strict" for domains in by_evalue for d in domains) > len(strict) > 0


def test_places_of_real_matches(searched: list[Annotation]) -> None:
    kinds = set()
    for annotation in searched:
        rows = match_rows(written("gff3", annotation))
        for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
            for number, domain in enumerate(gene.domains, 1):
                these = rows.pop(f"{name}.match{number}")
                spans = [(int(c[3]) - 1, int(c[4])) for c, _ in these]
                residues = protein(annotation.record, gene)[domain.start : domain.end]
                assert translated(annotation, spans, gene.strand) == residues
                assert {a["locus_tag"] for _, a in these} == {name}
                kinds |= {gene.strand, len(these) > 1, "over" if spans[-1][1] > len(annotation.record) else "within"}
        assert not rows
    assert kinds >= {"+", "-", True, False, "over", "within"}


def test_what_the_rows_say(searched: list[Annotation]) -> None:
    text = written("gff3", *searched)
    notes = {a["Name"]: a for rows in match_rows(text).values() for _, a in rows}
    assert notes["Kin"]["Dbxref"] == "Pfam:PF99990.4"
    assert notes["Strict"]["Alias"] == "XY0001"
    assert not {"Dbxref", "Alias"} & notes["Bare"].keys()
    assert notes["Bare"]["Note"] == "the Bare, 100%; of odd names"
    # the third gene of the first record, without introns, has them all; of one with introns the mRNA says so
    cds = next(line for line in text.splitlines() if "ID=c0_3.cds;" in line)
    kin, strict = (f"{x}: the {x}%2C 100%25%3B of odd names" for x in ("Kin", "Strict"))
    assert f";Dbxref=Pfam:PF99990.4;Note={strict},{kin}" in cds
    bearing = [line for line in text.splitlines() if line.startswith("c1\t") and "Dbxref" in line]
    assert {line.split("\t")[2] for line in bearing} == {"mRNA", "protein_match"}


@pytest.mark.parametrize("tool", [["gt", "gff3validator", "-strict"], ["gffread", "-E"]])
def test_other_tools_read_it(tmp_path: Path, searched: list[Annotation], tool: list[str]) -> None:
    if shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not installed")
    path = tmp_path / "genes.gff3"
    path.write_text(written("gff3", *searched[:2]))
    done = subprocess.run([*tool, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_genbank(searched: list[Annotation]) -> None:
    for annotation, entry in zip(searched, SeqIO.parse(io.StringIO(written("genbank", *searched)), "gb"), strict=True):
        matches = [f for f in entry.features if f.type == "misc_feature"]
        domains = [(name, gene, d) for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True)
                   for d in gene.domains]  # fmt: skip
        for feature, (name, gene, domain) in zip(matches, domains, strict=True):
            residues = protein(annotation.record, gene)[domain.start : domain.end]
            assert str(feature.extract(entry.seq).translate()) == residues
            assert feature.qualifiers["locus_tag"] == [name]
            assert feature.qualifiers["note"][0].startswith(f"{domain.name}; ")
            assert feature.qualifiers.get("db_xref") == (["Pfam:PF99990.4"] if domain.name == "Kin" else None)
        for feature, gene in zip((f for f in entry.features if f.type == "CDS"), annotation.genes, strict=True):
            kin = any(d.name == "Kin" for d in gene.domains)
            assert feature.qualifiers.get("db_xref") == (["Pfam:PF99990.4"] if kin else None)


def test_batches_do_not_matter(
    database: tuple[Path, list[list[str]]], annotations: list[Annotation], searched: list[Annotation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One record is searched before the next is asked for, where a record fills a batch."""
    monkeypatch.setattr("lstmhmm_bio.profiles.gene_domains._RESIDUES", 300)
    taken = []

    def counted() -> Iterator[Annotation]:
        for annotation in annotations:
            taken.append(annotation.record.id)
            yield annotation

    found = []
    for annotation in DomainSearch(list(read_profiles(str(database[0])))).annotate(counted()):
        found.append(annotation)
        assert len(taken) == len(found)
    for one, other in zip(found, searched, strict=True):
        assert one.record is other.record
        assert one.genes == other.genes


def test_groups_of_profiles_do_not_matter(
    database: tuple[Path, list[list[str]]], annotations: list[Annotation], searched: list[Annotation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Profiles that are read anew for every batch, one at a time, find what those in memory do."""
    monkeypatch.setattr("lstmhmm_bio.profiles.gene_domains._RESIDUES", 300)
    monkeypatch.setattr("lstmhmm_bio.profiles.search._NODES", 1)
    found = list(DomainSearch(ProfileFile(str(database[0]))).annotate(annotations))
    assert [one.genes for one in found] == [other.genes for other in searched]


def test_nothing_to_search(database: tuple[Path, list[list[str]]]) -> None:
    search = DomainSearch(list(read_profiles(str(database[0]))))
    assert list(search.annotate([])) == []
    empty = Annotation(Record("e", encode("")))
    assert list(search.annotate([empty])) == [empty]


def test_journal_keeps_domains(tmp_path: Path, searched: list[Annotation]) -> None:
    path, records = str(tmp_path / "journal"), [a.record for a in searched]
    with pytest.raises(KeyboardInterrupt), Journal(path, {}) as journal:  # noqa: PT012
        assert len(list(journal.resume(records, lambda _: iter(searched)))) == len(records)
        raise KeyboardInterrupt
    with Journal(path, {}) as journal:
        again = list(journal.resume(records, lambda rest: iter([Annotation(r) for r in rest])))
    assert [a.genes for a in again] == [a.genes for a in searched]
    assert isinstance(next(g for a in again for g in a.genes if g.domains).domains[0], ProteinDomain)


@pytest.mark.parametrize(
    ("accession", "reference"),
    [
        ("PF00069", "Pfam:PF00069"), ("PF00069.28", "Pfam:PF00069.28"), ("TIGR00001.1", "TIGRFAM:TIGR00001.1"),
        ("NF000282.1", "NCBIFAM:NF000282.1"), ("PF069", None), ("mine", None), ("", None),
    ],
)  # fmt: skip
def test_cross_references(accession: str, reference: str | None) -> None:
    assert cross_reference(ProteinDomain("x", accession, "", 0, 1, (), 1.0, 1.0)) == reference


def calibrated(profile: Profile) -> Profile:
    return replace(profile, statistics={"FORWARD": (-3.5, 0.71)})


def test_profiles_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match="random1 is of DNA, but genes are searched as proteins"):
        DomainSearch([calibrated(random_profile(AMINO, 5, 0)), calibrated(random_profile(DNA, 5, 1))])
    with pytest.raises(UsageError, match="random2 is not calibrated"):
        DomainSearch([random_profile(AMINO, 5, 2)])


def test_wrong_usage(tmp_path: Path, database: tuple[Path, list[list[str]]]) -> None:
    genome, dna = tmp_path / "g.fa", tmp_path / "dna.hmm"
    genome.write_text(">a\nACGT\n")
    with dna.open("w") as handle:
        write_profile(handle, calibrated(random_profile(DNA, 5, 1)))
    cases = [
        (["--profiles", dna], 2, "is of DNA"),
        (["-E", "1e-3"], 2, "--profile-evalue is for domains; give --profiles too"),
        (["--profiles", database[0], "-f", "bed"], 2, "bed has no place for domains; write gff3 or genbank"),
        (["--profiles", database[0], "-E", "0"], 2, "-E"),
        (["--profiles", database[0], "-o", database[0]], 2, "is an input and an output"),
        (["--profiles", tmp_path / "none.hmm"], 1, "none.hmm"),
        (["--profiles", genome], 1, "is not the start of a HMMER3 profile"),
    ]
    for options, code, message in cases:
        result = run("annotate", genome, *options)
        assert (result.code, result.out) == (code, "")
        assert message in result.err
    assert database[0].stat().st_size > 0


def test_command(tmp_path: Path) -> None:
    """A family around a protein of a simulated genome is found where that protein is predicted."""
    record, genes = simulate_genome(9000, gc=0.5, seed=2, record=0, contig=True)
    gene = max((g for g in genes if g.has_start and g.has_stop), key=lambda g: g.length)
    residues = protein(record, gene)[10:60]
    rng = np.random.default_rng(0)
    rows = ["".join(x if rng.random() > 0.2 else "A" for x in residues) for _ in range(6)]
    genome, profiles, out = tmp_path / "g.fa", tmp_path / "db.hmm", tmp_path / "out.gff3"
    genome.write_text(fasta(record))
    write_family(profiles, "Own", rows, "PF99999.1")
    with small_batches():
        result = run("annotate", genome, "--profiles", profiles, "-E", "1e-9", "--meta", "-o", out, "--no-cache")
    assert result.code == 0, result.err
    assert "domains in 1 of " in result.err
    (((columns, attributes),),) = match_rows(out.read_text()).values()
    assert columns[6] == gene.strand
    assert gene.start < int(columns[3]) < int(columns[4]) < gene.end
    found = translated(Annotation(record), [(int(columns[3]) - 1, int(columns[4]))], gene.strand)
    assert found in residues
    assert attributes["Dbxref"] == "Pfam:PF99999.1"
    assert float(columns[5]) < 1e-9
