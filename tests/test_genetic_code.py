import numpy as np
import pytest

from lstmhmm_bio.features import Gene, Record
from lstmhmm_bio.genetic_code import CodeEvidence, evidence
from lstmhmm_bio.sequence import encode, reverse_complement

CODON = "GCT"
#: hexamers of repeated GCT look coding, all others do not
TABLE = np.full(4097, -0.5, np.float32)
for _word in ("GCTGCT",):
    TABLE[int(sum(4**i * "ACGT".index(c) for i, c in enumerate(reversed(_word))))] = 1.0


def record_of(stops: list[str], *, continued: list[bool], tgg: int = 0) -> tuple[Record, list[Gene]]:
    """Genes on the + strand one after the other, each followed by 40 codons in frame that look coding or do not."""
    sequence, genes = "", []
    for stop, goes_on in zip(stops, continued, strict=True):
        start = len(sequence)
        sequence += "ATG" + CODON * 50 + "TGG" * tgg + stop
        genes.append(Gene("r", start, len(sequence), "+", 1.0))
        sequence += (CODON if goes_on else "CAC") * 40 + "TAATAATAA"
    return Record("r", encode(sequence)), genes


def mirrored(record: Record, genes: list[Gene]) -> tuple[Record, list[Gene]]:
    n = len(record)
    return (
        Record("r", reverse_complement(record.codes)),
        [Gene("r", n - g.end, n - g.start, "-", 1.0) for g in genes],
    )


@pytest.mark.parametrize("flip", [False, True])
def test_counts_frames_that_go_on_behind_each_stop(flip):
    pair = record_of(["TGA", "TGA", "TAA", "TAG"], continued=[True, False, False, True], tgg=2)
    found = evidence([mirrored(*pair) if flip else pair], TABLE)
    assert (found.tga, found.tga_continued, found.other, found.other_continued) == (2, 1, 2, 1)
    assert found.tgg == pytest.approx(2 / 53)


def test_a_frame_that_ends_soon_says_nothing():
    codes = encode("ATG" + CODON * 50 + "TGA" + CODON * 5 + "TAA" + CODON * 40)
    assert evidence([(Record("r", codes), [Gene("r", 0, 156, "+", 1.0)])], TABLE) == CodeEvidence(tgg=0.0)


def test_genes_without_a_stop_codon_do_not_count():
    record, genes = record_of(["TGA"], continued=[True])
    partial = [Gene("r", g.start, g.end, "+", 1.0, partial_right=True) for g in genes]
    assert evidence([(record, partial)], TABLE) == CodeEvidence()


@pytest.mark.parametrize(
    ("seen", "number"),
    [
        (CodeEvidence(100, 5, 100, 6, 0.01), 11),
        (CodeEvidence(100, 60, 100, 6, 0.01), 25),
        (CodeEvidence(100, 60, 100, 6, 0.001), 4),
        (CodeEvidence(100, 12, 100, 5, 0.01), 11),  # within chance
        (CodeEvidence(9, 9, 9, 0, 0.01), 11),  # too few
        (CodeEvidence(), 11),
    ],
)
def test_decision(seen, number):
    assert seen.genetic_code == number
