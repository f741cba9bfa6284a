"""Reading reference annotation."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from lstmhmm_bio.errors import InputError
from lstmhmm_bio.io.reference import Transcript, read_other_features, read_reference, read_transcripts

HEAD = "##gff-version 3\n"


def gff_row(kind: str, start: int, end: int, strand: str = "+", attributes: str = "", seqid: str = "c1") -> str:
    return f"{seqid}\ttest\t{kind}\t{start}\t{end}\t.\t{strand}\t0\t{attributes}\n"


def read(tmp_path: Path, text: str, name: str = "x.gff") -> list[Transcript]:
    path = tmp_path / name
    path.write_text(text)
    return read_transcripts(path)


def test_bacterial_gff3(tmp_path: Path) -> None:
    text = HEAD + gff_row("gene", 1, 90, attributes="ID=g1")
    text += gff_row("CDS", 1, 90, attributes="ID=c1;Parent=g1;transl_table=4")
    text += gff_row("CDS", 201, 290, "-", "ID=c2;partial=01")
    text += gff_row("CDS", 301, 390, "-", "ID=c3;pseudo=true")
    text += gff_row("CDS", 401, 490, "-", "ID=c4;exception=true")
    first, partial, pseudo, unsure = read(tmp_path, text)
    assert first == Transcript("c1", "+", ((0, 90),), "g1", "g1", genetic_code=4)
    assert (first.five_prime, first.three_prime, first.length) == (0, 90, 90)
    assert (partial.five_prime, partial.three_prime, partial.partial) == (290, 200, True)
    assert [t.pseudo for t in (first, partial, pseudo, unsure)] == [False, False, True, False]
    assert [t.unsure for t in (first, partial, pseudo, unsure)] == [False, False, False, True]


def test_two_cds_of_one_gene_are_two_and_isoforms_share_their_gene(tmp_path: Path) -> None:
    text = HEAD + gff_row("gene", 1, 300, attributes="ID=g1") + gff_row("gene", 401, 900, attributes="ID=g2")
    text += gff_row("CDS", 1, 90, attributes="ID=a;Parent=g1") + gff_row("CDS", 31, 90, attributes="ID=b;Parent=g1")
    for mrna in ("m1", "m2"):
        text += gff_row("mRNA", 401, 900, attributes=f"ID={mrna};Parent=g2")
    text += gff_row("CDS", 401, 500, attributes="ID=c;Parent=m1,m2") + gff_row("CDS", 601, 700, attributes="Parent=m1")
    text += gff_row("CDS", 703, 710, attributes="Parent=m1")  # a frameshift's gap
    a, b, m1, m2 = read(tmp_path, text)
    assert (a.segments, b.segments) == (((0, 90),), ((30, 90),))
    assert (m1.segments, m1.introns) == (((400, 500), (600, 710)), ((500, 600),))
    assert m2.segments == ((400, 500),)
    assert m1.gene == m2.gene == "g2"


def test_odd_locations(tmp_path: Path) -> None:
    text = HEAD + "##sequence-region c1 1 1000\n"
    text += gff_row("CDS", 950, 1049, attributes="ID=origin")
    text += gff_row("CDS", 100, 199, attributes="ID=trans") + gff_row("CDS", 300, 399, "-", "ID=trans")
    text += gff_row("CDS", 400, 499, "?", "ID=strandless") + gff_row("CDS", 500, 599, attributes="ID=fine")
    assert {t.name: t.odd for t in read(tmp_path, text)} == {
        "origin": True,
        "trans": True,
        "strandless": True,
        "fine": False,
    }


def test_pseudogene_is_inherited_and_doubtful_transcripts_count_only_away_from_genes(tmp_path: Path) -> None:
    text = HEAD + gff_row("pseudogene", 1, 90, attributes="ID=p") + gff_row("CDS", 1, 90, attributes="ID=x;Parent=p")
    text += gff_row("gene", 201, 290, attributes="ID=g") + gff_row(
        "mRNA", 201, 290, attributes="ID=m;Parent=g;check=bad"
    )
    text += gff_row("CDS", 201, 290, attributes="Parent=m")
    text += gff_row("other_transcript", 250, 400, attributes="ID=o1;kind=pseudo")
    text += gff_row("other_transcript", 250, 400, "-", "ID=o2;kind=pseudo")
    text += gff_row("other_transcript", 600, 700, attributes="ID=o3;kind=lncRNA")
    pseudo, doubted, other = read(tmp_path, text)
    assert pseudo.pseudo
    assert doubted.unsure
    assert (other.name, other.strand, other.unsure) == ("o2", "-", True)


def test_gtf_takes_stop_codons_in_and_finds_partial_genes_by_missing_codons(tmp_path: Path) -> None:
    text = ""
    for i, (has_start, has_stop) in enumerate([(1, 1), (1, 1), (1, 1), (0, 1), (1, 0)]):
        tag = f'gene_id "g{i}"; transcript_id "g{i}.1"; tag "basic"; tag "x";'
        at = 1000 * i
        text += gff_row("CDS", at + 1, at + 87, "+", tag)
        if has_start:
            text += gff_row("start_codon", at + 1, at + 3, "+", tag)
        if has_stop:
            text += gff_row("stop_codon", at + 88, at + 90, "+", tag)
    text += gff_row("CDS", 9004, 9090, "-", 'gene_id "m"; transcript_id "m.1"; tag "cds_start_NF";')
    text += gff_row("stop_codon", 8901, 8903, "-", 'gene_id "m"; transcript_id "m.1";')  # in an exon of its own
    text += gff_row("start_codon", 9088, 9090, "-", 'gene_id "m"; transcript_id "m.1";')
    transcripts = read(tmp_path, text, "x.gtf")
    assert [t.partial for t in transcripts] == [False, False, False, True, True, True]
    assert [t.segments for t in transcripts[:2]] == [((0, 90),), ((1000, 1090),)]
    assert transcripts[4].segments == ((4000, 4087),)
    assert transcripts[5].segments == ((8900, 8903), (9003, 9090))
    assert transcripts[0].gene == "g0"


def genbank(features: str, topology: str = "circular") -> str:
    return (
        f"LOCUS       T1                      1000 bp    DNA     {topology} BCT 01-JAN-2020\n"
        "DEFINITION  made up.\nACCESSION   T1\nVERSION     T1.1\nFEATURES             Location/Qualifiers\n"
        f"     source          1..1000\n{features}"
        "ORIGIN\n" + "".join(f"{i:>9} {'a' * 50}\n" for i in range(1, 1000, 50)) + "//\n"
    )


def test_genbank(tmp_path: Path) -> None:
    features = ""
    for i, location in enumerate(
        ["1..90", "complement(101..190)", "<201..290", "join(301..390,401..490)", "join(900..1000,1..50)"]
    ):
        features += f'     CDS             {location}\n                     /locus_tag="t{i}"\n'
        features += "                     /transl_table=4\n"
    features += '     CDS             600..690\n                     /locus_tag="t5"\n                     /pseudo\n'
    features += "     tRNA            complement(700..770)\n"
    path = tmp_path / "x.gb"
    path.write_text(genbank(features))
    reference = read_reference(path)
    assert [t.segments for t in reference.transcripts[:4]] == [
        ((0, 90),),
        ((100, 190),),
        ((200, 290),),
        ((300, 390), (400, 490)),
    ]
    assert [t.strand for t in reference.transcripts] == list("+-++++")
    assert [t.partial for t in reference.transcripts] == [False, False, True, False, False, False]
    assert [t.odd for t in reference.transcripts] == [False, False, False, False, True, False]
    assert [t.pseudo for t in reference.transcripts] == [False] * 5 + [True]
    assert reference.transcripts[0].genetic_code == 4
    assert reference.transcripts[0].seqid == "T1.1"
    assert read_other_features(path) == [("T1.1", 699, 770, "-", "tRNA")]


def test_gzip_crlf_fasta_part_and_other_features(tmp_path: Path) -> None:
    text = "\ufeff" + HEAD + gff_row("CDS", 1, 90, attributes="ID=a") + gff_row("rRNA", 101, 300, "-", "ID=r")
    text += gff_row("mRNA", 1, 90) + "\n##FASTA\n>c1\nACGT\n"
    path = tmp_path / "x.gff"
    path.write_bytes(gzip.compress(text.replace("\n", "\r\n").encode()))
    assert [t.segments for t in read_transcripts(path)] == [((0, 90),)]
    assert read_other_features(path) == [("c1", 100, 300, "-", "rRNA")]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("c1 test CDS 1 90 . + 0 ID=a\n", r"x\.gff, line 3: 1 tab-separated column"),
        (gff_row("CDS", 1, 90).replace("\t90\t", "\tx90\t"), r"line 3: start '1' and end 'x90' must be whole"),
        (gff_row("CDS", 91, 90), r"line 3: start 91 and end 90 must fulfil"),
        (gff_row("CDS", 0, 90), r"line 3: start 0 and end 90"),
        ("##sequence-region c1\n", r"line 3: expected '##sequence-region"),
        (">c1\n", r"line 3: 1 tab-separated"),
        ("", r"holds no CDS; give"),
    ],
)
def test_broken_files_are_named_with_line(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read(tmp_path, HEAD + gff_row("tRNA", 1, 50) + line)


def test_broken_genbank_and_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gb"
    path.write_text("LOCUS       broken\nFEATURES  nothing\n")
    with pytest.raises(InputError, match=r"x\.gb"):
        read_transcripts(path)
    with pytest.raises(InputError, match="no such file"):
        read_transcripts(tmp_path / "absent.gff")


def test_empty_prediction_is_fine_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.gff"
    path.write_text(HEAD + "##sequence-region c1 1 77\n")
    assert read_reference(path, allow_empty=True).transcripts == []
    path.write_text(HEAD + "##sequence-region c1 1 77\n" + gff_row("tRNA", 1, 70) + "##sequence-region c2 1 5\n")
    assert read_reference(path, allow_empty=True).lengths == {"c1": 77}


def test_row_order_does_not_matter(tmp_path: Path) -> None:
    rows = [gff_row("gene", 1, 900, attributes="ID=g"), gff_row("mRNA", 1, 900, attributes="ID=m;Parent=g")]
    rows += [gff_row("CDS", at, at + 50, attributes="ID=c;Parent=m") for at in (1, 201, 401, 601)]
    expected = read(tmp_path, HEAD + "".join(rows))
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        assert read(tmp_path, HEAD + "".join(shuffled)) == expected
