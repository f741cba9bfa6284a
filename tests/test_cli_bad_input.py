"""Bad input to every command: one clear line, the right exit code, no output file, never a traceback."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import READERS, Result, fasta, run, small_batches
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstmhmm_bio.calibration import Calibration, Counts
from lstmhmm_bio.io.calibration_file import calibration_bytes
from lstmhmm_bio.model import BUNDLED, FORMAT
from lstmhmm_bio.sequence import decode
from lstmhmm_bio.simulate import simulate_genome


@pytest.fixture(autouse=True, scope="module")
def _small_batches():
    with small_batches():
        yield


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bad") / "good.fa"
    path.write_text(fasta(simulate_genome(1000, seed=2, contig=True)[0]))
    return path


def check_refused(result: Result, code: int, *words: str) -> None:
    """One line that says what is wrong, on stderr alone."""
    assert result.code == code, result.err
    assert result.out == ""
    assert re.fullmatch(r"lstmhmm: error: [^\n]+\n", result.err), result.err
    for word in words:
        assert word in result.err


def refuse(folder: Path, code: int, words: tuple[str, ...], command: str, *arguments: object) -> None:
    """A run with an output file that is refused and leaves no file, nor touches an old one."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    check_refused(run(command, *arguments, "-o", out / "result", "--no-cache"), code, *words)
    assert list(out.iterdir()) == []
    (out / "result").write_text("old")
    assert run(command, *arguments, "-o", out / "result", "--no-cache").code == code
    assert [(p.name, p.read_text()) for p in out.iterdir()] == [("result", "old")]
    (out / "result").unlink()


BAD_FILES = {
    "empty": (b"", "is empty"),
    "blank": (b"\n \n\n", "holds no records"),
    "text": (b"gene\tstart\tend\n", "is not FASTA"),
    "headless": (b"ACGTACGT\n", "is not FASTA"),
    "fastq": (b"@r1\nACGT\n+\nIIII\n", "looks like FASTQ"),
    "nameless": (b">\nACGT\n", "has no id"),
    "twins": (b">a\nACGT\n>b\nAC\n>a\nGG\n", "records 1 and 3 are both named 'a'"),
    "protein": (b">p1 some\nMKVLITEDQRS\nPLQEF\n", "record 'p1'"),
    "gaps": (b">a\nACGT--ACGT\n", "remove gap characters"),
    "letters": (b">a\nACGTACGT\n>odd\nACGTACGTACGT!ACGT\n", "record 'odd'"),
    "old_mac": (b">a\rACGT\rACGT\r", "line ends"),
    "truncated_gzip": (gzip.compress(b">a\n" + random.Random(1).randbytes(4000).hex("A").encode())[:900], "truncated"),
    "corrupt_gzip": (gzip.compress(b">a\nACGT\n")[:-8] + b"\1" * 8, "corrupt"),
    "zip": (b"PK\x03\x04" + b"\0" * 30, "zip archive"),
    "binary": (b"\x7fELF\0\0\1\2" * 20, "binary"),
    "genbank": (b"LOCUS       x  10 bp DNA linear\nORIGIN\n        1 acgt\n", ""),
    "bam": (b"BAM\1" + b"\xff" * 40, "cannot be read"),
    "sam": (b"@HD\tVN:1.6\n@SQ\tSN:chr\tLN:100\n", "holds no records"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("command", READERS)
def test_files_that_are_no_sequences(tmp_path, command, kind):
    content, message = BAD_FILES[kind]
    path = tmp_path / "input.file"
    path.write_bytes(content)
    refuse(tmp_path, 1, (message, str(path)), command, path)


@pytest.mark.parametrize("kind", ["empty", "text", "twins", "truncated_gzip"])
def test_standard_input_is_called_so(tmp_path, kind):
    content, message = BAD_FILES[kind]
    result = run("annotate", "-", "--no-cache", stdin=content)
    check_refused(result, 1, message, "standard input")
    assert "/lstmhmm_" not in result.err


@pytest.mark.parametrize("command", READERS)
def test_missing_inputs(tmp_path, command, genome):
    refuse(tmp_path, 1, ("nowhere.fa", "no such file"), command, tmp_path / "nowhere.fa")
    refuse(tmp_path, 1, ("is a directory",), command, tmp_path)
    refuse(tmp_path, 2, ("'contig_9'", "good.fa"), command, genome, "--region", "contig_9")
    refuse(tmp_path, 2, ("positions 1 to 1000",), command, genome, "--region", "contig_1:1001-1002")
    refuse(tmp_path, 2, ("genetic code 7", "11"), command, genome, "-g", 7)


@pytest.mark.parametrize("command", READERS)
def test_outputs_that_cannot_be_written(tmp_path, command, genome, monkeypatch):
    # found before anything is computed
    monkeypatch.setattr("lstmhmm_bio.annotate.Annotator.__init__", lambda *_, **__: pytest.fail("too late"))
    for path, words in (
        (tmp_path / "missing" / "x", "folder does not exist"),
        (tmp_path, "it is a folder"),
        (genome / "x", "is a file, not a folder"),
    ):
        check_refused(run(command, genome, "-o", path, "--no-cache"), 1, str(path), words)
    check_refused(run(command, genome, "-o", genome), 2, "is an input and an output")
    if command == "annotate":
        both = ("-o", tmp_path / "x", "--proteins", tmp_path / "x")
        check_refused(run(command, genome, *both), 2, "given for two outputs")
        check_refused(run(command, genome, "--proteins", "-"), 2, "standard output is given for two outputs")
        beside = ("-o", tmp_path / "x", "--cds", tmp_path / "missing" / "x")
        check_refused(run(command, genome, *beside), 1, "folder does not exist")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path, genome):
    tmp_path.chmod(0o500)
    check_refused(run("annotate", genome, "-o", tmp_path / "x"), 1, "permission denied")


# ---- models


def copy_model(folder: Path, change: Callable[[str], str] = str, weights: Callable[[bytes], bytes] = bytes) -> Path:
    card = folder / "bacteria.toml"
    card.write_text(change((BUNDLED / "bacteria.toml").read_text()))
    (folder / "bacteria.safetensors").write_bytes(weights((BUNDLED / "bacteria.safetensors").read_bytes()))
    return card


@pytest.mark.parametrize("command", READERS)
def test_unknown_models(tmp_path, command, genome):
    refuse(tmp_path, 1, ("unknown model 'fungi'", "bacteria"), command, genome, "--model", "fungi")
    refuse(tmp_path, 1, ("no such model file",), command, genome, "--model", tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("change", "weights", "message"),
    [
        (str, lambda b: b[:-1] + bytes([b[-1] ^ 1]), "checksum differs"),
        (str, lambda b: b[:1000], "checksum differs"),
        (str, lambda b: b"", "checksum differs"),
        (lambda s: s.replace(f"format = {FORMAT}", "format = 99"), bytes, "model format 99"),
        (lambda s: s.replace("hidden = ", "hidden = 1"), bytes, "expected"),
        (lambda s: s.replace("hidden = ", "hiden = "), bytes, "do not fit together"),
        (lambda s: s.split("[network]")[0], bytes, "the card has no 'network'"),
        (lambda s: s + "]", bytes, "not a readable model card"),
        (lambda s: "\0" + s, bytes, "not a readable model card"),
    ],
)
def test_damaged_models(tmp_path, genome, change, weights, message):
    refuse(tmp_path, 1, (message, "bacteria."), "annotate", genome, "--model", copy_model(tmp_path, change, weights))


def test_a_copied_model_works(tmp_path, genome):
    whole = run("annotate", genome, "--model", copy_model(tmp_path), "--no-cache")
    assert whole.code == 0
    assert whole.out == run("annotate", genome, "--no-cache").out
    (tmp_path / "bacteria.safetensors").unlink()
    check_refused(run("annotate", genome, "--model", tmp_path / "bacteria.toml"), 1, "cannot read the model's weights")


def test_models_show(tmp_path):
    check_refused(run("models", "show", "fungi"), 1, "unknown model 'fungi'")
    check_refused(run("models", "show", tmp_path), 1, "holds one .toml card")
    (tmp_path / "x.toml").write_text("= 1")
    check_refused(run("models", "show", tmp_path / "x.toml"), 1, "not a readable model card")


# ---- calibration files


GOOD = Calibration(Counts.zeros(), 0.5, 11)


def broken_calibrations() -> dict[str, tuple[bytes, int, str]]:
    from safetensors.numpy import save

    good, counts = calibration_bytes(GOOD), GOOD.counts
    facts = json.dumps({"gc": [0.5], "genetic_code": 11, "grouped": False})
    fewer = save({"coding": counts.coding}, {"lstmhmm-calibration-2": facts})
    short = replace(GOOD, counts=replace(counts, coding=np.zeros(9, np.float32)))
    unknown = replace(GOOD, counts=replace(counts, context=counts.context + np.nan))
    damaged = "not a whole calibration file"
    return {
        "empty": (b"", 1, damaged),
        "text": (b">a\nACGT\n", 1, damaged),
        "truncated": (good[:-100], 1, damaged),
        "model": ((BUNDLED / "bacteria.safetensors").read_bytes(), 1, "is not a calibration file"),
        "fewer": (fewer, 1, damaged),
        "shape": (calibration_bytes(short), 1, "coding is"),
        "nan": (calibration_bytes(unknown), 1, "context"),
        "gc": (calibration_bytes(replace(GOOD, gc=float("nan"))), 1, "GC content [nan]"),
        "code": (calibration_bytes(replace(GOOD, genetic_code=4)), 2, "genetic code 4, not 11"),
    }


@pytest.mark.parametrize("command", READERS[:2])
@pytest.mark.parametrize("kind", broken_calibrations())
def test_broken_calibrations(tmp_path, genome, command, kind):
    content, code, message = broken_calibrations()[kind]
    path = tmp_path / "genome.cal"
    path.write_bytes(content)
    refuse(tmp_path, code, (message, "genome.cal"), command, genome, "--calibration", path, "--genetic-code", 11)


def test_calibration_options(tmp_path, genome):
    path = tmp_path / "genome.cal"
    refuse(tmp_path, 1, ("no such file", "lstmhmm calibrate"), "annotate", genome, "--calibration", path)
    path.write_bytes(calibration_bytes(GOOD))
    refuse(tmp_path, 2, ("exclude each other",), "annotate", genome, "--calibration", path, "--meta")
    check_refused(run("annotate", genome, "--calibration", path, "-o", path), 2, "is an input and an output")
    assert run("annotate", genome, "--calibration", path, "--no-cache").code == 0


# ---- evaluate, simulate, train


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no CDS"),
        (b"##gff-version 3\n", "holds no CDS"),
        (b">a\nACGT\n", "line 1"),
        (b"##gff-version 3\nx\ty\tCDS\tten\t20\t.\t+\t0\tID=a\n", "line 2"),
        (gzip.compress(b"##gff-version 3\n" * 1000)[:40], "truncated"),
        (b"\0\1\2\3" * 100, ""),
    ],
)
def test_evaluate(tmp_path, content, message):
    path, good = tmp_path / "bad.gff3", tmp_path / "good.gff3"
    path.write_bytes(content)
    good.write_text("##gff-version 3\nx\ty\tCDS\t1\t9\t.\t+\t0\tID=a\n")
    check_refused(run("evaluate", path, good, "--json", tmp_path / "x.json"), 1, message, "bad.gff3")
    assert not (tmp_path / "x.json").exists()


def test_evaluate_files(tmp_path):
    good = tmp_path / "good.gff3"
    good.write_text("##gff-version 3\nx\ty\tCDS\t1\t9\t.\t+\t0\tID=a\n")
    check_refused(run("evaluate", good, tmp_path / "nowhere"), 1, "nowhere", "no such file")
    check_refused(run("evaluate", tmp_path, good), 1, "is a directory")
    check_refused(run("evaluate", good, good, "--genome", tmp_path / "nowhere"), 1, "nowhere", "no such file")
    check_refused(run("evaluate", good, good, "--json", tmp_path / "a" / "b"), 1, "folder does not exist")
    check_refused(run("evaluate", good, good, "--json", good), 2, "is an input and an output")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--gc", "0.1"], 2, "GC content 0.1"),
        (["--gc", "nan"], 2, "GC content nan"),
        (["-g", "7"], 2, "genetic code 7"),
        (["--annotation", "{0}/g.fa"], 2, "two outputs"),
        (["--annotation", "{0}/missing/g.gff3"], 1, "folder does not exist"),
    ],
)
def test_simulate(tmp_path, arguments, code, message):
    defaults = ("simulate", "-o", tmp_path / "g.fa", "--annotation", tmp_path / "g.gff3", "--length", 1000)
    check_refused(run(*defaults, *(x.format(tmp_path) for x in arguments)), code, message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ("", "no column annotation and fasta"),
        ("fasta\tannotation\n", "lists no genome"),
        ("fasta,annotation\na,b\n", "no column"),
        ("fasta\tannotation\nnowhere.fa\tnowhere.gff3\n", "nowhere.fa does not exist"),
        ("fasta\tannotation\tgenetic_code\ng.fa\tg.gff3\televen\n", "genetic code 'eleven'"),
        ("fasta\tannotation\ng.gff3\tg.fa\n", "g.fa"),
        ("fasta\tannotation\ng.fa\tother.gff3\n", "none of its sequence names"),
    ],
)
def test_train(tmp_path, sheet, message):
    record, _ = simulate_genome(500, seed=2)
    (tmp_path / "g.fa").write_text(f">{record.id}\n{decode(record.codes)}\n")
    for name, seqid in (("g", record.id), ("other", "other")):
        (tmp_path / f"{name}.gff3").write_text(f"##gff-version 3\n{seqid}\ty\tCDS\t1\t9\t.\t+\t0\tID=a\n")
    (tmp_path / "sheet.tsv").write_text(sheet)
    check_refused(run("train", tmp_path / "sheet.tsv", "-o", tmp_path / "model"), 1, message)
    assert not (tmp_path / "model").exists()


def test_train_without_a_sheet(tmp_path):
    missing = run("train", tmp_path / "nowhere.tsv", "-o", tmp_path / "model")
    assert missing.code == 2
    assert "nowhere.tsv' does not exist" in missing.err


# ---- anything at all


@pytest.mark.parametrize(
    "prefix", [b"", b">", b">a\n", b"LOCUS       ", b"BAM\1", b"@HD\t", b"\x1f\x8b\x08", b"BZh9", b"CRAM"]
)
@given(data=st.binary(max_size=200))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes(tmp_path, prefix, data):
    path, out = tmp_path / "random", tmp_path / "out.cal"
    path.write_bytes(prefix + data)
    result = run("calibrate", path, "-o", out, "--no-cache")
    if result.code:
        check_refused(result, 1, str(path))
        assert sorted(p.name for p in tmp_path.iterdir()) == ["random"]
    else:
        out.unlink()


@given(data=st.binary(max_size=300))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_annotations(tmp_path, data):
    path = tmp_path / "random.gff3"
    path.write_bytes(data)
    check_refused(run("evaluate", path, path), 1, str(path))
    path.write_bytes(b"##gff-version 3\n" + data)
    result = run("evaluate", path, path)
    assert result.code == 0 or re.fullmatch(r"lstmhmm: error: [^\n]+\n", result.err)
