"""Partition of records into regions, and its BED."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lstmhmm_bio.decoding import Decoded
from lstmhmm_bio.features import Record, Region
from lstmhmm_bio.hmm.grammars import bacteria
from lstmhmm_bio.io.regions_bed import RegionsWriter
from lstmhmm_bio.segment import label_runs, regions

#: a state with no gene, one with one gene, one with two
NONE, ONE, TWO = (next(i for i, s in enumerate(bacteria.STATES) if test(s)) for test in (
    lambda s: s == "I", lambda s: s != "I" and len(s) == 1, lambda s: len(s) == 2,
))  # fmt: skip


def decoded(forward: list[int], reverse: list[int], none: float = 0.0, two: float = 0.0) -> Decoded:
    """Paths over the + strand and the - strand, both given in forward orientation."""
    length = len(forward)
    posteriors = np.zeros((2, length, 5), np.uint16)
    posteriors[..., 3], posteriors[..., 4] = round(none * 65535), round(two * 65535)
    paths = np.array([forward, reverse[::-1]], np.uint8).reshape(2, length)
    return Decoded(
        Record("r", np.zeros(length, np.uint8)), bacteria.GRAMMAR, paths, posteriors, tuple(bacteria.GRAMMAR.groups)
    )


def whole(piece: Decoded) -> list[Region]:
    return regions([label_runs(piece, slice(0, len(piece.record)))])


def test_labels_on_both_strands():
    found = whole(decoded([NONE, ONE, ONE, TWO, NONE, NONE], [NONE, NONE, ONE, ONE, ONE, NONE]))
    assert [(r.start, r.end, r.name, r.strand) for r in found] == [
        (0, 1, "intergenic", "."),
        (1, 2, "CDS(+)", "+"),
        (2, 3, "CDS(+)/CDS(-)", "."),
        (3, 4, "CDS(+)/CDS(+)/CDS(-)", "."),
        (4, 5, "CDS(-)", "-"),
        (5, 6, "intergenic", "."),
    ]


def test_posterior_is_that_of_the_label():
    found = whole(decoded([NONE, ONE, TWO], [NONE] * 3, none=0.7, two=0.1))
    assert np.allclose([r.posterior for r in found], [0.7 * 0.7, 0.2 * 0.7, 0.1 * 0.7], atol=1e-4)


@given(st.lists(st.tuples(*[st.sampled_from([NONE, ONE, TWO])] * 2), max_size=60))
def test_regions_partition_the_record(states):
    forward, reverse = [a for a, _ in states], [b for _, b in states]
    found = whole(decoded(forward, reverse))
    assert [base for r in found for base in range(r.start, r.end)] == list(range(len(states)))
    over = {NONE: 0, ONE: 1, TWO: 2}
    for r in found:
        assert {(over[a], over[b]) for a, b in states[r.start : r.end]} == {(r.forward, r.reverse)}
    assert all((a.forward, a.reverse) != (b.forward, b.reverse) for a, b in pairwise(found))


def test_bed():
    handle = io.StringIO()
    writer = RegionsWriter(handle, "lstmhmm 0 model=x")
    writer.write("chr 1", [Region(0, 10, 0, 0, 0.25), Region(10, 12, 1, 0, 1.0), Region(12, 20, 1, 1, 0.5)])
    writer.write("empty", [])
    assert handle.getvalue() == (
        "# lstmhmm 0 model=x\n"
        "chr 1\t0\t10\tintergenic\t250\t.\t0\t10\t200,200,200\n"
        "chr 1\t10\t12\tCDS(+)\t1000\t+\t10\t12\t31,119,180\n"
        "chr 1\t12\t20\tCDS(+)/CDS(-)\t500\t.\t12\t20\t148,103,189\n"
    )
