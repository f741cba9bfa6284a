"""The commands from end to end, on simulated genomes with the bundled model.

Golden outputs lie in tests/golden; after a deliberate change (a new model, say) write them anew with

    LSTMHMM_UPDATE_GOLDEN=1 pytest tests/test_cli.py

and look at the difference.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import READERS, REPOSITORY, call, fasta, run, small_batches, start

from lstmhmm_bio.evaluation import evaluate_files
from lstmhmm_bio.features import Annotation, Record
from lstmhmm_bio.io.gff3 import Gff3Writer
from lstmhmm_bio.sequence import decode, encode, reverse_complement
from lstmhmm_bio.simulate import simulate_genome

GOLDEN = Path(__file__).parent / "golden"
#: scores may differ by this much between processors
TOLERANCE = 0.01
_SCORE = re.compile(r"(?<![\w.])[01]\.\d{4}(?!\d)")


@pytest.fixture(autouse=True, scope="module")
def _small_genomes():
    with small_batches(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstmhmm_bio.annotate.ENOUGH_TO_CALIBRATE", 10_000)  # so that a small genome will do
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """One genome in pieces of every size that is handled apart, and some that hold nothing."""
    lengths = (1200, 27_000, 400, 7000, 5000)
    pieces = [simulate_genome(n, gc=0.45, seed=4, record=i, contig=True)[0] for i, n in enumerate(lengths)]
    odd = [Record("empty", encode("")), Record("base", encode("A")), Record("unknown", encode("N" * 300))]
    return [*pieces[:3], *odd, *pieces[3:]]


@pytest.fixture(scope="module")
def genome(folder, records) -> Path:
    path = folder / "genome.fa"
    path.write_text(fasta(*records))
    return path


@pytest.fixture(scope="module")
def calibration(folder, genome) -> Path:
    path = folder / "genome.cal"
    result = run("calibrate", genome, "-o", path, "--no-cache")
    assert result.code == 0, result.err
    assert re.search(r"GC 4\d\.\d %, [\d,]+ codons and \d+ starts counted", result.err)
    return path


@pytest.fixture(scope="module")
def annotated(folder, genome) -> dict[str, str]:
    """A run without a calibration file: GFF3, proteins and coding sequences."""
    paths = {name: folder / f"genome.{name}" for name in ("gff3", "faa", "ffn")}
    result = run(
        "annotate", genome, "-o", paths["gff3"], "--proteins", paths["faa"], "--cds", paths["ffn"], "--no-cache"
    )
    assert result.code == 0, result.err
    assert result.out == ""
    assert re.fullmatch(r"lstmhmm: 8 records, 40,901 bases: \d+ genes \(\d+ partial\), .*\n", result.err)
    return {name: path.read_text() for name, path in paths.items()}


def features(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


# ---- golden outputs


def check_golden(name: str, text: str) -> None:
    """Compares with a golden file: everything exactly, but scores (four decimals, or column 5 of BED) nearly."""
    path = GOLDEN / name
    if os.environ.get("LSTMHMM_UPDATE_GOLDEN"):
        path.write_text(text)
    found, expected = _without_scores(name, text), _without_scores(name, path.read_text())
    assert found[0] == expected[0]
    assert np.allclose(found[1], expected[1], rtol=0, atol=TOLERANCE)


def _without_scores(name: str, text: str) -> tuple[list[str], list[float]]:
    lines, scores = [], []
    for line in text.splitlines():
        columns = line.split("\t")
        if name.endswith(".bed") and len(columns) > 4:
            scores.append(int(columns[4]) / 1000)
            line = "\t".join([*columns[:4], "*", *columns[5:]])
        scores += map(float, _SCORE.findall(line))
        lines.append(_SCORE.sub("*", line))
    return lines, scores


def test_the_comparison_sees_what_it_should():
    bed = "chr\t0\t9\tg\t{}\t+\n"
    assert _without_scores("a.bed", bed.format(512))[1] == [0.512]
    assert _without_scores("a.bed", bed.format(512))[0] == _without_scores("a.bed", bed.format(7))[0]
    assert _without_scores("a.gff3", "x\t0.9876\ty=0.1234;z=1.0000\t12")[1] == [0.9876, 0.1234, 1.0]
    assert _without_scores("a.gff3", "x\t1\t2")[0] != _without_scores("a.gff3", "x\t1\t3")[0]


@pytest.mark.parametrize("name", ["gff3", "faa", "ffn"])
def test_golden(annotated, name):
    check_golden(f"genome.{name}", annotated[name])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("genome.gtf", ["annotate", "-f", "gtf"]),
        ("genome.bed", ["annotate", "-f", "bed"]),
        ("piece.gbk", ["annotate", "-f", "genbank", "--region", "contig_4:501-4500"]),
        ("regions.bed", ["segment"]),
    ],
)
def test_golden_with_a_calibration_file(genome, calibration, name, arguments):
    result = run(*arguments, genome, "--calibration", calibration, "--no-cache", "-q")
    assert result.code == 0
    assert result.err == ""
    check_golden(name, result.out)


# ---- what must not change the result


def test_a_calibration_file_stands_for_the_first_pass(genome, calibration, annotated):
    assert run("annotate", genome, "--calibration", calibration, "--no-cache").out == annotated["gff3"]


def test_shards_with_one_calibration_are_the_whole(folder, records, calibration, annotated):
    found = []
    for name, part in (("a", records[:4]), ("b", records[4:])):
        path = folder / f"shard_{name}.fa"
        path.write_text(fasta(*part))
        found += features(run("annotate", path, "--calibration", calibration, "--no-cache").out)
    assert found == features(annotated["gff3"])


def test_records_stay_in_order(records, annotated):
    named = [line.split()[1] for line in annotated["gff3"].splitlines() if line.startswith("##sequence-region")]
    assert named == [r.id for r in records if len(r)]


def test_the_way_in_does_not_matter(folder, records):
    from Bio import SeqIO
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    record = records[-1]
    text = fasta(record)
    plain, packed, genbank, windows = (folder / name for name in ("p.fa", "p.fa.gz", "p.gbk", "p.txt"))
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    entry = SeqRecord(Seq(decode(record.codes)), id=record.id, name=record.id, annotations={"molecule_type": "DNA"})
    SeqIO.write(entry, genbank, "genbank")
    lines = re.sub("([ACGT]{1,80})", r"\1\r\n", text).lower()
    windows.write_bytes(b"\xef\xbb\xbf" + lines.encode())
    expected = run("annotate", plain, "--no-cache")
    assert expected.code == 0
    assert len(features(expected.out)) > 4
    for path in (packed, genbank, windows):
        assert run("annotate", path, "--no-cache") == expected
    assert run("annotate", "-", "--no-cache", stdin=text.encode()) == expected
    assert run("annotate", "-", "--no-cache", stdin=packed.read_bytes()) == expected


def test_iupac_letters_are_unknown_bases(folder, records, calibration):
    sequence = decode(records[-1].codes)
    results = []
    for letter in "NR":
        path = folder / f"ambiguous_{letter}.fa"
        path.write_text(f">x\n{sequence[:2000]}{letter}{sequence[2001:]}\n")
        results.append(run("annotate", path, "--calibration", calibration, "--no-cache"))
    assert results[0] == results[1]
    assert results[0].code == 0


@pytest.mark.slow
def test_neither_threads_nor_batches_matter(folder, records):
    path = folder / "large.fa"
    path.write_text(fasta(*records, simulate_genome(80_000, gc=0.45, seed=4, record=9)[0]))
    cache = {"LSTMHMM_CACHE": str(folder / "cache")}
    one, two = (call("annotate", path, "-t", n, env=cache) for n in (1, 2))
    assert one.code == 0
    assert one == two
    assert any((folder / "cache").iterdir())
    small = run("annotate", path, "--no-cache")
    found, expected = (_without_scores("x.gff3", x) for x in (small.out, one.out))
    assert found[0] == expected[0]
    assert np.allclose(found[1], expected[1], rtol=0, atol=1e-3)


# ---- is it right?


def test_accuracy_on_a_simulated_genome(folder):
    record, genes = simulate_genome(200_000, gc=0.5, seed=8)
    sequences, truth, found = (folder / name for name in ("whole.fa", "truth.gff3", "found.gff3"))
    sequences.write_text(fasta(record))
    with truth.open("w") as handle:
        Gff3Writer(handle).write(Annotation(record, genes))
    result = run("annotate", sequences, "-o", found, "--no-cache")
    assert result.code == 0
    assert "warning" not in result.err
    scores = evaluate_files(truth, found).scores
    assert scores["stop"].f1 >= 0.98
    assert scores["start|stop"].sensitivity >= 0.82
    table = run("evaluate", truth, found)
    assert table.code == 0
    assert f"{100 * scores['stop'].f1:.2f}" in table.out.splitlines()[1]


def test_uncalibrated_each_record_is_taken_by_itself(folder, records):
    alone, together = folder / "alone.fa", folder / "together.fa"
    alone.write_text(fasta(records[-1]))
    other = simulate_genome(5000, gc=0.7, seed=9)[0]
    together.write_text(fasta(other, records[-1]))
    whole, part = (features(run("annotate", p, "--calibration", "none", "--no-cache").out) for p in (together, alone))
    assert whole[-len(part) :] == part
    assert len(whole) > len(part) > 0


def test_reads_of_a_bam_are_annotated_one_by_one(folder, records):
    import pysam

    path, reads = folder / "reads.bam", records[1].codes[:20_000].reshape(-1, 1000)
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": "chr", "LN": 27_000}]}
    with pysam.AlignmentFile(str(path), "wb", header=header) as handle:
        for i, codes in enumerate(reads):
            read = pysam.AlignedSegment(handle.header)
            read.query_name, read.query_sequence, read.flag = f"read_{i}", decode(codes), 16 * (i % 2)
            read.reference_id, read.reference_start, read.cigarstring = 0, 1000 * i, "1000M"
            handle.write(read)
    result = run("annotate", path, "--no-cache")
    assert result.code == 0
    as_sequenced = folder / "reads.fa"
    oriented = [Record(f"read_{i}", reverse_complement(codes) if i % 2 else codes) for i, codes in enumerate(reads)]
    as_sequenced.write_text(fasta(*oriented))
    assert result.out == run("annotate", as_sequenced, "--calibration", "none", "--no-cache").out
    assert len(features(result.out)) > 20
    # a region needs an index
    wanted = run("annotate", path, "--region", "chr:1-500", "--no-cache")
    assert wanted.code == 1
    assert "samtools index" in wanted.err
    pysam.index(str(path))
    found = features(run("annotate", path, "--region", "chr:1-500", "--no-cache").out)
    assert {line.split("\t")[0] for line in found} == {"read_0"}


@pytest.mark.parametrize("kind", ["gff3", "gtf"])
def test_gffread_accepts(folder, genome, annotated, kind):
    if not shutil.which("gffread"):
        pytest.skip("gffread is not installed")
    path = folder / f"gffread.{kind}"
    path.write_text(annotated["gff3"] if kind == "gff3" else (GOLDEN / "genome.gtf").read_text())
    done = subprocess.run(["gffread", "-E", path], capture_output=True, text=True, check=True)
    assert not re.search("error|warning", done.stderr, re.IGNORECASE)
    assert len(features(done.stdout)) == len(features(annotated["gff3"]))


def test_all_outputs_tell_of_the_same_genes(annotated):
    genes = re.findall(r"\tgene\t.*ID=([^;]+)", annotated["gff3"])
    assert len(genes) > 30
    for kind in ("faa", "ffn"):
        assert re.findall(r"^>(\S+)", annotated[kind], re.MULTILINE) == genes


def test_min_length(genome, calibration, annotated):
    long = run("annotate", genome, "--calibration", calibration, "--no-cache", "--min-length", 600)
    everything = [line.split("\t") for line in features(annotated["gff3"])]
    limits = [400 if "partial=" in c[8] else 600 for c in everything]
    expected = [c[:5] for c, limit in zip(everything, limits, strict=True) if int(c[4]) - int(c[3]) + 1 >= limit]
    assert [line.split("\t")[:5] for line in features(long.out)] == expected
    assert len(expected) < len(everything)


def test_min_score(folder):
    # what is found in random sequence is rarely sure
    path = folder / "random.fa"
    path.write_text(fasta(Record("x", np.random.default_rng(3).integers(0, 4, 40_000, np.uint8))))
    everything = features(run("annotate", path, "-f", "bed", "--no-cache").out)
    scores = [int(line.split("\t")[4]) for line in everything]
    middle = (min(scores) + max(scores)) // 2
    kept = features(run("annotate", path, "-f", "bed", "--no-cache", "--min-score", middle / 1000).out)
    assert [line.split("\t")[4] for line in kept] == [str(x) for x in scores if x >= middle]
    assert 0 < len(kept) < len(everything)


@pytest.mark.parametrize("sequence", ["", "A", "ACGT", "N" * 1000, "ACGT" * 10, "TTAATTAA" * 60])
@pytest.mark.parametrize("command", READERS)
def test_nothing_to_find_is_a_result(folder, command, sequence):
    path, out = folder / "nothing.fa", folder / f"nothing.{command}"
    path.write_text(f">x\n{sequence}\n")
    result = run(command, path, "-o", out, "--no-cache")
    assert result.code == 0, result.err
    text = out.read_bytes()
    if command == "annotate":
        assert features(text.decode()) == []
        assert text.startswith(b"##gff-version 3\n")
        assert result.err == f"lstmhmm: 1 record, {len(sequence):,} bases: no genes found\n"
    elif command == "segment":
        spans = [tuple(map(int, line.split("\t")[1:3])) for line in features(text.decode())]
        assert [base for a, b in spans for base in range(a, b)] == list(range(len(sequence)))
    else:
        assert "GC content alone" in result.err


def test_a_wrong_genetic_code_is_remarked_on(folder):
    record, _ = simulate_genome(60_000, gc=0.3, seed=5, genetic_code=4)
    path = folder / "mycoplasma.fa"
    path.write_text(fasta(record))
    wrong = run("annotate", path, "--no-cache", "-q")
    assert wrong.code == 0
    assert "warning: genes are short" in wrong.err
    assert "--genetic-code" in wrong.err
    right = run("annotate", path, "-g", 4, "--no-cache", "-q")
    assert right.err == ""
    assert "transl_table=4" in right.out


# ---- the other commands


def test_simulate_evaluate(folder):
    made = run("simulate", "-o", folder / "s.fa", "--annotation", folder / "s.gff3", "--length", 20_000)
    assert (made.code, made.out, made.err) == (0, "", "")
    same = run("evaluate", folder / "s.gff3", folder / "s.gff3", "--json", folder / "s.json")
    assert same.code == 0
    assert same.out.count("100.00") == 12
    piped = run("evaluate", folder / "s.gff3", "-", stdin=(folder / "s.gff3").read_bytes())
    assert piped == same


def test_models(folder):
    listed = run("models", "list")
    assert listed.code == 0
    assert listed.out.startswith("bacteria\tversion ")
    shown = run("models", "show", "bacteria")
    assert shown.code == 0
    assert re.search(r"^name +bacteria$", shown.out, re.MULTILINE)
    assert re.search(r"^network\n  stride +\d+$", shown.out, re.MULTILINE)
    assert not re.search(r"[{}\[\]']", shown.out)
    card = folder / "own.toml"
    card.write_text(
        'name = "own"\ngenetic_codes = [4, 11]\n[[genomes]]\nname = "a"\nbases = 10\n[[genomes]]\nname = "bb"\n'
    )
    assert "genetic codes        4, 11\n\ngenomes\n  name  bases\n  a     10\n  bb\n" in run("models", "show", card).out


# ---- as a process


def test_help_is_quick_and_light():
    script = (
        "import sys, lstmhmm_bio.cli as cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    for arguments in (["--help"], *([name, "--help"] for name in ("annotate", "segment", "train", "evaluate"))):
        took = []
        for _ in range(3):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, cwd=REPOSITORY
            )
            took.append(time.perf_counter() - began)
            if took[-1] < 0.5:
                break
        assert min(took) < 0.5
        assert done.stdout.startswith("Usage: lstmhmm")
        assert not {"jax", "Bio", "pysam", "optax"} & set(done.stderr.split())


def test_usage():
    bare = run()
    assert bare.code == 2
    assert "Commands:" in bare.err
    for arguments, said in (
        (["annotate"], "Missing argument 'GENOME'"),
        (["anotate", "x"], "No such command 'anotate'"),
        (["annotate", "x", "--formt", "gff3"], "No such option"),
        (["annotate", "x", "-f", "gff"], "'gff' is not one of"),
        (["calibrate", "x"], "Missing option '-o'"),
    ):
        result = run(*arguments)
        assert result.code == 2
        assert said in result.err
        assert result.out == ""
    assert run("--version").out.startswith("lstmhmm, version ")


def closed_pipe() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize(
    "arguments", [["models", "list"], ["annotate", "--help"], ["simulate", "-o", "-", "--annotation", os.devnull]]
)
def test_a_reader_that_goes_away_ends_the_run_quietly(arguments):
    result = call(*arguments, stdout=closed_pipe())
    assert result.code == 128 + signal.SIGPIPE
    assert result.err == ""
    both = start(*arguments, stdout=closed_pipe(), stderr=closed_pipe())
    assert both.wait() == 128 + signal.SIGPIPE


def test_a_full_disk_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        result = call("models", "list", stdout=full)
    assert result.code == 1
    assert re.fullmatch("lstmhmm: error: .*(disk is full|No space left).*\\n", result.err)


def test_annotate_into_a_closed_pipe_leaves_nothing(tmp_path, folder, records):
    path, proteins = folder / "short.fa", tmp_path / "p.faa"
    path.write_text(fasta(records[2]))
    result = call("annotate", path, "--meta", "--proteins", proteins, "--no-cache", stdout=closed_pipe())
    assert (result.code, result.err) == (128 + signal.SIGPIPE, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_with_no_file_left(tmp_path, genome, number):
    out = tmp_path / "out.gff3"
    out.write_text("old")
    process = start("annotate", genome, "-o", out, "--proteins", tmp_path / "p.faa", "--no-cache")
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == f"lstmhmm: stopped by {number.name}\n"
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_an_interrupt_while_reading_standard_input():
    process = start("annotate", "-", stdin=subprocess.PIPE)
    process.stdin.write(">x\nACGT\n")
    process.stdin.flush()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert process.stderr.read() == "lstmhmm: stopped by SIGINT\n"
    process.stdin.close()
    process.stdout.close()
    process.stderr.close()


def test_coding_probabilities_as_bigwig(genome, folder, records):
    pybigtools = pytest.importorskip("pybigtools")
    track = folder / "coding.bw"
    assert run("annotate", genome, "-o", folder / "c.gff3", "--coding", track).code == 0
    with track.open("rb") as stream, pybigtools.open(stream) as file:
        assert file.chroms() == {r.id: len(r) for r in records if len(r)}
        record = max(records, key=len)
        values = np.full(len(record), np.nan)
        for start, end, value in file.records(record.id):
            values[start:end] = value
    assert ((values >= 0) & (values <= 1)).all()
    rows = [line.split("\t") for line in (folder / "c.gff3").read_text().splitlines() if not line.startswith("#")]
    inside = np.zeros(len(record), bool)
    for row in rows:
        if row[0] == record.id and row[2] == "CDS":
            inside[int(row[3]) - 1 : int(row[4])] = True
    assert values[inside].mean() > 0.8 > 0.4 > values[~inside].mean()
    refused = run("annotate", genome, "-o", folder / "d.gff3", "--coding", folder / "d.bw", "--resume")
    assert refused.code == 2
    assert "--coding cannot be resumed" in refused.err
    assert not (folder / "d.bw").exists()
