from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from Bio import SeqIO
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st

from lstmhmm_bio.features import Annotation, Gene, Record
from lstmhmm_bio.io import WRITERS, gene_ids, open_output, read_records, write_cds_fasta, write_protein_fasta
from lstmhmm_bio.sequence import decode, encode

STOPS = ("TAA", "TAG", "TGA")
STARTS = ("ATG", "GTG", "TTG")
CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT" if a + b + c not in STOPS]

gffread_needed = pytest.mark.skipif(shutil.which("gffread") is None, reason="gffread is not installed")


def simulate(seqid: str, seed: int, *, genes: int = 6, open_ends: bool = True, circular: bool = False) -> Annotation:
    """A random record with genes on both strands, the first and last perhaps running off its ends."""
    rng = np.random.default_rng(seed)
    pieces, found, at = [], [], 0
    for i in range(genes):
        left_open, right_open = open_ends and i == 0, open_ends and i == genes - 1
        strand = "+-"[rng.integers(2)]
        has_start = not (left_open if strand == "+" else right_open)
        has_stop = not (right_open if strand == "+" else left_open)
        start = str(rng.choice(STARTS)) if has_start else ""
        body = start + "".join(rng.choice(CODONS, rng.integers(1, 60))) + (str(rng.choice(STOPS)) if has_stop else "")
        # up to two bases of a codon that the record's end cuts
        gap = rng.integers(0, 3) if left_open else rng.integers(0, 40)
        pieces += [
            "".join(rng.choice(list("ACGT"), gap)),
            body if strand == "+" else str(Seq(body).reverse_complement()),
        ]
        at += gap
        found.append(
            Gene(
                seqid, at, at + len(body), strand, float(rng.random()), left_open, right_open,
                float(rng.random()) if has_start else float("nan"), start,
            )
        )  # fmt: skip
        at += len(body)
    pieces.append("".join(rng.choice(list("ACGT"), rng.integers(0, 3))))
    return Annotation(Record(seqid, encode("".join(pieces)), "a simulated one", circular), tuple(found))


def written(name: str, *annotations: Annotation, provenance: str = "lstmhmm 0.1.0 model=bacteria") -> str:
    handle = io.StringIO()
    writer = WRITERS[name](handle, provenance=provenance)
    for annotation in annotations:
        writer.write(annotation)
    return handle.getvalue()


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def attributes(column: str) -> dict[str, str]:
    return {unquote(k): unquote(v) for k, v in (pair.split("=") for pair in column.split(";"))}


def fasta(write, *annotations: Annotation) -> dict[str, tuple[str, str]]:
    handle = io.StringIO()
    for annotation in annotations:
        write(handle, annotation)
    records = SeqIO.parse(io.StringIO(handle.getvalue()), "fasta")
    return {record.id: (record.description, str(record.seq)) for record in records}


ANNOTATIONS = [simulate("contig_1", 1), simulate("contig_1_1", 2), Annotation(Record("bare", encode("ACGT")))]
odd_names = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=12)


@given(seqid=odd_names, seed=st.integers(0, 1000))
def test_gff3_is_valid_and_complete(seqid, seed):
    first, second = simulate(seqid, seed), simulate(seqid + "_1", seed + 1)
    lines = written("gff3", first, second).split("\n")
    assert lines[:2] == ["##gff-version 3", "# lstmhmm 0.1.0 model=bacteria"]
    assert lines[-1] == ""
    at, ids, lengths = 2, set(), {}
    for annotation in (first, second):
        directive, region, start, end = lines[at].split(" ")
        assert (directive, unquote(region), start, end) == (
            "##sequence-region", annotation.record.id, "1", str(len(annotation.record)),
        )  # fmt: skip
        at += 1
        for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
            for kind in ("gene", "CDS"):
                columns = lines[at].split("\t")
                at += 1
                assert len(columns) == 9
                assert not set(columns[0]) & set(' <>"#%;=&,') or "%" in columns[0]
                assert columns[0].isascii()
                assert unquote(columns[0]) == gene.seqid
                assert columns[1:5] == ["lstmhmm", kind, str(gene.start + 1), str(gene.end)]
                assert columns[5:8] == [f"{gene.score:.4f}", gene.strand, "0" if kind == "CDS" else "."]
                found = attributes(columns[8])
                assert found["ID"] not in ids
                ids.add(found["ID"])
                assert found["locus_tag"] == name
                assert found.get("start_range") == (f".,{gene.start + 1}" if gene.partial_left else None)
                assert found.get("end_range") == (f"{gene.end},." if gene.partial_right else None)
                assert ("partial" in found) == (gene.partial_left or gene.partial_right)
                if kind == "CDS":
                    assert found["Parent"] == name
                    assert found["transl_table"] == "11"
                    assert found.get("start_type", "") == gene.start_codon
                    assert ("start_score" in found) == gene.has_start
                else:
                    assert found["ID"] == name
        lengths[annotation.record.id] = len(annotation.record)
    assert lines[at:] == [""]


def test_gff3_escapes():
    gene = replace(ANNOTATIONS[0].genes[1], seqid="a;b=c,d&e%f")
    text = written("gff3", Annotation(Record("a;b=c,d&e%f", ANNOTATIONS[0].record.codes), (gene,)))
    assert rows(text)[0][0] == "a%3Bb%3Dc%2Cd%26e%25f"
    assert "ID=a%3Bb%3Dc%2Cd%26e%25f_1;" in text
    assert "##sequence-region a%3Bb%3Dc%2Cd%26e%25f 1 " in text


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_empty_and_bare_records(name):
    assert rows(written(name)) == []
    text = written(name, Annotation(Record("empty", encode(""))), Annotation(Record("bare", encode("ACGT"))))
    if name == "genbank":
        assert [len(record) for record in SeqIO.parse(io.StringIO(text), "genbank")] == [0, 4]
    else:
        assert rows(text) == []
    if name == "gff3":
        assert text.splitlines()[2:] == ["##sequence-region bare 1 4"]


def test_names_are_unique_and_shared():
    names = [name for annotation in ANNOTATIONS for name in gene_ids(annotation)]
    assert len(set(names)) == len(names) == 12
    assert [row[3] for row in rows(written("bed", *ANNOTATIONS))] == names
    assert list(fasta(write_cds_fasta, *ANNOTATIONS)) == list(fasta(write_protein_fasta, *ANNOTATIONS)) == names
    assert [attributes(r[8])["ID"] for r in rows(written("gff3", *ANNOTATIONS)) if r[2] == "gene"] == names


def test_bed():
    gene = Gene("c", 4, 10, "-", 0.98765)
    [row] = rows(written("bed", Annotation(Record("c", encode("A" * 20)), (gene,))))
    assert row[:8] == ["c", "4", "10", "c_1", "988", "-", "4", "10"]
    assert len(row) == 9
    assert all(0 <= int(x) < 256 for x in row[8].split(","))


@given(seed=st.integers(0, 1000))
def test_gtf_stop_codons_are_outside_the_cds(seed):
    annotation = simulate("c", seed)
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for seqid, source, kind, start, end, _, strand, frame, notes in rows(written("gtf", annotation)):
        assert (seqid, source) == ("c", "lstmhmm")
        assert frame == ("." if kind in ("gene", "transcript") else "0")
        name = notes.split('gene_id "')[1].split('"')[0]
        assert ("transcript_id" in notes) == (kind != "gene")
        assert kind not in found.setdefault(name, {"strand": strand})
        found[name][kind] = (int(start) - 1, int(end))
    for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
        parts = found[name]
        codes = annotation.record.codes
        forward = gene.strand == "+"
        assert parts["gene"] == parts["transcript"] == (gene.start, gene.end)
        assert ("stop_codon" in parts, "start_codon" in parts) == (gene.has_stop, gene.has_start)

        def bases(kind, parts=parts, forward=forward, codes=codes):
            text = decode(codes[slice(*parts[kind])])
            return text if forward else str(Seq(text).reverse_complement())

        coding = bases("CDS")
        assert len(coding) == gene.length - 3 * gene.has_stop
        if gene.has_stop:
            assert bases("stop_codon") in STOPS
            assert coding + bases("stop_codon") == bases("gene")
        if gene.has_start:
            assert bases("start_codon") == gene.start_codon == coding[:3]


def test_gtf_gene_that_is_only_a_stop():
    text = written("gtf", Annotation(Record("c", encode("TAAAA")), (Gene("c", 0, 3, "+", 0.5, partial_left=True),)))
    assert [row[2] for row in rows(text)] == ["gene", "transcript", "stop_codon"]


@given(seed=st.integers(0, 1000))
def test_sequences_against_biopython(seed):
    annotation = simulate("c", seed)
    sequence = Seq(decode(annotation.record.codes))
    cds, proteins = fasta(write_cds_fasta, annotation), fasta(write_protein_fasta, annotation)
    for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
        expected = sequence[gene.start : gene.end]
        if gene.strand == "-":
            expected = expected.reverse_complement()
        header, bases = cds[name]
        assert bases == expected
        residues = str(expected.translate(11, to_stop=True))
        assert proteins[name] == (header, "M" + residues[1:] if gene.has_start else residues)
        words = header.split()
        assert words[1] == f"c:{gene.start + 1}-{gene.end}({gene.strand})"
        assert (f"start_type={gene.start_codon}" in words) == gene.has_start
        assert words[-2:] == [f"score={gene.score:.4f}", f"partial={gene.partial_left:d}{gene.partial_right:d}"]


def test_unknown_bases_and_line_width():
    codes = encode("GTG" + "GGN" * 100 + "TAA")
    annotation = Annotation(Record("c", codes), (Gene("c", 0, len(codes), "+", 1.0, start_codon="GTG"),))
    handle = io.StringIO()
    write_protein_fasta(handle, annotation)
    header, *lines = handle.getvalue().splitlines()
    assert header == ">c_1 c:1-306(+) start_type=GTG score=1.0000 partial=00"
    assert [len(line) for line in lines] == [60, 41]
    assert "".join(lines) == "M" + "X" * 100


@given(seed=st.integers(0, 1000), circular=st.booleans())
def test_genbank_reads_back(seed, circular):
    annotation = simulate("NC_000001.2", seed, circular=circular)
    text = written("genbank", annotation)
    assert text == written("genbank", annotation)
    record = SeqIO.read(io.StringIO(text), "genbank")
    assert (record.id, record.annotations["topology"]) == ("NC_000001.2", "circular" if circular else "linear")
    assert record.annotations["date"] == "01-JAN-1980"
    assert record.annotations["comment"] == "lstmhmm 0.1.0 model=bacteria"
    assert record.seq == decode(annotation.record.codes)
    assert [feature.type for feature in record.features] == ["gene", "CDS"] * len(annotation.genes)
    proteins = fasta(write_protein_fasta, annotation)
    for name, gene, feature in zip(gene_ids(annotation), annotation.genes, record.features[1::2], strict=True):
        location = feature.location
        assert (int(location.start), int(location.end)) == (gene.start, gene.end)
        assert location.strand == (1 if gene.strand == "+" else -1)
        assert str(location.start).startswith("<") == gene.partial_left
        assert str(location.end).startswith(">") == gene.partial_right
        notes = feature.qualifiers
        assert (notes["locus_tag"], notes["codon_start"], notes["transl_table"]) == ([name], ["1"], ["11"])
        assert notes["translation"] == [proteins[name][1]]


@pytest.mark.parametrize(
    "seqid", ["a", "a.01", "a.1.2", "x" * 16, "scaffold_" + "9" * 40 + "_length=1200|cov", "read/1", "é"]
)
def test_genbank_takes_any_id(tmp_path, seqid):
    annotation = simulate(seqid, 3, circular=True)
    path = tmp_path / "a.gb"
    path.write_text(written("genbank", annotation), encoding="utf-8")
    [record] = read_records(str(path))
    assert (record.id, record.circular, record.description) == (seqid, True, "a simulated one")
    np.testing.assert_array_equal(record.codes, annotation.record.codes)


@gffread_needed
@pytest.mark.parametrize("name", ["gff3", "gtf"])
@pytest.mark.parametrize("seed", range(5))
def test_gffread_makes_the_same_proteins(tmp_path, name, seed):
    annotations = [simulate("contig_1", seed), simulate("b|2", seed + 50), Annotation(Record("bare", encode("ACGT")))]
    genome, features, proteins = tmp_path / "g.fa", tmp_path / f"x.{name}", tmp_path / "p.fa"
    genome.write_text("".join(f">{a.record.id}\n{decode(a.record.codes)}\n" for a in annotations))
    with open_output(str(features)) as handle:
        writer = WRITERS[name](handle, "lstmhmm")
        for annotation in annotations:
            writer.write(annotation)
    result = subprocess.run(
        ["gffread", "-E", features, "-g", genome, "-y", proteins], capture_output=True, text=True, check=True
    )
    assert "rror" not in result.stderr
    assert "arning" not in result.stderr.replace("with warnings", "")
    found = {
        record.id: str(record.seq).rstrip(".*") for record in SeqIO.parse(io.StringIO(proteins.read_text()), "fasta")
    }
    genes = [gene for annotation in annotations for gene in annotation.genes]
    expected = fasta(write_protein_fasta, *annotations)
    assert sorted(found) == sorted(expected)
    for (key, (_, protein)), gene in zip(expected.items(), genes, strict=True):
        # gffread translates every start codon as inside a gene
        first = str(Seq(gene.start_codon).translate()) if gene.has_start else protein[:1]
        assert found[key] == first + protein[1:]


def test_reproducible_bytes(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in WRITERS:
            with open_output(str(tmp_path / folder / f"{name}.gz")) as handle:
                writer = WRITERS[name](handle, provenance="x")
                for annotation in ANNOTATIONS:
                    writer.write(annotation)
    for name in WRITERS:
        assert (tmp_path / "a" / f"{name}.gz").read_bytes() == (tmp_path / "b" / f"{name}.gz").read_bytes()
