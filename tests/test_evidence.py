import gzip
from collections import Counter

import numpy as np
import pysam
import pytest
from tiny import random_model

from lstmhmm_bio import annotate
from lstmhmm_bio.annotate import Annotator
from lstmhmm_bio.cli.session import Source, introns_of
from lstmhmm_bio.errors import InputError
from lstmhmm_bio.evidence import CLASSES, IntronEvidence, SiteReads, SupportWeights, fit
from lstmhmm_bio.features import Gene, Record
from lstmhmm_bio.hmm.viterbi import UNITS
from lstmhmm_bio.nn.network import NetworkConfig
from lstmhmm_bio.scoring import Tracks
from lstmhmm_bio.sequence import encode

GENOME = "ACAAACCCAAAC" + "GT" + "A" * 24 + "AG" + "CCCAAA" + "CT" + "A" * 22 + "AC" + "CCAAACCC" * 10
FORWARD = (12, 40)  # GT..AG
REVERSE = (46, 72)  # CT..AC


def write_bam(path, reads, mode="wb", **options):
    """Reads (start, CIGAR, flag, tags) on record chr."""
    header = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": "chr", "LN": len(GENOME)}]}
    with pysam.AlignmentFile(str(path), mode, header=header, **options) as out:
        for n, (start, cigar, flag, tags) in enumerate(sorted(reads, key=lambda r: r[0])):
            read = pysam.AlignedSegment(out.header)
            read.query_name, read.flag, read.reference_id, read.reference_start = f"r{n}", flag, 0, start
            read.mapping_quality, read.cigarstring = 60, cigar
            size = sum(length for op, length in read.cigartuples if op in (0, 1, 4))
            read.query_sequence = "A" * size
            read.set_tags(tags)
            out.write(read)
    return path


@pytest.fixture
def sequences():
    return {"chr": encode(GENOME)}


def gap(intron, left=5):
    return intron[0] - left, f"{left}M{intron[1] - intron[0]}N5M"


def test_strand_by_tag_or_by_splice_sites(tmp_path, sequences):
    start, cigar = gap(FORWARD)
    other, other_cigar = gap(REVERSE)
    bam = write_bam(
        tmp_path / "a.bam",
        [
            (start, cigar, 0, []),
            (start, cigar, 16, [("XS", "+")]),
            (start, cigar, 0, [("XS", "-")]),
            (start, cigar, 16, [("ts", "-")]),  # read on -, transcript opposite to it: +
            (other, other_cigar, 0, []),
            (other + 1, other_cigar, 0, []),  # no splice sites, no tag
            (start, cigar, 256, []),  # secondary
            (start, cigar, 1024, []),  # duplicate
            (start, "20M", 0, []),
        ],
    )
    found = IntronEvidence.read([bam], sequences=sequences)
    assert found.by_record == {"chr": Counter({(*FORWARD, "+"): 3, (*FORWARD, "-"): 1, (*REVERSE, "-"): 1})}
    assert found.depth == pytest.approx(5e6 / len(GENOME))
    assert found.support("chr", [FORWARD, REVERSE], "+") == 1
    assert found.support("nowhere", [FORWARD], "+") == 0


def test_a_cram_says_what_the_bam_says(tmp_path, sequences, monkeypatch):
    monkeypatch.setenv("REF_PATH", str(tmp_path / "none"))  # nothing from elsewhere
    monkeypatch.setenv("REF_CACHE", str(tmp_path / "none"))
    genome = tmp_path / "genome.fa"
    genome.write_text(f">chr\n{GENOME}\n")
    reads = [(*gap(FORWARD), 0, []), (*gap(FORWARD), 16, [("ts", "-")]), (*gap(REVERSE), 0, [("XS", "-")])]
    bam = write_bam(tmp_path / "a.bam", reads)
    cram = write_bam(tmp_path / "a.cram", reads, "wc", reference_filename=str(genome))
    expected = IntronEvidence.read([bam], sequences=sequences)
    assert expected.by_record == {"chr": Counter({(*FORWARD, "+"): 2, (*REVERSE, "-"): 1})}
    genome = genome.rename(tmp_path / "moved.fa")
    assert IntronEvidence.read([cram], sequences=sequences, reference=str(genome)) == expected
    with pytest.raises(InputError, match=r"a\.cram: not readable as BAM, CRAM or SAM"):
        IntronEvidence.read([cram], sequences=sequences)


def test_two_gaps_deletions_and_insertions(tmp_path, sequences):
    bam = write_bam(tmp_path / "a.bam", [(5, "3M2I4M28N3M1D2M26N5M", 0, [("XS", "+")])])
    found = IntronEvidence.read([bam], sequences=sequences).by_record["chr"]
    assert found == {(12, 40, "+"): 1, (46, 72, "+"): 1}


def test_introns_of_gff_add_to_those_of_alignments(tmp_path, sequences):
    start, cigar = gap(FORWARD)
    bam = write_bam(tmp_path / "a.bam", [(start, cigar, 0, [])])
    gff = tmp_path / "b.gff3"
    gff.write_text(
        "##gff-version 3\nchr\tx\tintron\t13\t40\t7\t+\t.\tID=a\nchr\tx\tintron\t47\t72\t.\t-\t.\tID=b\n"
        "chr\tx\texon\t1\t12\t.\t+\t.\tID=c\n"
    )
    found = IntronEvidence.read([bam, gff], sequences=sequences)
    assert found.by_record == {"chr": Counter({(*FORWARD, "+"): 8, (*REVERSE, "-"): 1})}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr\tx\tintron\tten\t40\t7\t+\t.\tID=a\n", "line 1: coordinates or score are no numbers"),
        ("chr\tx\texon\t1\t40\t7\t+\t.\tID=a\n", "holds no intron row"),
        ("other\tx\tintron\t1\t40\t7\t+\t.\tID=a\n", "none of its sequence names is in the genome"),
    ],
)
def test_bad_files_are_named(tmp_path, sequences, text, message):
    path = tmp_path / "bad.gff3"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        IntronEvidence.read([path], sequences=sequences)
    assert str(path) in str(caught.value)


def test_what_is_no_alignment_is_refused(tmp_path, sequences):
    path = tmp_path / "x.bam"
    path.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(InputError, match="not readable as BAM, CRAM or SAM"):
        IntronEvidence.read([path], sequences=sequences)


def test_other_files_that_hold_no_evidence(tmp_path, sequences, capfd):
    packed = tmp_path / "packed.bam"
    packed.write_bytes(gzip.compress(gzip.decompress(write_bam(tmp_path / "a.bam", [(0, "20M", 0, [])]).read_bytes())))
    with pytest.raises(InputError, match=r"packed\.bam: compressed with gzip, BAM needs bgzip"):
        IntronEvidence.read([packed], sequences=sequences)
    reads = tmp_path / "reads.sam"
    reads.write_text("@HD\tVN:1.6\nr\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\t*\n")
    with pytest.raises(InputError, match=r"reads\.sam names no reference sequences"):
        IntronEvidence.read([reads], sequences=sequences)
    assert capfd.readouterr().err == ""


def test_sites_lie_at_the_ends_of_introns_on_their_strand():
    evidence = IntronEvidence({"chr": Counter({(10, 30, "+"): 2, (50, 70, "-"): 3, (95, 120, "+"): 1})}, 1.0)
    sites = evidence.sites("chr", 100)
    assert {k: [tuple(x) for x in np.argwhere(v.spliced)] for k, v in sites.items()} == {
        "donor": [(0, 10), (1, 30)],  # 100 - 70
        "acceptor": [(0, 29), (1, 49)],
    }
    assert sites["donor"].spliced[0, 10] == 2
    assert sites["acceptor"].spliced[1, 49] == 3
    assert not any(site.passing.any() for site in sites.values())


def test_reads_that_pass_a_site_by():
    introns = {(10, 30, "+"): 20, (10, 35, "+"): 3, (5, 35, "+"): 1, (12, 28, "+"): 9, (10, 30, "-"): 7}
    evidence = IntronEvidence({"r": Counter(introns)}, 1.0, {"r": Counter({10: 2, 28: 8, 35: 100})})
    sites = evidence.sites("r", 50)
    assert {
        (row, at): site.tolist()
        for row, at in ((0, 5), (0, 10), (0, 12), (1, 20))
        for site in [np.array([sites["donor"].spliced[row, at], sites["donor"].passing[row, at]])]
    } == {
        (0, 5): [1, 3],  # (10, 35) has the same acceptor
        (0, 10): [23, 1 + 2],  # (5, 35), and two unspliced reads
        (0, 12): [9, 0],  # the intron around it shares no end with it
        (1, 20): [7, 0],  # the other strand's introns, and what is unspliced at the other end, do not count
    }
    assert {at: (sites["acceptor"].spliced[0, at], sites["acceptor"].passing[0, at]) for at in (27, 29, 34)} == {
        27: (9, 8),
        29: (20, 3),
        34: (4, 20 + 100),
    }
    assert (sites["acceptor"].spliced[1, 39], sites["acceptor"].passing[1, 39]) == (7, 2)


def test_unspliced_reads_of_alignments_are_counted_where_introns_end(tmp_path, sequences):
    start, cigar = gap(FORWARD)
    reads = [(start, cigar, 0, []), (start, "20M", 0, []), (FORWARD[0], "10M", 0, []), (FORWARD[0] - 1, "2M", 0, [])]
    reads += [(FORWARD[1] - 4, "4M2D9M", 0, []), (FORWARD[1] - 4, "3M1I9M", 0, []), (start, "20M", 1024, [])]
    bams = [write_bam(tmp_path / f"{n}.bam", reads[n:]) for n in (0, 1)]
    found = IntronEvidence.read(bams[:1], sequences=sequences)
    assert found.unspliced == {"chr": Counter({FORWARD[0]: 2, FORWARD[1]: 1})}
    both = IntronEvidence.read(bams, sequences=sequences).unspliced  # the other one sees no spliced read
    assert both == {"chr": Counter({FORWARD[0]: 4, FORWARD[1]: 2})}
    inside = found.within("chr", FORWARD[0] - 3, 60, name="part")
    assert inside.unspliced == {"part": Counter({3: 2, 3 + FORWARD[1] - FORWARD[0]: 1})}


def test_weights_of_the_nearest_depth_are_added_in_fixed_point():
    low, high = (tuple(float(i + k) for i in range(CLASSES)) for k in (0, 20))
    weights = SupportWeights((1e6, 1e3), (high, low), (high, low))
    assert SupportWeights.from_card(weights.card()) == weights
    evidence = IntronEvidence({"r": Counter({(10, 30, "+"): 2})}, 2e3)
    [tracks] = Tracks.empty([50], NetworkConfig(classes=4, sites=("start", "stop", "donor", "acceptor")))
    evidence.add_to(Record("r", np.zeros(50, np.uint8)), tracks, ("start", "stop", "donor", "acceptor"), weights)
    assert not tracks.sites[..., :2].any()
    assert tracks.sites[0, 10, 2] == tracks.sites[0, 29, 3] == 2 * UNITS
    assert np.count_nonzero(tracks.sites) == 2


def test_bonus_does_not_overflow():
    ratios = (12.0,) * CLASSES
    [tracks] = Tracks.empty([20], NetworkConfig(classes=4, sites=("donor", "acceptor")))
    tracks.sites[:] = 31 * UNITS
    evidence = IntronEvidence({}, 1.0)
    evidence.add_to(
        Record("r", np.zeros(20, np.uint8)), tracks, ("donor", "acceptor"), SupportWeights((1.0,), (ratios,), (ratios,))
    )
    assert (tracks.sites == 2**15 - 1).all()


def test_support_classes():
    spliced = np.array([0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 9999, 0, 1, 1, 32, 32])
    passing = np.array([0] * 12 + [1, 1, 2, 32, 33])
    assert SiteReads(spliced, passing).classes.tolist() == [
        0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 0, 1, 7, 6, 7,
    ]  # fmt: skip


def test_weights_of_another_version_are_refused():
    row = ((0.0,) * CLASSES,)
    card = SupportWeights((1.0,), row, row).card()
    for other in ({"support": [0, 1]}, {"least_share": 0.1}):
        with pytest.raises(InputError, match="weights of evidence are of another version"):
            SupportWeights.from_card(card | other)
    del card["least_share"]
    with pytest.raises(InputError, match="weights of evidence are of another version"):
        SupportWeights.from_card(card)


def test_fit_is_the_ratio_of_shares_and_never_falls():
    rng = np.random.default_rng(0)
    record = Record("r", rng.integers(0, 4, 60_000).astype(np.uint8))
    text = "".join("ACGT"[c] for c in record.codes)
    donors = [i for i in range(len(text) - 400) if text[i : i + 2] == "GT"][::40]
    introns = []
    for donor in donors:
        acceptor = text.index("AG", donor + 100)
        introns.append((donor, acceptor + 2, "+"))
    introns = [i for n, i in enumerate(introns) if n == 0 or i[0] > introns[n - 1][1]]
    seen = Counter(dict.fromkeys(introns[: len(introns) * 3 // 4], 20))
    weights = fit([record], {"r": introns}, IntronEvidence({"r": seen}, 1e4))
    full = weights.at(1e4)["donor"]
    assert full[0] == pytest.approx(np.log(0.25), abs=0.3)  # three quarters of the true ones are seen
    assert full[5] > 4  # 16 to 31 reads: hardly any other candidate is seen
    assert all((np.diff(row[1:-1]) >= 0).all() for row in weights.donor + weights.acceptor)
    assert len(weights.depths) == len(weights.donor) == len(weights.acceptor)
    assert weights.at(1e-9)["donor"][0] > full[0]  # few reads: not to be seen says little


def test_thinning_keeps_the_share():
    counts = Counter({(i, i + 50, "+"): 100 for i in range(100)})
    evidence = IntronEvidence({"r": counts}, 80.0, {"r": Counter(dict.fromkeys(range(1000), 10))})
    less = evidence.thinned(0.25, np.random.default_rng(1))
    assert less.depth == 20.0
    assert 2200 < sum(less.by_record["r"].values()) < 2800
    assert 2200 < sum(less.unspliced["r"].values()) < 2800


def test_evidence_of_a_region_lies_where_the_region_says(tmp_path):
    genome, gff = tmp_path / "genome.fa", tmp_path / "introns.gff3"
    genome.write_text(f">first\n{GENOME}\n>chr\n{GENOME}\n")
    gff.write_text("".join(f"chr\tx\tintron\t{s + 1}\t{e}\t7\t+\t.\tID=a\n" for s, e in (FORWARD, REVERSE)))
    whole = {(*FORWARD, "+"): 7, (*REVERSE, "+"): 7}
    for region, expected in (
        (None, {"chr": whole}),
        ("chr", {"chr": whole}),
        ("chr:11-60", {"chr:11-60": {(2, 30, "+"): 7}}),
        ("chr:11", {f"chr:11-{len(GENOME)}": {(2, 30, "+"): 7, (36, 62, "+"): 7}}),
        ("first:2-60", {"first:2-60": {}}),
    ):
        found = introns_of([str(gff)], Source(str(genome), region))
        assert found.by_record == expected
        assert found.depth == pytest.approx(14e6 / (2 * len(GENOME)))


# ---- circular records


@pytest.mark.parametrize("around", [13, 25])  # less and more than a turn
def test_introns_of_a_circle_are_seen_in_every_turn(around):
    introns = {(3, 9, "+"): 2, (0, 20, "+"): 1, (15, 24, "-"): 4, (30, 40, "+"): 8}  # the third over the origin
    turns = Counter(
        {
            (start + around + k * 20, end + around + k * 20, strand): reads
            for (start, end, strand), reads in introns.items()
            for k in range(-3, 4)
            if start < 20 and start + around + k * 20 >= 0 and end + around + k * 20 <= 20 + 2 * around
        }
    )
    length = 20 + 2 * around
    unspliced = Counter({3: 5, 9: 7, 24: 6})
    in_turns = Counter({at + around + k * 20: n for at, n in unspliced.items() for k in range(-3, 4)})
    found = IntronEvidence({"r": Counter(introns)}, 1.0, {"r": unspliced}).sites("r", length, around=around)
    expected = IntronEvidence({"r": turns}, 1.0, {"r": in_turns}).sites("r", length)
    for kind, reads in expected.items():
        assert reads.spliced.any()
        assert reads.passing.any()
        np.testing.assert_array_equal(found[kind].spliced, reads.spliced)
        np.testing.assert_array_equal(found[kind].passing, reads.passing)


def test_evidence_counts_for_genes_over_the_origin(monkeypatch):
    monkeypatch.setattr(annotate, "AROUND", 1000)
    model = random_model(3, "eukaryote")
    ratios = (tuple(float(i) for i in range(CLASSES)),)
    model.card["evidence"] = SupportWeights((1.0,), ratios, ratios).card()
    annotator, scored = Annotator(model), []
    annotator._scorer = lambda group, tables_of: Tracks.empty([len(record) for record in group], model.config)
    over = Gene("r", 3800, 4300, "+", 1.0, introns=((3950, 4020), (4100, 4160)))  # as in the unrolled record

    def decoded(group, tracks, *_):
        scored.extend(tracks)
        return group

    monkeypatch.setattr(annotate, "decode_records", decoded)
    monkeypatch.setattr(annotate, "genes_of", lambda *_: [over])
    seen = IntronEvidence({"r": Counter({(2950, 3020, "+"): 1, (100, 160, "+"): 1})}, 1.0)  # of a GFF; of reads
    (found,) = annotator.annotate([Record("r", np.zeros(3000, np.uint8), circular=True)], None, seen)
    (gene,) = found.genes
    assert (gene.start, gene.end, gene.introns) == (2800, 3300, ((2950, 3020), (3100, 3160)))
    assert gene.supported_introns == 2
    donor, acceptor = (scored[0].sites[0, :, model.config.sites.index(kind)] for kind in ("donor", "acceptor"))
    assert np.flatnonzero(donor).tolist() == [950, 1100, 3950, 4100]
    assert np.flatnonzero(acceptor).tolist() == [1019, 1159, 4019, 4159]
