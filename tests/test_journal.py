from __future__ import annotations

import json
import resource
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstmhmm_bio.errors import LstmHmmError, OutputError, UsageError
from lstmhmm_bio.features import Annotation, Gene, Record
from lstmhmm_bio.io.journal import Journal, file_digest
from lstmhmm_bio.sequence import encode

SETTINGS = {"input": "abc", "genetic_code": 11, "min_score": 0.1, "region": None}
RECORDS = [Record(f"rec {i}", encode("ACGT" * i)) for i in range(5)]


def genes_of(record: Record) -> tuple[Gene, ...]:
    n = len(record)
    score = np.float32(0.1) * n  # a number that has no short decimal
    whole = Gene(record.id, 0, n, "+", float(np.float64(1) / 3), start_score=float(score), start_codon="ATG")
    cut = Gene(record.id, 1, n, "-", 0.5, partial_right=True, genetic_code=4)  # its start_score is no number
    spliced = Gene(record.id, 0, 30, "+", 0.25, introns=((3, 9), (12, 21)), exon_scores=(0.5, 0.1, 1.0), intronic=True)
    return (whole, cut, spliced)[: n // 4]


ANNOTATIONS = [Annotation(record, genes_of(record)) for record in RECORDS]


class Counted:
    """Annotates, and remembers what."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, records):
        for record in records:
            self.seen.append(record.id)
            yield Annotation(record, genes_of(record))


def same(found: list[Annotation], expected: list[Annotation]) -> bool:
    # repr, because nan differs from itself
    return [(a.record.id, repr(a.genes)) for a in found] == [(a.record.id, repr(a.genes)) for a in expected]


def finish(path: Path, **other: object) -> tuple[list[Annotation], list[str]]:
    annotate = Counted()
    with Journal(str(path), {**SETTINGS, **other}) as journal:
        found = list(journal.resume(RECORDS, annotate))
    return found, annotate.seen


def stop_after(path: Path, n: int) -> None:
    with pytest.raises(KeyboardInterrupt), Journal(str(path), SETTINGS) as journal:  # noqa: PT012
        assert len(list(islice(journal.resume(RECORDS, Counted()), n))) == n
        raise KeyboardInterrupt


@pytest.mark.parametrize("n", range(6))
def test_goes_on_where_it_stopped(tmp_path, n):
    path = tmp_path / "journal"
    stop_after(path, n)
    assert path.exists() == (n > 0)
    found, computed = finish(path)
    assert same(found, ANNOTATIONS)
    assert computed == [r.id for r in RECORDS[n:]]
    assert not path.exists()


def test_may_stop_many_times(tmp_path):
    path = tmp_path / "journal"
    for n in (1, 3, 3, 4):
        stop_after(path, n)
    found, computed = finish(path)
    assert same(found, ANNOTATIONS)
    assert computed == ["rec 4"]


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_is_spoiled_is_computed_again(tmp_path, data):
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    stop_after(path, 4)
    content = bytearray(path.read_bytes())
    head = content.find(b"\n")
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        found, _ = finish(path)
    except LstmHmmError:  # the first line is spoiled: better not to guess
        assert place <= head
        assert path.read_bytes() == content
    else:
        assert same(found, ANNOTATIONS)
        assert not path.exists()


@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_are_refused(tmp_path, name):
    path = tmp_path / "journal"
    stop_after(path, 2)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"another {name}; remove it"):
        finish(path, **{name: "other"})
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match="another version"):
        finish(path, more=1)


def test_a_strange_file_is_kept(tmp_path):
    path = tmp_path / "journal"
    path.write_text("my notes\n")
    with pytest.raises(UsageError, match="no journal"):
        finish(path)
    assert path.read_text() == "my notes\n"


def test_one_run_at_a_time(tmp_path):
    path = str(tmp_path / "journal")
    with Journal(path, SETTINGS), pytest.raises(UsageError, match="in use"), Journal(path, SETTINGS):
        pass


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="folder does not exist"), Journal(str(tmp_path / "no" / "j"), SETTINGS):
        pass
    with pytest.raises(UsageError, match="device"), Journal("/dev/null", SETTINGS):
        pass


def test_a_full_disk_keeps_what_is_whole(tmp_path):
    path = tmp_path / "journal"
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (40, 220, 500):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OutputError, match="larger than a file may be"):
                finish(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    found, computed = finish(path)
    assert same(found, ANNOTATIONS)
    assert 0 < len(computed) < 5


def test_numbers_of_numpy(tmp_path):
    path = tmp_path / "journal"
    numbers = replace(ANNOTATIONS[1].genes[0], score=np.float32(0.3), start=np.int64(0), partial_left=np.bool_(True))
    with pytest.raises(KeyboardInterrupt), Journal(str(path), SETTINGS) as journal:  # noqa: PT012
        next(journal.resume(RECORDS[1:2], lambda records: iter([Annotation(next(records), (numbers,))])))
        raise KeyboardInterrupt
    with Journal(str(path), SETTINGS) as journal:
        found = next(journal.resume(RECORDS[1:2], Counted()))
    gene = found.genes[0]
    assert (gene.score, gene.start, gene.partial_left) == (float(np.float32(0.3)), 0, True)
    assert json.dumps(gene.score) == json.dumps(float(np.float32(0.3)))


def test_digest(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path, content in zip(paths, (b"x", b"x", b"y"), strict=True):
        path.write_bytes(content)
    one, two, three = (file_digest(str(p)) for p in paths)
    assert one == two != three
