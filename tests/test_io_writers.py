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
from spliced import simulate_spliced, turned

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


# ---- genes with introns


SPLICED_CODES = encode(
    "CC" + "A" + "GTCCCCCCAG" + "TGAAACCC" + "GTCCAG" + "TA" + "GTCCCAG" + "A" + "CC"  # M K P stop, start and stop cut
)
SPLICED = Gene(
    "c", 2, 37, "+", 0.9, start_score=0.8, start_codon="ATG", genetic_code=1,
    introns=((3, 13), (21, 27), (29, 36)), exon_scores=(0.1, 0.2, 0.3, 0.4), intronic=True,
)  # fmt: skip


def reversed_gene(gene: Gene, length: int) -> Gene:
    introns = tuple((length - end, length - start) for start, end in reversed(gene.introns))
    return replace(
        gene, start=length - gene.end, end=length - gene.start, strand="-", introns=introns,
        exon_scores=gene.exon_scores[::-1],
    )  # fmt: skip


def spliced_both_ways() -> tuple[Annotation, Annotation]:
    record = Record("c", SPLICED_CODES)
    back = Record("c", encode(str(Seq(decode(SPLICED_CODES)).reverse_complement())))
    return Annotation(record, (SPLICED,)), Annotation(back, (reversed_gene(SPLICED, len(record)),))


def table(text: str) -> list[str]:
    """Rows without name, program and attributes."""
    return [" ".join(row[2:8]) for row in rows(text)]


def test_spliced_gene_in_gff3():
    forward, back = spliced_both_ways()
    text = written("gff3", forward)
    assert table(text) == [
        "gene 3 37 0.9000 + .",
        "mRNA 3 37 0.9000 + .",
        "exon 3 3 0.1000 + .",
        "exon 14 21 0.2000 + .",
        "exon 28 29 0.3000 + .",
        "exon 37 37 0.4000 + .",
        "CDS 3 3 0.1000 + 0",
        "CDS 14 21 0.2000 + 2",
        "CDS 28 29 0.3000 + 0",
        "CDS 37 37 0.4000 + 1",
    ]
    assert table(written("gff3", back))[2:] == [
        "exon 3 3 0.4000 - .",
        "exon 11 12 0.3000 - .",
        "exon 19 26 0.2000 - .",
        "exon 37 37 0.1000 - .",
        "CDS 3 3 0.4000 - 1",
        "CDS 11 12 0.3000 - 0",
        "CDS 19 26 0.2000 - 2",
        "CDS 37 37 0.1000 - 0",
    ]
    for found, numbers in ((text, "1234"), (written("gff3", back), "4321")):
        notes = [row[8] for row in rows(found)]
        assert notes[:2] == ["ID=c_1;locus_tag=c_1", "ID=c_1.t1;Parent=c_1"]
        assert notes[2:6] == [f"ID=c_1.t1.exon{number};Parent=c_1.t1" for number in numbers]
        coding = "ID=c_1.t1.cds;Parent=c_1.t1;transl_table=1;start_type=ATG;start_score=0.8000"
        assert notes[6:] == [coding] * 4


def test_spliced_gene_in_gtf():
    forward, back = spliced_both_ways()
    text = written("gtf", forward)
    assert table(text) == [
        "gene 3 37 0.9000 + .",
        "transcript 3 37 0.9000 + .",
        "exon 3 3 0.1000 + .",
        "exon 14 21 0.2000 + .",
        "exon 28 29 0.3000 + .",
        "exon 37 37 0.4000 + .",
        "CDS 3 3 0.1000 + 0",
        "CDS 14 21 0.2000 + 2",
        "start_codon 3 3 0.1000 + 0",
        "start_codon 14 15 0.2000 + 2",
        "stop_codon 28 29 0.3000 + 0",
        "stop_codon 37 37 0.4000 + 1",
    ]
    assert table(written("gtf", back))[6:] == [
        "CDS 19 26 0.2000 - 2",
        "CDS 37 37 0.1000 - 0",
        "start_codon 25 26 0.2000 - 2",
        "start_codon 37 37 0.1000 - 0",
        "stop_codon 3 3 0.4000 - 1",
        "stop_codon 11 12 0.3000 - 0",
    ]
    assert rows(text)[0][8] == 'gene_id "c_1";'
    assert {row[8] for row in rows(text)[1:]} == {'gene_id "c_1"; transcript_id "c_1.t1";'}


def test_spliced_gene_in_bed_and_fasta():
    forward, back = spliced_both_ways()
    [row] = rows(written("bed", forward))
    assert row[:8] == ["c", "2", "37", "c_1.t1", "900", "+", "2", "37"]
    assert row[9:] == ["4", "1,8,2,1", "0,11,25,34"]
    assert rows(written("bed", back))[0][9:] == ["4", "1,2,8,1", "0,8,16,34"]
    place = "c:3-3,14-21,28-29,37-37(+)"
    assert fasta(write_cds_fasta, forward)["c_1.t1"] == (
        f"c_1.t1 {place} start_type=ATG score=0.9000 partial=00", "ATGAAACCCTAA",
    )  # fmt: skip
    assert {fasta(write_protein_fasta, a)["c_1.t1"][1] for a in (forward, back)} == {"MKP"}
    assert fasta(write_cds_fasta, back)["c_1.t1"][1] == "ATGAAACCCTAA"


def test_scores_of_exons_unknown():
    annotation = Annotation(Record("c", SPLICED_CODES), (replace(SPLICED, exon_scores=()),))
    for name in ("gff3", "gtf"):
        assert {row[5] for row in rows(written(name, annotation))} == {"0.9000"}


def test_gene_without_introns_of_a_model_that_knows_them():
    gene = Gene("c", 0, 9, "-", 0.5, intronic=True, start_codon="ATG")
    annotation = Annotation(Record("c", encode("TTATTTCAT")), (gene,))
    assert [row[2] for row in rows(written("gff3", annotation))] == ["gene", "mRNA", "exon", "CDS"]
    kinds = ["gene", "transcript", "exon", "CDS", "start_codon", "stop_codon"]
    assert [row[2] for row in rows(written("gtf", annotation))] == kinds
    assert rows(written("bed", annotation))[0][9:] == ["1", "9", "0"]


@given(seed=st.integers(0, 10_000))
def test_open_ends_of_spliced_genes(seed):
    annotation, _ = simulate_spliced("c", seed)
    found: dict[str, list[list[str]]] = {}
    for row in rows(written("gff3", annotation)):
        found.setdefault(attributes(row[8])["ID"], []).append(row)
    for name, gene in zip(gene_ids(annotation), annotation.genes, strict=True):
        partial = gene.partial_left or gene.partial_right
        features = {f"{name}": "gene", f"{name}.t1": "mRNA", f"{name}.t1.cds": "CDS"}
        features |= {f"{name}.t1.exon{i}": "exon" for i in range(1, len(gene.segments) + 1)}
        whole = [(gene.start, gene.end)]
        for feature, kind in features.items():
            parts = found.pop(feature)
            assert {row[2] for row in parts} == {kind}
            spans = [(int(row[3]) - 1, int(row[4])) for row in parts]
            assert spans == {"gene": whole, "mRNA": whole, "CDS": list(gene.segments)}.get(kind, spans)
            for row, (start, end) in zip(parts, spans, strict=True):
                notes = attributes(row[8])
                left, right = gene.partial_left and start == gene.start, gene.partial_right and end == gene.end
                assert notes.get("start_range") == (f".,{start + 1}" if left else None)
                assert notes.get("end_range") == (f"{end},." if right else None)
                assert ("partial" in notes) == (left or right if kind == "exon" else partial)
    assert not found


@given(seed=st.integers(0, 10_000), origin=st.integers(0, 10_000))
def test_spliced_and_turned_genes_against_what_was_simulated(seed, origin):
    annotation, coding = simulate_spliced("c", seed, open_ends=False)
    by_score = {gene.score: text for gene, text in zip(annotation.genes, coding, strict=True)}
    circle = turned(annotation, origin % len(annotation.record))
    cds, proteins = fasta(write_cds_fasta, circle), fasta(write_protein_fasta, circle)
    record = SeqIO.read(io.StringIO(written("genbank", circle)), "genbank")
    assert record.annotations["topology"] == "circular"
    tables = {name: rows(written(name, circle)) for name in ("gff3", "gtf")}
    length = len(record)
    for i, (name, gene) in enumerate(zip(gene_ids(circle), circle.genes, strict=True)):
        text = by_score[gene.score]
        assert cds[f"{name}.t1"][1] == text
        assert proteins[f"{name}.t1"][1] == str(Seq(text).translate(to_stop=True))
        whole, feature = record.features[2 * i : 2 * i + 2]
        assert (whole.type, feature.type, len(feature.location)) == ("gene", "CDS", len(text))
        assert str(feature.extract(record.seq)) == text
        assert len(whole.location) == gene.end - gene.start
        assert len(whole.location.parts) == (2 if gene.end > length else 1)
        assert feature.qualifiers["translation"] == [proteins[f"{name}.t1"][1]]
        for kind, outside in (("gff3", 0), ("gtf", 3)):
            own = [row for row in tables[kind] if f"{name}.t1" in row[8].replace('"', ";").replace("=", ";").split(";")]
            parts = [row for row in own if row[2] == "CDS"]
            assert parts or len(text) == outside
            # every row, read on its own from its phase, holds whole codons of the gene; together they are all of it
            if gene.strand == "-":
                parts.reverse()
            if kind == "gtf":  # cut at the origin: what comes after it is read after it, or before on the other strand
                before = [row for row in parts if int(row[3]) > gene.start]
                after = [row for row in parts if int(row[3]) <= gene.start]
                parts = before + after if gene.strand == "+" else after + before
                assert all(int(row[4]) <= length for row in own)
                assert all(('origin_spanning "true"' in row[8]) == (gene.end > length) for row in own)
            read = 0
            for row in parts:
                bases = [str(record.seq)[x % length] for x in range(int(row[3]) - 1, int(row[4]))]
                piece = "".join(bases) if gene.strand == "+" else str(Seq("".join(bases)).reverse_complement())
                assert text[read : read + len(piece)] == piece
                assert (read + int(row[7])) % 3 == 0
                read += len(piece)
            assert read == len(text) - outside


# ---- genes over the origin of circular records


OVER_ORIGIN = Annotation(
    Record("p", encode("GTAA" + "C" * 10 + "TTGAAAAA"), circular=True),
    (Gene("p", 14, 26, "+", 0.75, start_codon="TTG", start_score=0.5),),
)


def test_gene_over_the_origin():
    first, *features = rows(written("gff3", OVER_ORIGIN))
    assert first == ["p", "lstmhmm", "region", "1", "22", ".", "+", ".", "ID=p:1..22;Is_circular=true"]
    assert [" ".join(row[2:8]) for row in features] == ["gene 15 26 0.7500 + .", "CDS 15 26 0.7500 + 0"]
    assert table(written("gtf", OVER_ORIGIN)) == [
        "gene 15 22 0.7500 + .",
        "gene 1 4 0.7500 + .",
        "transcript 15 22 0.7500 + .",
        "transcript 1 4 0.7500 + .",
        "CDS 15 22 0.7500 + 0",
        "CDS 1 1 0.7500 + 1",
        "start_codon 15 17 0.7500 + 0",
        "stop_codon 2 4 0.7500 + 0",
    ]
    assert [row[1:8] for row in rows(written("bed", OVER_ORIGIN))] == [
        ["14", "22", "p_1", "750", "+", "14", "22"],
        ["0", "4", "p_1", "750", "+", "0", "4"],
    ]
    assert fasta(write_cds_fasta, OVER_ORIGIN)["p_1"] == (
        "p_1 p:15-22,1-4(+) start_type=TTG score=0.7500 partial=00", "TTGAAAAAGTAA",
    )  # fmt: skip
    assert fasta(write_protein_fasta, OVER_ORIGIN)["p_1"][1] == "MKK"
    assert "     CDS             join(15..22,1..4)\n" in written("genbank", OVER_ORIGIN)


def test_gene_over_the_origin_on_the_other_strand():
    record = Record("p", encode(str(Seq(decode(OVER_ORIGIN.record.codes)).reverse_complement())), circular=True)
    back = Annotation(record, (Gene("p", 18, 30, "-", 0.75, start_codon="TTG"),))
    assert table(written("gff3", back))[1:] == ["gene 19 30 0.7500 - .", "CDS 19 30 0.7500 - 0"]
    assert table(written("gtf", back))[4:] == [
        "CDS 22 22 0.7500 - 1",
        "CDS 1 8 0.7500 - 0",
        "start_codon 6 8 0.7500 - 0",
        "stop_codon 19 21 0.7500 - 0",
    ]
    assert fasta(write_cds_fasta, back)["p_1"][1] == "TTGAAAAAGTAA"
    assert "     CDS             complement(join(19..22,1..8))\n" in written("genbank", back)


def test_ends_of_genes_at_the_origin_are_no_parts():
    """A gene that ends with the last base, and an intron over the origin."""
    record = Record("p", encode("C" * 30), circular=True)
    ending = Gene("p", 21, 30, "+", 0.5)
    intron = Gene("p", 12, 39, "+", 0.5, introns=((18, 33),), intronic=True)
    assert [row[1:3] for row in rows(written("bed", Annotation(record, (ending,))))] == [["21", "30"]]
    spliced = Annotation(record, (intron,))
    assert [row[1:3] + row[9:] for row in rows(written("bed", spliced))] == [
        ["12", "18", "1", "6", "0"],
        ["3", "9", "1", "6", "0"],
    ]
    assert [r[3:5] for r in rows(written("gff3", spliced)) if r[2] == "CDS"] == [["13", "18"], ["34", "39"]]
    assert "     CDS             join(13..18,4..9)\n" in written("genbank", spliced)
    assert "     gene            join(13..30,1..9)\n" in written("genbank", spliced)


def test_no_two_features_of_a_file_share_an_id():
    """Records whose names look like genes of others."""
    records = [Record(name, encode("C" * 30), circular=True) for name in ("a", "a_1", "a_1.t1", "a_1:1..30")]
    gene = Gene("", 3, 9, "+", 0.5, intronic=True)
    text = written("gff3", *(Annotation(record, (replace(gene, seqid=record.id),)) for record in records))
    ids = [attributes(row[8])["ID"] for row in rows(text)]
    assert len(set(ids)) == len(ids) == 4 * 5
