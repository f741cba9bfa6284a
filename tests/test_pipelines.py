"""Runs in parts and runs that go on: the bytes of one undisturbed run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import fasta, run, small_batches

from lstmhmm_bio.annotate import Annotator
from lstmhmm_bio.features import Record
from lstmhmm_bio.sequence import encode
from lstmhmm_bio.simulate import simulate_genome

OUTPUTS = {"genes": "-o", "faa": "--proteins", "ffn.gz": "--cds"}


@pytest.fixture(autouse=True, scope="module")
def _small_genomes():
    with small_batches(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstmhmm_bio.annotate.ENOUGH_TO_CALIBRATE", 10_000)  # so that a small genome will do
        yield


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "genome.fa"
    pieces = [simulate_genome(n, seed=6, record=i, contig=True)[0] for i, n in enumerate((1400, 9000, 300, 1200, 1500))]
    path.write_text(fasta(pieces[0], Record("nothing", encode("")), *pieces[1:], Record("N", encode("N" * 50))))
    return path


def annotate(folder: Path, genome: Path, *options: object) -> dict[str, bytes]:
    """All outputs of a run that succeeds."""
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"out.{name}" for name in OUTPUTS}
    given = [x for name, path in paths.items() for x in (OUTPUTS[name], path)]
    result = run("annotate", genome, *given, "--no-cache", "-q", *options)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert {p.name for p in folder.iterdir()} == {p.name for p in paths.values()}
    return {name: path.read_bytes() for name, path in paths.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, genome) -> dict[str, bytes]:
    outputs = annotate(tmp_path_factory.mktemp("whole"), genome)
    assert outputs["genes"].count(b"\tgene\t") > 8
    return outputs


# ---- shards


@pytest.mark.parametrize("count", [2, 9])
def test_merged_shards_are_the_whole(tmp_path, genome, whole, count):
    for i in range(1, count + 1):
        annotate(tmp_path / str(i), genome, "--shard", f"{i}/{count}")
    for name, expected in whole.items():
        merged = tmp_path / f"merged.{name}"
        result = run("merge", *(tmp_path / str(i) / f"out.{name}" for i in range(1, count + 1)), "-o", merged)
        assert (result.code, result.err) == (0, "")
        assert merged.read_bytes() == expected


@pytest.mark.parametrize("kind", ["gtf", "bed", "genbank"])
def test_shards_of_other_formats(tmp_path, genome, kind):
    expected = run("annotate", genome, "-f", kind, "--no-cache", "-q")
    parts = [tmp_path / str(i) for i in (1, 2)]
    for i, path in enumerate(parts, 1):
        assert run("annotate", genome, "-f", kind, "--shard", f"{i}/2", "-o", path, "--no-cache", "-q").code == 0
    assert run("merge", *parts) == expected


def test_shards_of_standard_input(genome):
    found = [run("annotate", "-", "--shard", f"{i}/2", "--no-cache", stdin=genome.read_bytes()).out for i in (1, 2)]
    assert [run("annotate", genome, "--shard", f"{i}/2", "--no-cache").out for i in (1, 2)] == found


@pytest.mark.parametrize("wrong", ["0/2", "3/2", "1", "1/", "/2", "a/b", "-1/2", "1/2/3"])
def test_what_is_no_shard(genome, wrong):
    result = run("annotate", genome, f"--shard={wrong}")
    assert result.code == 2
    assert "is no shard; write I/N" in result.err


# ---- the size of groups


@pytest.mark.parametrize("group", [1, 2000])
def test_groups_do_not_matter(tmp_path, genome, whole, monkeypatch, group):
    monkeypatch.setattr("lstmhmm_bio.annotate.GROUP", group)
    assert annotate(tmp_path / "out", genome) == whole


# ---- resume


class Breakdown:
    """Lets a run fail after some records, and counts how many were annotated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.after: int | None = None
        self.annotated = 0
        monkeypatch.setattr("lstmhmm_bio.annotate.GROUP", 1)
        real = Annotator.annotate

        def patched(annotator, *arguments, **options):
            self.annotated = 0
            for annotation in real(annotator, *arguments, **options):
                if self.annotated == self.after:
                    raise OSError("breakdown")
                self.annotated += 1
                yield annotation

        monkeypatch.setattr(Annotator, "annotate", patched)

    def run(self, after: int, *arguments: object) -> None:
        self.after = after
        result = run("annotate", *arguments, "--no-cache", "-q", "--resume")
        assert (result.code, result.err) == (1, "lstmhmm: error: breakdown\n")
        self.after = None


@pytest.fixture
def breakdown(monkeypatch) -> Breakdown:
    return Breakdown(monkeypatch)


@pytest.mark.parametrize("after", [1, 6])
def test_a_run_goes_on(tmp_path, genome, whole, breakdown, after):
    out = tmp_path / "out"
    out.mkdir()
    given = [x for name, option in OUTPUTS.items() for x in (option, out / f"out.{name}")]
    breakdown.run(after, genome, *given)
    assert [p.name for p in out.iterdir()] == ["out.genes.resume"]
    assert annotate(out, genome, "--resume") == whole
    assert breakdown.annotated == 7 - after


def test_a_shard_goes_on(tmp_path, genome, breakdown):
    expected = annotate(tmp_path / "whole", genome, "--shard", "1/2")
    out = tmp_path / "out"
    out.mkdir()
    breakdown.run(1, genome, "--shard", "1/2", "-o", out / "out.genes")
    assert annotate(out, genome, "--shard", "1/2", "--resume") == expected
    breakdown.run(1, genome, "--shard", "1/2", "-o", out / "out.genes")
    other = run("annotate", genome, "--shard", "2/2", "-o", out / "out.genes", "--no-cache", "-q", "--resume")
    assert other.code == 2
    assert "another shard" in other.err


def test_a_run_in_which_nothing_was_done_leaves_nothing(tmp_path, genome, breakdown):
    breakdown.run(0, genome, "-o", tmp_path / "out.gff3")
    assert list(tmp_path.iterdir()) == []


def test_other_input_or_options_are_refused(tmp_path, genome, breakdown):
    own = tmp_path / "genome.fa"
    own.write_bytes(genome.read_bytes())
    out = tmp_path / "out.gff3"
    breakdown.run(2, own, "-o", out)
    journal = out.with_name("out.gff3.resume")
    before = journal.read_bytes()
    for options, word in ((["-g", 4], "genetic_code"), (["--meta"], "meta"), (["--min-score", 0.5], "min_score")):
        result = run("annotate", own, "-o", out, "--no-cache", "--resume", *options)
        assert result.code == 2
        assert re.fullmatch(
            rf"lstmhmm: error: .*out.gff3.resume belongs to a run with another {word}; .*\n", result.err
        )
    own.write_bytes(genome.read_bytes().replace(b"ACGT", b"ACGG", 1))
    assert "another genome" in run("annotate", own, "-o", out, "--no-cache", "--resume").err
    assert journal.read_bytes() == before
    # without --resume it is left alone
    own.write_bytes(genome.read_bytes())
    assert run("annotate", own, "-o", out, "--no-cache").code == 0
    assert journal.read_bytes() == before
    # format and further outputs may be others
    assert run("annotate", own, "-o", out, "-f", "bed", "--no-cache", "--resume", "--cds", tmp_path / "x").code == 0
    assert out.read_bytes().count(b"\n") > 8
    assert not journal.exists()


@pytest.mark.parametrize("output", [[], ["-o", "-"], ["-o", "/dev/null"]])
def test_resume_needs_a_file(genome, output):
    result = run("annotate", genome, "--resume", *output)
    assert result.code == 2
    assert "--resume needs -o FILE" in result.err
