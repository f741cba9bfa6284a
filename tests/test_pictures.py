"""Tracks of a region and pictures of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pysam
import pytest
from command import run

from lstmhmm_bio.errors import InputError, UsageError
from lstmhmm_bio.features import Record
from lstmhmm_bio.pictures import (
    Feature,
    Features,
    Line,
    picture,
    read_coverage,
    read_features,
    read_values,
    window_gc,
)
from lstmhmm_bio.pictures.region import _fits, _lanes, _round_ticks
from lstmhmm_bio.sequence import decode, encode

GFF3 = """##gff-version 3
x\tt\tgene\t101\t400\t.\t+\t.\tID=a
x\tt\tCDS\t101\t400\t.\t+\t0\tID=a.cds;Parent=a
x\tt\tmRNA\t1001\t2000\t.\t-\t.\tID=b
x\tt\tCDS\t1001\t1200\t.\t-\t0\tID=b.cds;Parent=b
x\tt\tCDS\t1801\t2000\t.\t-\t0\tID=b.cds;Parent=b
x\tt\ttRNA\t3001\t3080\t.\t+\t.\tID=c
x\tt\tgene\t4001\t4300\t.\t+\t.\tID=d;pseudo=true
x\tt\tCDS\t4001\t4300\t.\t+\t0\tID=d.cds;Parent=d;pseudo=true
y\tt\tCDS\t1\t300\t.\t+\t0\tID=e
"""


def texts(svg: bytes) -> list[str]:
    return [re.sub("<[^>]*>", "", t) for t in re.findall(r"<text[^>]*>(.*?)</text>", svg.decode(), re.DOTALL)]


@pytest.fixture
def gff3(tmp_path: Path) -> str:
    path = tmp_path / "genes.gff3"
    path.write_text(GFF3)
    return str(path)


def test_gff3_features_of_the_region_alone(gff3: str) -> None:
    track = read_features(gff3, "x", 350, 4100)
    assert [(f.start, f.end, f.strand, f.kind) for f in track.features] == [
        (100, 400, "+", "gene"),
        (1000, 2000, "-", "gene"),
        (3000, 3080, "+", "RNA"),
        (4000, 4300, "+", "doubtful"),
    ]
    assert track.features[1].segments == ((1000, 1200), (1800, 2000))
    assert track.name == "genes"


def test_bed_genes_keep_strand_and_segmentations_their_colours(tmp_path: Path) -> None:
    genes, segments = tmp_path / "g.bed", tmp_path / "s.bed"
    genes.write_text("x\t10\t60\ta\t900\t+\nx\t40\t90\tb\t900\t-\n")
    segments.write_text(
        "# made by hand\nx\t0\t50\tlow\t900\t.\t0\t50\t200,200,200\nx\t50\t90\thigh\t900\t.\t50\t90\t0,114,178\textra\n"
    )
    assert not read_features(str(genes), "x", 0, 100).is_partition
    track = read_features(str(segments), "x", 0, 100)
    assert track.is_partition
    assert [(f.label, f.colour) for f in track.features] == [("low", "#c8c8c8"), ("high", "#0072b2")]


def test_bed12_blocks_become_segments(tmp_path: Path) -> None:
    path = tmp_path / "t.bed"
    path.write_text("x\t100\t400\tt\t0\t-\t100\t400\t0\t2\t50,100,\t0,200,\n")
    (feature,) = read_features(str(path), "x", 0, 1000).features
    assert feature.segments == ((100, 150), (300, 400))


def test_a_broken_bed_row_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.bed"
    path.write_text("x\t100\t400\tt\nx\t5\tten\tt\n")
    with pytest.raises(InputError, match="broken BED row"):
        read_features(str(path), "x", 0, 1000)


def test_depth_is_that_of_each_base(tmp_path: Path) -> None:
    path = str(tmp_path / "r.bam")
    header = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": "x", "LN": 1000}]}
    with pysam.AlignmentFile(path, "wb", header=header) as bam:
        for start, cigar, flag in ((100, "50M", 0), (120, "10M100N10M", 0), (130, "50M", 0x400)):
            read = pysam.AlignedSegment(bam.header)
            read.query_name, read.reference_id, read.reference_start = f"r{start}", 0, start
            read.cigarstring, read.flag = cigar, flag
            read.query_sequence = "A" * read.infer_query_length()
            bam.write(read)
    expected = np.zeros(200)
    expected[100 - 90 : 150 - 90] += 1
    expected[120 - 90 : 130 - 90] += 1
    expected[230 - 90 : 240 - 90] += 1
    np.testing.assert_array_equal(read_coverage(path, "x", 90, 290).values, expected)
    pysam.index(path)
    np.testing.assert_array_equal(read_coverage(path, "x", 90, 290).values, expected)
    with pytest.raises(InputError, match="no reference sequence"):
        read_coverage(path, "y", 0, 10)


def test_many_values_are_thinned_to_means(tmp_path: Path) -> None:
    path = tmp_path / "v.bedgraph"
    path.write_text("".join(f"x\t{i}\t{i + 1}\t{i % 2}\n" for i in range(24_000)))
    line = read_values(str(path), "x", 0, 24_000)
    assert len(line.values) == 1200
    assert np.allclose(line.values, 0.5)
    assert line.borders[0, 0] == 0
    assert line.borders[-1, 1] == 24_000


def test_gc_leaves_out_unknown_windows() -> None:
    codes = np.concatenate([encode("G" * 1000), encode("N" * 1000), encode("AT" * 500)])
    line = window_gc(Record("x", codes), 0, 3000)
    assert set(line.values[:20]) == {100.0}
    assert set(line.values[-20:]) == {0.0}
    assert len(line.values) == 40


def test_names_stand_where_they_fit() -> None:
    track = Features("genes", tuple(Feature(((i * 1000, i * 1000 + 900),), "+", f"gene{i}") for i in range(20)))
    near = texts(picture([track], "x", 0, 20_000, "svg"))
    assert "gene7" in near
    far = texts(picture([track], "x", 0, 500_000, "svg"))
    assert not [t for t in far if t.startswith("gene") and t != "genes"]
    assert "x: 1 - 20,000  (20 kb)" in near


def test_overlapping_genes_get_lanes_and_crowds_one() -> None:
    features = tuple(Feature(((a, a + 1000),), "+", "") for a in (0, 400, 950, 3000))
    track = Features("t", features)
    assert [lane for _, lane in _lanes(track, 1e-3)] == [0, 1, 0, 0]
    assert {lane for _, lane in _lanes(track, 1e-5)} == {0}


def test_pictures_are_reproducible_and_of_every_format() -> None:
    tracks = [
        Features("genes", (Feature(((10, 60), (80, 200)), "-", "a"),)),
        Features("states", (Feature(((0, 100),), ".", "low", "segment", "#c8c8c8"),)),
        Line("scores", np.array([[0, 50], [100, 200]]), np.array([1.0, -1.0])),
        Line("nothing", np.zeros((0, 2), np.int64), np.zeros(0)),
    ]
    for file_format, magic in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        drawn = picture(tracks, "x", 0, 200, file_format)
        assert drawn.startswith(magic)
        assert drawn == picture(tracks, "x", 0, 200, file_format)
    assert {"scores", "nothing", "low", "no data here"} <= set(texts(picture(tracks, "x", 0, 200, "svg")))


def test_odd_letters_are_drawn_without_a_word() -> None:
    """Control characters would spoil an SVG, and matplotlib's font lacks other scripts."""
    tracks = [
        Features("genes", (Feature(((10, 190),), "-", "a\x00b"),)),
        Features("more", (Feature(((10, 190),), "-", "\u6c34"),)),
    ]
    svg = picture(tracks, "x", 0, 200, "svg")
    assert {"a b", "\u6c34"} <= set(texts(svg))
    ElementTree.fromstring(svg)
    for file_format in ("png", "pdf"):
        picture(tracks, "x", 0, 200, file_format)


@pytest.mark.parametrize(("start", "end"), [(0, 10), (0, 20_000), (123_456, 623_456), (5, 6), (0, 80_000_000)])
def test_ticks_are_few_and_inside(start: int, end: int) -> None:
    ticks = _round_ticks(start, end)
    assert 2 <= len(ticks) <= 12
    assert all(start <= t <= end for t in ticks)


def test_text_room_grows_with_the_text() -> None:
    assert _fits("ab", 0.3)
    assert not _fits("ab" * 20, 0.3)
    assert not _fits("", 5)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"lstmhmm-bio\[pictures\]"):
        picture([], "x", 0, 10, "svg")


def test_command_draws_a_region(tmp_path: Path, gff3: str) -> None:
    fasta, output = tmp_path / "x.fa", tmp_path / "x.svg"
    fasta.write_text(f">x\n{decode(np.random.default_rng(0).integers(0, 4, 5000).astype(np.uint8))}\n")
    result = run("plot", fasta, "--region", "x:1-5000", "--annotation", gff3, "-o", output)
    assert result.code == 0, result.err
    assert {"genes", "GC %"} <= set(texts(output.read_bytes()))
    assert run("plot", fasta, "--region", "z", "-o", output).code == 2
    refused = run("plot", fasta, "--region", "x", "-o", tmp_path / "x.gif")
    assert refused.code == 2
    assert ".svg" in refused.err
