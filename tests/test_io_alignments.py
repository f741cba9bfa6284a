from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pysam
import pytest

from lstmhmm_bio.errors import InputError, UsageError
from lstmhmm_bio.io import read_records
from lstmhmm_bio.sequence import decode

REFERENCE = "AACCGGTTACGTACGTTTTTGGGGACGTCA" * 10
CONTIGS = (("chr:1", len(REFERENCE)), ("other-2", 50))
REVERSE, PAIRED, READ1, READ2, SECONDARY, SUPPLEMENTARY, UNMAPPED = 16, 1, 64, 128, 256, 2048, 4

#: name, flag, position (-1: unmapped), sequence as stored
READS = [
    ("forward", 0, 0, "AACCGGTTAC"),
    ("reverse", REVERSE, 0, "AACCGGTTAC"),
    ("pair", PAIRED | READ1, 10, "GTACGTTTTT"),
    ("pair", PAIRED | READ2 | REVERSE, 100, "GTTTTTGGGG"),
    ("forward", SECONDARY, 30, "AACCGGTTAC"),
    ("reverse", SUPPLEMENTARY | REVERSE, 60, "AACCGG"),
    ("lost", UNMAPPED, -1, "ACGTN"),
]
EXPECTED = [
    ("forward", "AACCGGTTAC"),
    ("reverse", "GTAACCGGTT"),
    ("pair/1", "GTACGTTTTT"),
    ("pair/2", "CCCCAAAAAC"),
    ("lost", "ACGTN"),
]


def write(path: Path, mode: str, reads=READS, references=CONTIGS, **options) -> Path:
    header = pysam.AlignmentHeader.from_dict(
        {"HD": {"VN": "1.6", "SO": "unsorted"}, "SQ": [{"SN": name, "LN": n} for name, n in references]}
    )
    with pysam.AlignmentFile(str(path), mode, header=header, **options) as file:
        for name, flag, position, sequence in reads:
            read = pysam.AlignedSegment(header)
            read.query_name, read.flag, read.query_sequence = name, flag, sequence
            if position >= 0:
                read.reference_id, read.reference_start = 0, position
                read.cigartuples, read.mapping_quality = [(0, len(sequence))], 60
            file.write(read)
    return path


def read(path: Path, **options: str | None) -> list[tuple[str, str]]:
    return [(record.id, decode(record.codes)) for record in read_records(str(path), **options)]


@pytest.mark.parametrize(("suffix", "mode"), [("bam", "wb"), ("sam", "wh")])
def test_reads_as_sequenced(tmp_path, suffix, mode):
    assert read(write(tmp_path / f"x.{suffix}", mode)) == EXPECTED


def test_compressed_sam(tmp_path):
    path = tmp_path / "x.sam.gz"
    path.write_bytes(gzip.compress(write(tmp_path / "x.sam", "wh").read_bytes()))
    assert read(path) == EXPECTED


def test_cram_needs_its_reference(tmp_path, monkeypatch):
    monkeypatch.setenv("REF_PATH", str(tmp_path / "none"))  # nothing from elsewhere
    monkeypatch.setenv("REF_CACHE", str(tmp_path / "none"))
    reference = tmp_path / "reference.fa"
    reference.write_text(f">chr:1\n{REFERENCE}\n>other-2\n{'A' * 50}\n")
    path = write(tmp_path / "x.cram", "wc", reads=READS[:4], reference_filename=str(reference))
    assert read(path, reference=str(reference)) == EXPECTED[:4]
    hidden = reference.rename(tmp_path / "moved.fa")
    assert read(path, reference=str(hidden)) == EXPECTED[:4]
    with pytest.raises(InputError, match=r"x\.cram.*reference"):
        read(path)


def test_region(tmp_path):
    path = write(tmp_path / "x.bam", "wb")
    with pytest.raises(InputError, match=r"x\.bam.*samtools index"):
        read(path, region="chr:1:1-20")
    pysam.sort("-o", str(path), str(path))
    pysam.index(str(path))
    assert read(path, region="chr:1:1-20") == EXPECTED[:3]
    assert read(path, region="chr:1:101") == EXPECTED[3:4]
    assert read(path, region="chr:1") == EXPECTED[:4]
    assert read(path, region="other-2") == []
    for region in ("chr", "chr:2", "other-2:60-70"):
        with pytest.raises(UsageError, match=region):
            read(path, region=region)


def test_without_references_and_mates_named_already(tmp_path):
    """An unaligned BAM, as sequencers write them."""
    reads = [
        ("a/1", UNMAPPED | PAIRED | READ1, -1, "ACG"),
        ("a/2", UNMAPPED | PAIRED | READ2, -1, "T"),
        ("b", 4, -1, ""),
    ]
    assert read(write(tmp_path / "u.bam", "wb", reads, ())) == [("a/1", "ACG"), ("a/2", "T"), ("b", "")]


def test_errors(tmp_path, capfd):
    twice = write(tmp_path / "twice.bam", "wb", [READS[0], READS[0]])
    with pytest.raises(InputError, match=r"twice\.bam: records 1 and 2 are both named 'forward'"):
        read(twice)
    with pytest.raises(InputError, match=r"none\.bam.*no records"):
        read(write(tmp_path / "none.bam", "wb", []))
    many = write(tmp_path / "many.bam", "wb", [(f"r{i}", 0, 0, REFERENCE) for i in range(2000)])
    many.write_bytes(many.read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"many\.bam: the alignments cannot be read"):
        read(many)
    assert capfd.readouterr().err == ""


def test_no_pipe(tmp_path):
    source = write(tmp_path / "x.bam", "wb")
    os.mkfifo(tmp_path / "pipe")
    writer = subprocess.Popen(["sh", "-c", f"cat '{source}' > '{tmp_path}/pipe'"])
    with pytest.raises(InputError, match="pipe: BAM, CRAM and SAM are not read from a pipe"):
        read(tmp_path / "pipe")
    writer.wait()
