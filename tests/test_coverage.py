"""Binned coverage of alignments and bigWig files, against counting base by base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pysam
import pytest

from lstmhmm_bio.errors import InputError, UsageError
from lstmhmm_bio.io.coverage import gc_corrected, read_signals
from lstmhmm_bio.sequence import decode

LENGTHS = {"two": 250, "ten": 1003, "empty": 40}


def write_bam(path: Path, reads: list[tuple], lengths: dict[str, int] = LENGTHS) -> str:
    """Reads as (sequence name, position, CIGAR, flag, mapping quality), in the order given."""
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": name, "LN": n} for name, n in lengths.items()]}
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for i, (name, position, cigar, flag, quality) in enumerate(reads):
            read = pysam.AlignedSegment(file.header)
            read.query_name = f"r{i}"
            read.flag = flag
            read.reference_id = list(lengths).index(name)
            read.reference_start = position
            read.mapping_quality = quality
            read.cigarstring = cigar
            read.query_sequence = "A" * read.infer_query_length()
            file.write(read)
    return str(path)


def random_reads(seed: int, count: int = 300) -> list[tuple]:
    rng = np.random.default_rng(seed)
    cigars = ["30M", "10M5D20M", "12M40N18M", "3S27M", "10M2I8M3N10M", "10=1X19=", "5H30M"]
    reads = []
    for _ in range(count):
        name = str(rng.choice(["two", "ten"]))
        cigar = str(rng.choice(cigars))
        flag = int(rng.choice([0, 16, 0x81, 0x91, 0x400, 0x100, 0x200, 0x800]))
        reads.append((name, int(rng.integers(LENGTHS[name] - 75)), cigar, flag, int(rng.integers(61))))
    return reads


def by_base(path: str, min_mapq: int) -> dict[str, np.ndarray]:
    """Covering and skipping reads per base and strand, [2, 2, length], from pysam's pairs of positions."""
    counts = {name: np.zeros((2, 2, length)) for name, length in LENGTHS.items()}
    with pysam.AlignmentFile(path) as file:
        for read in file.fetch(until_eof=True):
            if read.is_secondary or read.is_duplicate or read.is_qcfail or read.mapping_quality < min_mapq:
                continue
            strand = int(read.is_reverse != read.is_read2)
            counts[read.reference_name][0, strand, [r for q, r in read.get_aligned_pairs(matches_only=True)]] += 1
            position = read.reference_start
            for operation, length in read.cigartuples:
                if operation == 3:
                    counts[read.reference_name][1, strand, position : position + length] += 1
                position += length if operation in (0, 2, 3, 7, 8) else 0
    return counts


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
@pytest.mark.parametrize("min_mapq", [0, 30])
def test_coverage_equals_counting_bases(tmp_path, size, min_mapq):
    path = write_bam(tmp_path / "a.bam", random_reads(size))
    expected = by_base(path, min_mapq)
    mapped = sum(x[0].sum() for x in expected.values())
    signals = read_signals([path], size, min_mapq=min_mapq, per_strand=True, spliced=True)
    both = read_signals([path], size, min_mapq=min_mapq)
    assert signals.channels == ("a(+)", "a(-)", "a(+) skipped", "a(-) skipped")
    assert signals.skipped == (False, False, True, True)
    with pysam.AlignmentFile(path) as file:
        reads = sum(
            not (r.is_secondary or r.is_duplicate or r.is_qcfail or r.mapping_quality < min_mapq)
            for r in file.fetch(until_eof=True)
        )
    for track, track_of_both in zip(signals.tracks, both.tracks, strict=True):
        edges = np.arange(0, track.length, size)
        bases = np.add.reduceat(expected[track.id].reshape(4, -1), edges, axis=1).T
        unit = np.minimum(np.diff(np.append(edges, track.length)), mapped / reads)
        np.testing.assert_allclose(track.values, bases / unit[:, None], rtol=1e-5)
        np.testing.assert_allclose(track_of_both.values[:, 0], track.values[:, :2].sum(1), rtol=1e-5)
    assert [track.id for track in signals.tracks] == list(LENGTHS)
    assert [len(track) for track in signals.tracks] == [-(-n // size) for n in LENGTHS.values()]


def test_blocks_are_counted_in_any_number_of_rounds(tmp_path, monkeypatch):
    path = write_bam(tmp_path / "a.bam", random_reads(1))
    whole = read_signals([path], 10)
    monkeypatch.setattr("lstmhmm_bio.io.coverage._BLOCKS", 7)
    pieces = read_signals([path], 10)
    for a, b in zip(whole.tracks, pieces.tracks, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_samples_side_by_side(tmp_path):
    first = write_bam(tmp_path / "a.bam", random_reads(1))
    turned = dict(reversed(LENGTHS.items()))
    second = write_bam(tmp_path / "b.bam", random_reads(2), turned)
    together, alone = read_signals([first, second], 10), read_signals([second], 10)
    assert together.channels == ("a", "b")
    assert [track.id for track in together.tracks] == list(LENGTHS)
    for track, other in zip(together.tracks, reversed(alone.tracks), strict=True):
        np.testing.assert_array_equal(track.values[:, 1], other.values[:, 0])


def test_bigwig(tmp_path):
    pybigtools = pytest.importorskip("pybigtools")
    path = str(tmp_path / "signal.bigWig")
    writer = pybigtools.open(path, "w")
    writer.write(LENGTHS, [("ten", 0, 15, 2.0), ("ten", 995, 1003, 8.0), ("two", 100, 110, 1.5)])
    renamed = tmp_path / "signal.anything"
    Path(path).rename(renamed)
    (ten, two) = (t for t in read_signals([str(renamed)], 10).tracks if t.id != "empty")
    assert (ten.id, len(ten)) == ("ten", 101)
    assert ten.values[:2, 0].tolist() == [2.0, 1.0]
    assert ten.values[-2:, 0].tolist() == pytest.approx([8 * 0.5, 8.0])
    assert two.values[10, 0] == 1.5
    assert two.values[:, 0].sum() == 1.5


def test_gc_correction_takes_out_what_gc_explains(tmp_path):
    rng = np.random.default_rng(3)
    gc = np.repeat(rng.beta(5, 5, 4000), 2)
    copies = np.repeat([1.0, 2.0], 4000)
    bias = 0.3 + 2 * gc
    values = rng.poisson(30 * copies * bias)[:, None].astype(np.float32)
    corrected = gc_corrected(values, gc)[:, 0]
    before = np.corrcoef(values[:, 0] / copies, gc)[0, 1]
    after = np.corrcoef(corrected / copies, gc)[0, 1]
    assert before > 0.8
    assert abs(after) < 0.1
    assert corrected.mean() == pytest.approx(values.mean(), rel=0.05)
    unknown = gc_corrected(values, np.where(gc > 0.5, np.nan, gc))
    np.testing.assert_array_equal(unknown[gc > 0.5], values[gc > 0.5])


def test_gc_content_is_that_of_the_bin(tmp_path):
    rng = np.random.default_rng(0)
    fasta = tmp_path / "genome.fa"
    fasta.write_text("".join(f">{n}\n{decode(rng.integers(0, 4, k).astype(np.uint8))}\n" for n, k in LENGTHS.items()))
    path = write_bam(tmp_path / "a.bam", random_reads(1))
    corrected = read_signals([path], 50, gc_correct=True, reference=str(fasta)).tracks[:2]
    plain = read_signals([path], 50).tracks[:2]
    with np.errstate(invalid="ignore"):
        ratios = np.concatenate([c.values / p.values for c, p in zip(corrected, plain, strict=True)])
    assert np.ptp(ratios[np.isfinite(ratios)]) > 0.01
    with pytest.raises(UsageError, match="--reference"):
        read_signals([path], 50, gc_correct=True)
    fasta.write_text(">two\nACGT\n")
    with pytest.raises(InputError, match="lacks 'empty'"):
        read_signals([path], 50, gc_correct=True, reference=str(fasta))


def test_what_cannot_be_read(tmp_path):
    path = write_bam(tmp_path / "a.bam", random_reads(1))
    with pytest.raises(InputError, match="holds no aligned reads of mapping quality 99"):
        read_signals([path], 10, min_mapq=99)
    other = write_bam(tmp_path / "b.bam", [("x", 0, "5M", 0, 60)], {"x": 10})
    with pytest.raises(InputError, match=r"b\.bam has other sequences than .*a\.bam"):
        read_signals([path, other], 10)
    unaligned = write_bam(tmp_path / "c.bam", [], {})
    with pytest.raises(InputError, match="not aligned"):
        read_signals([unaligned], 10)
    cut = tmp_path / "d.bam"
    cut.write_bytes(Path(path).read_bytes()[:-400])
    with pytest.raises(InputError, match=r"d\.bam: the alignments cannot be read"):
        read_signals([str(cut)], 10)
    beyond = write_bam(tmp_path / "f.bam", [("two", 0, "5M", 0, 60), ("two", 245, "6M", 0, 60)])
    with pytest.raises(InputError, match=r"f\.bam: .* \(read r1 lies beyond the ends of two\)"):
        read_signals([beyond], 10)
    damaged = tmp_path / "e.bw"
    damaged.write_bytes(b"\x26\xfc\x8f\x88" + b"\0" * 200)
    with pytest.raises(InputError, match=r"e\.bw: the bigWig file cannot be read"):
        read_signals([str(damaged)], 10)
