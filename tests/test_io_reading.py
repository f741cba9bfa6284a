from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmhmm_bio.errors import InputError, UsageError
from lstmhmm_bio.io import read_records
from lstmhmm_bio.io.unique import FirstSeen
from lstmhmm_bio.sequence import decode, encode

COMPRESSORS = {"none": bytes, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def records_of(path: Path, **options: str | None) -> list[tuple[str, str]]:
    return [(record.id, decode(record.codes)) for record in read_records(str(path), **options)]


def fails(path: Path, *words: str, **options: str | None) -> None:
    """Reading raises one line that names the file and holds each of some words."""
    with pytest.raises(InputError) as caught:
        list(read_records(str(path), **options))
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message


def fasta(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)


@given(
    ids=st.lists(names, min_size=1, max_size=5, unique=True),
    seed=st.integers(0, 2**32),
    width=st.integers(1, 200),
    line_end=st.sampled_from(["\n", "\r\n"]),
    last_line_end=st.booleans(),
    bom=st.booleans(),
    compression=st.sampled_from(sorted(COMPRESSORS)),
)
def test_fasta_round_trip(tmp_path_factory, ids, seed, width, line_end, last_line_end, bom, compression):
    rng = random.Random(seed)
    sequences = ["".join(rng.choices("ACGTacgtNnRYuU", k=rng.choice([0, 1, 59, 60, 61, 500, 9000]))) for _ in ids]
    lines = []
    for name, sequence in zip(ids, sequences, strict=True):
        lines += [f">{name} some words", *(sequence[i : i + width] for i in range(0, len(sequence), width))]
        lines += [""] * rng.randint(0, 2)
    text = line_end.join(lines) + line_end * last_line_end
    path = tmp_path_factory.mktemp("fasta") / "genome.fa"
    path.write_bytes(COMPRESSORS[compression](text.encode("utf-8-sig" if bom else "utf-8")))
    found = list(read_records(str(path)))
    assert [record.id for record in found] == ids
    assert {record.description for record in found} == {"some words"}
    for record, sequence in zip(found, sequences, strict=True):
        np.testing.assert_array_equal(record.codes, encode(sequence))


def test_fasta_corner_records(tmp_path):
    path = fasta(
        tmp_path / "a.fa", "\n\n>none\n>one desc\tof it \na\n>ns\nNNNN\n>iupac\nACGURYSWKMBDHVN\n>blanks\nAC GT\tA\n\n"
    )
    assert records_of(path) == [
        ("none", ""), ("one", "A"), ("ns", "NNNN"), ("iupac", "ACGTNNNNNNNNNNN"), ("blanks", "ACGTA"),
    ]  # fmt: skip
    assert [record.description for record in read_records(str(path))][1] == "desc\tof it"


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_fasta_is_coded_in_pieces(tmp_path, monkeypatch, piece):
    """Records that are longer or shorter than a piece, in many lines or one; positions are those in the record."""
    monkeypatch.setattr("lstmhmm_bio.io.fasta._PIECE", piece)
    long = "ACGTTGCA" * 5
    path = fasta(tmp_path / "a.fa", f">one\n{long}\r\n>lines\n" + "\n".join(long) + "\n>none\n>short\nA C\n")
    assert records_of(path) == [("one", long), ("lines", long), ("none", ""), ("short", "AC")]
    fails(fasta(tmp_path / "b.fa", f">one\n{long}\n{long[:9]}-{long}\n"), "record 'one' holds '-' at position 50;")


def test_bgzip_and_gzip_members(tmp_path):
    pysam = pytest.importorskip("pysam")
    content = b">a\n" + b"ACGTT\n" * 50_000
    with pysam.BGZFile(str(tmp_path / "a.fa.gz"), "wb") as file:
        file.write(content)
    assert records_of(tmp_path / "a.fa.gz") == [("a", "ACGTT" * 50_000)]
    joined = fasta(tmp_path / "b.gz", gzip.compress(b">a\nAC") + gzip.compress(b"GT\n>b\nA\n"))
    assert records_of(joined) == [("a", "ACGT"), ("b", "A")]


def test_streams_record_by_record(tmp_path):
    path = fasta(tmp_path / "a.fa", ">a\nACGT\n>b\nEFIL\n")
    records = read_records(str(path))
    assert next(records).id == "a"
    with pytest.raises(InputError, match="protein"):
        next(records)


@pytest.mark.parametrize("compression", sorted(COMPRESSORS))
def test_standard_input_that_drips(compression):
    """A pipe that hands out single bytes: nothing may be decided from a short first read."""
    code = (
        "from lstmhmm_bio.io import read_records\n"
        "for r in read_records('-'): print(r.id, len(r), r.circular)"
    )  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    data = COMPRESSORS[compression](b">a\nACGT\n>b\nACGTACG\n")
    for i in range(8):
        process.stdin.write(data[i : i + 1])
        process.stdin.flush()
    out, _ = process.communicate(data[8:])
    assert process.returncode == 0
    assert out.decode().split("\n")[:2] == ["a 4 False", "b 7 False"]


def test_standard_input_errors_name_it(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(InputError, match="standard input is empty"):
        list(read_records("-"))


def test_named_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = subprocess.Popen(["sh", "-c", f"printf '>a\\nACGT\\n' > '{path}'"])
    assert records_of(path) == [("a", "ACGT")]
    assert writer.wait() == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["is empty"]),
        (b"\n \r\n", ["no records"]),
        (b"ACGT\nACGT\n", ["not FASTA", "'ACGT'", "'>'"]),
        (b"##gff-version 3\n", ["not FASTA"]),
        (b"  >a\nACGT\n", ["not FASTA", "line 1"]),
        (b"@read1\nACGT\n+\nIIII\n", ["FASTQ", "seqtk seq -A"]),
        (b"\x7fELF\0\0\0\0", ["binary"]),
        (b">a\nAC\0\0GT", ["'a'", "0x00", "position 3", "no plain text"]),
        (b">a\nACGT\n>\nACGT\n", ["line 3", "no id"]),
        (b">a\nACGT\n> b\nACGT\n", ["line 3", "no id"]),
        (b">a\nA\n>b\nC\n>a\nG\n", ["records 1 and 3", "'a'"]),
        (
            b">p1 lysozyme\nMKALIVLGLVLLSVTVQGKVFERCELARTLKRLGMDGYRGISLANWMCL\n",
            ["'p1'", "'L'", "position 4", "protein"],
        ),
        (b">p2\nMKVSTARNDE*\n", ["'p2'", "'E'", "position 10", "protein"]),
        (b">a\nACGTACGTACGTACGTZACGT\n", ["'a'", "'Z'", "position 17", "IUPAC"]),
        (b">a\nACGT\nAC-GT\n", ["'a'", "'-'", "position 7", "remove gap characters"]),
        (b">a\nACGT.\n", ["'.'", "remove gap characters"]),
        (b">a\nACGT*\n", ["'*'", "remove gap characters"]),
        (b">a\xff\nACGT\n", ["line 1", "UTF-8"]),
        (b">a\rACGT\r", ["line 1", "carriage return"]),
        (b"\x28\xb5\x2f\xfd\x00\x00", ["zstd", "decompress"]),
        (b"PK\x03\x04\x00\x00", ["zip", "unpack"]),
    ],
)
def test_bad_content(tmp_path, content, words):
    fails(fasta(tmp_path / "bad.fa", content), *words)
    if content[:2] != b"PK" and content[:1] != b"\x28":
        fails(fasta(tmp_path / "bad.fa.gz", gzip.compress(content)), *words)


def test_bad_paths(tmp_path, monkeypatch):
    fails(tmp_path / "missing.fa", "no such file")
    fails(tmp_path, "directory")

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    path = fasta(tmp_path / "a.fa", ">a\nA\n")
    monkeypatch.setattr("lstmhmm_bio.io.compression.io.FileIO", refuse)  # root may read everything
    fails(path, "permissions")


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz"])
def test_damaged_compression(tmp_path, compression):
    rng = np.random.default_rng(1)
    whole = COMPRESSORS[compression](b">a\n" + rng.choice(np.frombuffer(b"ACGT", np.uint8), 200_000).tobytes())
    fails(fasta(tmp_path / "cut", whole[: len(whole) // 2]), "truncated")
    fails(fasta(tmp_path / "short", whole[:12]), "truncated")
    corrupt = whole[:20_000] + bytes(2000) + whole[22_000:]
    fails(fasta(tmp_path / "corrupt", corrupt), "corrupt")


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("b", ("b", "ACGTACGTAC")),
        ("b:1-10", ("b:1-10", "ACGTACGTAC")),
        ("b:3-5", ("b:3-5", "GTA")),
        ("b:9-9", ("b:9-9", "A")),
        ("b:9", ("b:9-10", "AC")),
        ("b:9-", ("b:9-10", "AC")),
        ("b:8-1,000", ("b:8-10", "TAC")),
        ("c:1-2", ("c:1-2", "GGGG")),
        ("c:1-2:2-3", ("c:1-2:2-3", "GG")),
    ],
)
def test_region(tmp_path, region, expected):
    path = fasta(tmp_path / "a.fa", ">a\nTTTT\n>b words\nACGTACGTAC\n>c:1-2\nGGGG\n")
    assert records_of(path, region=region) == [expected]


@pytest.mark.parametrize("region", ["x", "x:1-5", "b:0-4", "b:11-12", "b:5-4", "b:p-q", "b:-4", ""])
def test_bad_region(tmp_path, region):
    path = fasta(tmp_path / "a.fa", ">a\nTTTT\n>b\nACGTACGTAC\n")
    with pytest.raises(UsageError, match=re.escape(repr(region))):
        list(read_records(str(path), region=region))


GENBANK = """\
LOCUS       NC_1           {length:>10} bp    DNA     {topology:<8} BCT 01-JAN-2020
DEFINITION  A plasmid of nothing.
ACCESSION   NC_1
VERSION     NC_1.2
FEATURES             Location/Qualifiers
     source          1..70
                     /organism="x"
ORIGIN
        1 acgtacgtac gtacgtacgt acgtacgtac gtacgtacgt acgtacgtac gtacgtacgt
       61 acgtrnacgt
//
"""


@pytest.mark.parametrize("topology", ["circular", "linear"])
@pytest.mark.parametrize("compression", sorted(COMPRESSORS))
def test_genbank(tmp_path, topology, compression):
    text = GENBANK.format(length=70, topology=topology).encode()
    second = text.replace(b"NC_1", b"NC_2").replace(b"\n", b"\r\n")
    path = fasta(tmp_path / "a.gbff", COMPRESSORS[compression](text + second))
    first, other = read_records(str(path))
    assert (first.id, first.description, other.id) == ("NC_1.2", "A plasmid of nothing", "NC_2.2")
    assert decode(first.codes) == decode(other.codes) == "ACGT" * 16 + "NNACGT"
    assert first.circular == (topology == "circular")
    [cut] = read_records(str(path), region="NC_2.2:62-65")
    assert (cut.id, decode(cut.codes), cut.circular) == ("NC_2.2:62-65", "CGTN", False)


def test_genbank_from_standard_input(monkeypatch):
    content = gzip.compress(GENBANK.format(length=70, topology="circular").encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    [record] = read_records("-")
    assert (record.id, len(record), record.circular) == ("NC_1.2", 70, True)


def test_bad_genbank(tmp_path):
    text = GENBANK.format(length=70, topology="linear")
    fails(fasta(tmp_path / "cut.gb", text[: text.index("       61")]), "record 1", "not valid GenBank")
    no_sequence = re.sub(r"ORIGIN.*//", "CONTIG      join(X.1:1..70)\n//", text, flags=re.DOTALL)
    fails(fasta(tmp_path / "con.gb", no_sequence), "'NC_1.2'", "no sequence")
    fails(fasta(tmp_path / "twice.gb", text + text), "records 1 and 2", "'NC_1.2'")
    fails(fasta(tmp_path / "gap.gb", text.replace("acgtrn", "acg-rn")), "'NC_1.2'", "position 64", "gap")
    protein = text.replace("acgtacgtac", "mklivlpqwe")
    fails(fasta(tmp_path / "protein.gp", protein), "protein")


def test_names_are_seen_first_when_a_dictionary_says_so():
    rng = random.Random(1)
    names = [
        "",
        "\ud800",
        *(f"read.{rng.randrange(8000)}/{rng.randrange(2)}" for _ in range(12_000)),
    ]  # the table grows
    seen, numbers = FirstSeen(), {}
    assert [seen.add(name) for name in names] == [numbers.setdefault(name, n) for n, name in enumerate(names, 1)]
    assert 5000 < len(numbers) < 11_000
