"""Speed and memory of lstmhmm and Pyrodigal, side by side.

    python benchmarks/speed.py FASTA... [--repeat 3] [--threads 1] [--large FASTA]

Both annotate each FASTA from the command line to GFF3, alternating, each run a process of its own; the best of the
repeats counts. lstmhmm runs once before, so that its programs are compiled, and that first run is reported too.
The time of each stage comes from a second run in this process. With a large file, such as many genomes in one, what a
further base costs is measured, too: between the largest of the others and that file. Writes docs/performance.md and
the summary in README.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pages import ROOT, fill, processor, table, versions

from lstmhmm_bio import runtime

STAGES = ("read", "first pass", "network", "decode", "genes and write")


@dataclass(frozen=True)
class Run:
    """What one process took: seconds, and bytes at its peak."""

    wall: float
    cpu: float
    memory: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fasta", nargs="+", type=Path)
    parser.add_argument("--large", type=Path, help="a file of tens of Mb")
    parser.add_argument("--repeat", type=int, default=3, help="runs per program and file")
    parser.add_argument("--threads", type=int, default=0, help="of lstmhmm; default: all cores")
    parser.add_argument("--model", default="bacteria", help="bundled name or path")
    parser.add_argument("-o", "--output", type=Path, help="another page; README.md then stays as it is")
    arguments = parser.parse_args()

    measured = []
    with tempfile.TemporaryDirectory() as temporary:
        lstmhmm = [sys.executable, "-m", "lstmhmm_bio", "annotate", "--quiet", "--device", "cpu"]
        lstmhmm += ["--model", arguments.model, "--threads", str(arguments.threads), "-o", temporary + "/a.gff3"]
        pyrodigal = [sys.executable, "-m", "pyrodigal", "-f", "gff", "-o", temporary + "/b.gff3", "-i"]
        for n, fasta in enumerate(arguments.fasta):
            os.environ["LSTMHMM_CACHE"] = f"{temporary}/cache{n}"  # so that the first run is a first run
            first = measure([*lstmhmm, str(fasta)])
            pairs = [
                (measure([*lstmhmm, str(fasta)]), measure([*pyrodigal, str(fasta)])) for _ in range(arguments.repeat)
            ]
            for written in ("a.gff3", "b.gff3"):  # a program that did nothing is fast
                if "\tCDS\t" not in Path(temporary, written).read_text():
                    raise SystemExit(f"{written} of {fasta} has no genes")
            measured.append((fasta, first, *map(fastest, zip(*pairs, strict=True))))
            print(*measured[-1], sep="\n  ", file=sys.stderr)
        large = None
        if arguments.large:
            measure([*lstmhmm, str(arguments.large)])  # compiles what the others did not need
            large = measure([*lstmhmm, str(arguments.large)]), measure([*pyrodigal, str(arguments.large)])
    # last, because a process that grows passes its own peak memory on to its children
    rows = []
    for fasta, first, ours, theirs in measured:
        bases, stages = stages_of(fasta, arguments.model, arguments.threads)
        rows.append((fasta, bases, first, ours, theirs, stages))
    further = ""
    if large:
        _, bases, _, *small, _ = max(rows, key=lambda row: row[1])
        further = marginal(bases, small, bases_of(arguments.large), large)
    page = arguments.output or ROOT / "docs/performance.md"
    page.write_text(report(rows, further, arguments), "utf-8")
    if not arguments.output:
        fill("speed", summary([(bases, ours, theirs) for _, bases, _, ours, theirs, _ in rows]))


def measure(command: list[str]) -> Run:
    """Runs a command and asks the system what it took."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return Run(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def fastest(runs: tuple[Run, ...]) -> Run:
    return Run(min(r.wall for r in runs), min(r.cpu for r in runs), max(r.memory for r in runs))


def stages_of(fasta: Path, model: str, threads: int) -> tuple[int, dict[str, float]]:
    """Bases of a file, and wall seconds per stage of a run whose programs are compiled."""
    runtime.configure(threads, "cpu")
    from lstmhmm_bio import annotate
    from lstmhmm_bio.io import Gff3Writer, open_output, read_records
    from lstmhmm_bio.model import load_model

    annotator = annotate.Annotator(load_model(model))
    seconds = dict.fromkeys(STAGES, 0.0)

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*inputs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*inputs)
            finally:
                seconds[stage] += time.perf_counter() - began

        return call

    def run() -> int:
        seconds.update(dict.fromkeys(STAGES, 0.0))
        records = timed("read", lambda: list(read_records(str(fasta))))()
        calibration = timed("first pass", annotator.calibrate)(records)
        seconds["network"] = seconds["decode"] = 0.0  # the first pass has its own
        began = time.perf_counter()
        with open_output(os.devnull) as handle:
            writer = Gff3Writer(handle)
            for annotation in annotator.annotate(records, calibration):
                writer.write(annotation)
        second_pass = time.perf_counter() - began
        seconds["genes and write"] = second_pass - seconds["network"] - seconds["decode"]
        return sum(map(len, records))

    annotator._scorer = timed("network", annotator._scorer)
    decode_records = annotate.decode_records
    annotate.decode_records = timed("decode", lambda *inputs: list(decode_records(*inputs)))
    try:
        run()
        return run(), dict(seconds)
    finally:
        annotate.decode_records = decode_records


def speed(bases: int, run: Run) -> float:
    """Million bases per CPU-second."""
    return bases / 1e6 / run.cpu


def bases_of(fasta: Path) -> int:
    """Bases of a file."""
    from lstmhmm_bio.io import read_records

    return sum(map(len, read_records(str(fasta))))


def marginal(bases: int, small: Sequence[Run], more: int, large: Sequence[Run]) -> str:
    """What a further base costs both programs, in a sentence."""
    slopes = [(more - bases) / 1e6 / (b.cpu - a.cpu) for a, b in zip(small, large, strict=True)]
    wall, memory = large[0].wall, large[0].memory / 1e6
    return (
        f"From {bases / 1e6:.1f} to {more / 1e6:.1f} Mb, lstmhmm and Pyrodigal read {slopes[0]:.2f} and "
        f"{slopes[1]:.2f} Mb per further CPU-second; the large file took lstmhmm {wall:.1f} s, {memory:.0f} MB at most."
        "\n\n"
    )


def report(
    rows: list[tuple[Path, int, Run, Run, Run, dict[str, float]]], further: str, arguments: argparse.Namespace
) -> str:
    def cells(run: Run, bases: int) -> list[str]:
        return [f"{run.wall:.2f}", f"{run.cpu:.2f}", f"{run.memory / 1e6:.0f}", f"{speed(bases, run):.2f}"]

    whole, parts = [], []
    for fasta, bases, first, ours, theirs, stages in rows:
        name = fasta.parent.name if fasta.name.startswith("genome.") else fasta.name.split(".")[0]
        size = f"{bases / 1e6:.2f}"
        whole.append([name, size, "lstmhmm", *cells(ours, bases), f"{speed(bases, ours) / speed(bases, theirs):.2f}"])
        whole.append([name, size, "lstmhmm, first run", *cells(first, bases), ""])
        whole.append([name, size, "Pyrodigal", *cells(theirs, bases), "1"])
        parts.append([name, *(f"{stages[s]:.2f}" for s in STAGES), f"{bases / 1e6 / sum(stages.values()):.2f}"])
    columns = ("genome", "Mb", "program", "wall s", "CPU s", "peak MB", "Mb per CPU-second", "ratio")
    threads = f"{arguments.threads} threads" if arguments.threads else "all cores"
    return f"""# Performance

Written by `python benchmarks/speed.py`: {versions(arguments.model)}.
{processor()}; lstmhmm on {threads}, Pyrodigal on one.

FASTA to GFF3 from the command line, start-up, model loading and the first pass included; best of {arguments.repeat}
(memory: highest). The *first run* compiles the network for the machine; later runs take it from the cache (see
*Caching* in the README). The ratio is that of Mb per CPU-second to Pyrodigal's.

{table(columns, whole, text_columns=3)}
{further}## Stages

Wall seconds within one process, compiled and loaded. The first pass reads at most a sample of the genome, and holds
network and decoding of its own; *network* and *decode* are those of the second pass.

{table(("genome", *STAGES, "Mb/s"), parts)}"""


def summary(best: list[tuple[int, Run, Run]]) -> str:
    """Totals over the files, for README.md."""
    bases = sum(b for b, _, _ in best)
    rows = []
    for name, runs in (("lstmhmm", [ours for _, ours, _ in best]), ("Pyrodigal", [theirs for *_, theirs in best])):
        wall, cpu, memory = sum(r.wall for r in runs), sum(r.cpu for r in runs), max(r.memory for r in runs)
        rows.append([name, f"{bases / 1e6 / wall:.2f}", f"{bases / 1e6 / cpu:.2f}", f"{memory / 1e6:.0f}"])
    return table(("FASTA to GFF3", "Mb per second", "Mb per CPU-second", "peak MB"), rows)


if __name__ == "__main__":
    main()
