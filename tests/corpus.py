"""A small valid file of every kind that a command reads, the calls that read them, and how to spoil a file."""

from __future__ import annotations

import gzip
import io
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

from command import Result, fasta, run

from lstmhmm_bio.calibration import Calibration, Counts
from lstmhmm_bio.features import Annotation
from lstmhmm_bio.io import WRITERS, open_output, write_protein_fasta
from lstmhmm_bio.io.calibration_file import calibration_bytes
from lstmhmm_bio.model import BUNDLED
from lstmhmm_bio.sequence import decode
from lstmhmm_bio.simulate import simulate_genome

#: what stands in the files and breaks readers that are not careful
TOKENS = (
    b"", b"\n", b"\r", b"\r\n", b"\t", b" ", b">", b">\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"#", b"##FASTA\n",
    b"-1", b"0", b"9" * 30, b"1e400", b"nan", b"-", b".", b";", b"=", b"%", b"%zz", b'"', b"N" * 70, b"[", b"{}",
    b"CDS", b"join(", b"complement(", b"..", b"<", b"shard=1/2", b"##sequence-region x 1 0\n", b"null", b"\\",
    b"LOCUS       ", b"ORIGIN\n", b"//\n",
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A call of the command line that reads one spoiled file.

    Attributes:
        kind: of the file that is spoiled, see `write_corpus`.
        arguments: ``{bad}`` is that file, ``{out}`` the output, ``{KIND}`` a good file.
    """

    kind: str
    arguments: str


_SEQUENCES = ("fa", "fa.gz", "gbk", "bam", "sam")
CALLS = (
    *(Call(kind, f"{command} {{bad}} -o {{out}} --no-cache -q") for kind in _SEQUENCES for command in
      ("annotate", "segment", "calibrate")),
    *(Call(kind, f"annotate {{bad}} -o {{out}} --no-cache -q {options}") for kind in ("fa", "gbk") for options in
      ("--shard 1/2 -f bed", "--meta -f genbank", "--region contig_1:5-300 -f gtf", "--resume -g 4")),
    Call("cal", "annotate {fa} --calibration {bad} -o {out} --no-cache -q"),
    Call("resume", "annotate {fa} --resume -o {out} --no-cache -q"),
    Call("toml", "annotate {fa} --model {bad} -o {out} --no-cache -q"),
    Call("toml", "models show {bad}"),
    *(Call(kind, arguments) for kind in ("gff3", "gtf", "gbk") for arguments in
      ("evaluate {bad} {gff3} --json {out}", "evaluate {gff3} {bad} --json {out} --mode euk",
       "evaluate {bad} {bad} --genome {fa} --keep-pseudo --keep-partial")),
    Call("fa", "evaluate {gff3} {gff3} --genome {bad} --json {out}"),
    *(Call(kind, "merge {bad} -o {out}") for kind in ("gff3", "gtf", "bed", "gbk", "faa")),
    *(Call(kind, f"merge {{bad}} {{{kind}}} --genome {{fa}} -o {{out}}") for kind in ("gff3", "faa")),
    Call("fa", "merge {gff3} --genome {bad} -o {out}"),
    Call("tsv", "train {bad} -o {out} --steps 1 -q"),
    Call("fa", "score {bad} -o {out} -q"),
    Call("bam", "score {bad} -o {out} -q"),
    Call("bam", "score {fa} --bam {bad} -o {out} -q"),
    Call("gff3", "score {fa} --annotation {bad} -o {out} -q"),
    Call("gff3", "plot {fa} --region contig_1 --annotation {bad} -o {out}.svg"),
    Call("bedgraph", "plot {fa} --region contig_1 --scores {bad} -o {out}.svg"),
    Call("hmm", "profile show {bad}"),
    Call("hmm", "profile search {bad} {prot} -o {out} --no-cache -q"),
    Call("prot", "profile search {hmm} {bad} -o {out} --tblout {out}.tbl --no-cache -q"),
    Call("sto", "profile build {bad} -o {out} --no-cache -q"),
    Call("hmm", "align {prot} --profile {bad} -o {out}.sto --no-cache -q"),
    Call("prot", "align {bad} --profile {hmm} -o {out}.afa --no-cache -q"),
)  # fmt: skip


def write_corpus(folder: Path) -> dict[str, Path]:
    """One good file of each kind, by its ending: a genome of three short records and what belongs to it."""
    import pysam

    files = {kind: folder / f"good.{kind}" for kind in (*_SEQUENCES, "gff3", "gtf", "bed", "faa", "cal", "tsv")}
    annotations = [Annotation(*simulate_genome(700, seed=11, record=i, contig=True)) for i in range(3)]
    records = [a.record for a in annotations]
    text = fasta(*records)
    files["fa"].write_text(text)
    files["fa.gz"].write_bytes(gzip.compress(text.encode(), mtime=0))
    for kind, name in (("gff3", "gff3"), ("gtf", "gtf"), ("bed", "bed"), ("genbank", "gbk")):
        with open_output(str(files[name])) as handle:
            writer = WRITERS[kind](handle, provenance="lstmhmm 0.1.0 model=bacteria version=1")
            for annotation in annotations:
                writer.write(annotation)
    with open_output(str(files["faa"])) as handle:
        for annotation in annotations:
            write_protein_fasta(handle, annotation)
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": "chr", "LN": 5000}]}
    for kind, mode in (("bam", "wb"), ("sam", "w")):
        with pysam.AlignmentFile(str(files[kind]), mode, header=header) as reads:
            for i, record in enumerate(records):
                read = pysam.AlignedSegment(reads.header)
                read.query_name, read.query_sequence, read.flag = f"read_{i}", decode(record.codes[:300]), 16 * (i % 2)
                read.reference_id, read.reference_start, read.cigarstring = 0, 1000 * i, "300M"
                reads.write(read)
    files["cal"].write_bytes(calibration_bytes(Calibration(Counts.zeros(), 0.5, 11)))
    # no name of a sequence fits, so that the best of sheets is refused and nothing is trained
    (folder / "other.gff3").write_text("##gff-version 3\nother\ty\tCDS\t1\t9\t.\t+\t0\tID=a\n")
    files["tsv"].write_text("name\tfasta\tannotation\tgenetic_code\na\tgood.fa\tother.gff3\t11\n")
    files["toml"] = folder / "bacteria.toml"
    for name in ("bacteria.toml", "bacteria.safetensors"):
        shutil.copy(BUNDLED / name, folder / name)
    files["bedgraph"] = folder / "good.bedgraph"
    files["bedgraph"].write_text("".join(f"contig_1\t{i}\t{i + 50}\t{i / 100}\n" for i in range(0, 700, 50)))
    files |= _profile(folder)
    files["resume"] = _journal(files["fa"], folder / "journal")
    return files


def _profile(folder: Path) -> dict[str, Path]:
    """Three proteins, their alignment and its profile."""
    import pyhmmer

    rows = ("MKVLITRAGSG-IGRATAELLAKEGAKV", "MKALITGASSGIIGRAIALELAREGADV", "MRVAITGAASG-IGLATARLLAEQGHEV")
    files = {kind: folder / f"good.{kind}" for kind in ("prot", "sto", "hmm")}
    files["prot"].write_text("".join(f">p{i}\n{row.replace('-', '')}\n" for i, row in enumerate(rows)))
    aligned = "".join(f"p{i} {row}\n" for i, row in enumerate(rows))
    files["sto"].write_text(f"# STOCKHOLM 1.0\n#=GF ID fold\n{aligned}//\n")
    alphabet = pyhmmer.easel.Alphabet.amino()
    with pyhmmer.easel.MSAFile(str(files["sto"]), digital=True, alphabet=alphabet) as source:
        alignment = source.read()
    profile, _, _ = pyhmmer.plan7.Builder(alphabet).build_msa(alignment, pyhmmer.plan7.Background(alphabet))
    with files["hmm"].open("wb") as target:
        profile.write(target)
    return files


def _journal(genome: Path, path: Path) -> Path:
    """A journal of a run that was interrupted after its second record."""
    from itertools import islice

    from lstmhmm_bio.io.journal import Journal

    kept = Journal.resume
    try:
        Journal.resume = lambda *a: _stop(islice(kept(*a), 2))  # type: ignore[method-assign]
        assert run("annotate", genome, "--resume", "-o", path, "--no-cache", "-q").code == 1
    finally:
        Journal.resume = kept  # type: ignore[method-assign]
    return path.with_name(f"{path.name}.resume")


def _stop(annotations):
    yield from annotations
    raise OSError("stopped")


def spoil(content: bytes, random: Random) -> bytes:
    """A file with a few places cut out, doubled, overwritten or filled with `TOKENS`; sometimes cut off or none."""
    for _ in range(random.randint(1, 4)):
        a = random.randint(0, len(content))
        b = min(len(content), a + random.choice((0, 1, 1, 2, 10, 300)))
        piece = content[a:b]
        new = random.choice(
            (
                random.choice(TOKENS),
                piece + piece,
                bytes(x ^ 1 << random.randint(0, 7) for x in piece),
                bytes(random.randint(0, 255) for _ in piece),
            )
        )
        content = content[:a] + new + content[b:]
    if random.randint(0, 9) == 0:
        content = content[: random.randint(0, len(content))]
    return content


def try_spoiled(call: Call, files: dict[str, Path], folder: Path, random: Random) -> tuple[Result, str]:
    """Runs a call on a spoiled file in an empty folder.

    Returns:
        How it ended, and what is wrong with that; "" if nothing.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    good = files[call.kind]
    out = folder / "out"
    bad = folder / {"resume": "out.resume", "toml": good.name}.get(call.kind, f"bad.{call.kind}")
    bad.write_bytes(_spoil_inside(good, call.kind, random))
    if call.kind == "toml":
        shutil.copy(good.with_suffix(".safetensors"), folder)
    if call.kind == "tsv":
        for name in ("good.fa", "other.gff3"):
            shutil.copy(good.with_name(name), folder)
    before = {path.name for path in folder.iterdir()}
    result = run(*call.arguments.format(bad=bad, out=out, **files).split())
    return result, _judge(result, {path.name for path in folder.iterdir()} - before, call)


def _spoil_inside(path: Path, kind: str, random: Random) -> bytes:
    """A spoiled file; of compressed ones mostly what is inside, so that it is read at all."""
    content = path.read_bytes()
    if kind in ("bam", "fa.gz") and random.randint(0, 3):
        inside = spoil(gzip.decompress(content), random)
        return gzip.compress(inside, mtime=0) if kind == "fa.gz" else _bgzip(inside)
    return spoil(content, random)


def _bgzip(content: bytes) -> bytes:
    from Bio.bgzf import BgzfWriter

    packed = io.BytesIO()
    packed.close = packed.flush  # type: ignore[method-assign]  # it is read after the writer has closed it
    with BgzfWriter(fileobj=packed) as writer:
        writer.write(content)
    return packed.getvalue()


def _judge(result: Result, new: set[str], call: Call) -> str:
    if result.code == 0:
        left = {name for name in new if not name.startswith("out") or name.endswith(".resume")}
        return f"left behind: {left}" if left else ""
    if result.code not in (1, 2):
        return f"exit code {result.code}"
    *remarks, last = result.err.splitlines() or [""]
    if not re.match(r"lstmhmm: error: .{10,}|Error: ", last):
        return f"not one clear line: {result.err!r}"
    if any(not re.match(r"note: |lstmhmm: warning: |Usage: |Try |$", line) for line in remarks):
        return f"more than one line: {result.err!r}"
    return f"left behind: {new}" if new - ({"out.resume"} if "--resume" in call.arguments else set()) else ""
