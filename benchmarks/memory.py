"""Peak memory of `annotate`, `segment`, `score` and `embed`, all processes together, on inputs of extreme shapes.

    python benchmarks/memory.py [--scale 1] [--shape record|contigs|reads|segment|score|embed ...]

Shapes: one record of 300 Mb, 200,000 contigs of 1 kb, two million reads of 150 bases in a BAM; the record also for
`segment`, `score` and `embed`. `--scale 0.01` makes each a hundredth as large, to try. The inputs are random sequence,
drawn as they are written: memory does not depend on what the bases say, apart from the genes found. Resident memory of
the run and its children is summed ten times a second. Writes docs/memory.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pages import ROOT, processor, table

from lstmhmm_bio import __version__

#: what every shape may take, bytes
BAR = 1_500_000_000
_LINE = 60


@dataclass(frozen=True)
class Shape:
    """An input.

    Attributes:
        title: for the table.
        size: bases of the record, number of contigs or of reads.
        suffix: of the file.
        write: writes so many of them.
        command: that reads it.
        output: name of what that writes.
    """

    title: str
    size: int
    suffix: str
    write: Callable[[Path, int], None]
    command: str = "annotate"
    output: str = "out.gff3"


def _bases(rng: np.random.Generator, n: int) -> bytes:
    return np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, n, np.uint8)].tobytes()


def write_record(path: Path, bases: int) -> None:
    rng = np.random.default_rng(1)
    with path.open("wb") as handle:
        handle.write(b">record\n")
        for start in range(0, bases, 1 << 20):
            block = _bases(rng, min(1 << 20, bases - start))
            handle.writelines(block[i : i + _LINE] + b"\n" for i in range(0, len(block), _LINE))


def write_contigs(path: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    with path.open("wb") as handle:
        handle.writelines(b">contig_%d\n%s\n" % (i, _bases(rng, 1000)) for i in range(count))


def write_reads(path: Path, count: int) -> None:
    import pysam

    rng = np.random.default_rng(1)
    header = {"HD": {"VN": "1.6", "SO": "unsorted"}}
    with pysam.AlignmentFile(str(path), "wb", header=header) as handle:
        for i in range(count):
            read = pysam.AlignedSegment(handle.header)
            read.query_name, read.query_sequence, read.flag = f"read_{i}", _bases(rng, 150).decode(), 4
            handle.write(read)


SHAPES = {
    "record": Shape("1 record of {:,} bases", 300_000_000, ".fa", write_record),
    "contigs": Shape("{:,} contigs of 1,000 bases", 200_000, ".fa", write_contigs),
    "segment": Shape("1 record of {:,} bases, `segment`", 300_000_000, ".fa", write_record, "segment", "out.bed"),
    "score": Shape("1 record of {:,} bases, `score`", 300_000_000, ".fa", write_record, "score", "out.bedgraph"),
    "embed": Shape("1 record of {:,} bases, `embed`", 300_000_000, ".fa", write_record, "embed", "out.npz"),
    "reads": Shape("{:,} reads of 150 bases, BAM", 2_000_000, ".bam", write_reads),
}


def resident(pid: int) -> int:
    """Resident bytes of a process and all below it; what they share is counted once for each."""
    total = 0
    try:
        total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        children = [int(c) for t in os.listdir(f"/proc/{pid}/task") for c in _children(pid, t)]
    except (OSError, IndexError):  # it has just ended
        return total
    return total + sum(map(resident, children))


def _children(pid: int, task: str) -> list[str]:
    return Path(f"/proc/{pid}/task/{task}/children").read_text().split()


def measure(command: list[str]) -> tuple[int, float, float]:
    """Peak resident bytes, wall seconds and CPU seconds of a command with its children."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.1):
            peak = max(peak, resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    watcher.join()
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    # between two looks the process itself may have been larger
    return max(peak, usage.ru_maxrss * 1024), time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="default: all")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/memory.md")
    arguments = parser.parse_args()
    if not Path("/proc/self/statm").exists():
        raise SystemExit("needs Linux: reads /proc")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in arguments.shape or SHAPES:
            shape = SHAPES[name]
            size = max(1, round(shape.size * arguments.scale))
            path = Path(temporary, f"input{shape.suffix}")
            shape.write(path, size)
            command = [sys.executable, "-m", "lstmhmm_bio", shape.command, "--quiet", "--device", "cpu"]
            command += ["--threads", str(arguments.threads), "-o", f"{temporary}/{shape.output}", str(path)]
            peak, wall, cpu = measure(command)
            path.unlink()
            verdict = "yes" if peak <= BAR else "no"
            row = (shape.title.format(size), f"{peak / 1e6:,.0f}", verdict, f"{wall:,.0f}", f"{cpu:,.0f}")
            print(*row, sep="\t", file=sys.stderr, flush=True)
            rows.append(row)
    header = ("input", "peak MB", f"at most {BAR / 1e6:,.0f}", "seconds", "CPU seconds")
    text = f"Measured on {processor()}, lstmhmm {__version__}, by `benchmarks/memory.py`.\n"
    arguments.output.write_text(f"# Memory\n\n{(__doc__ or '').split(chr(10) * 2)[2]}\n\n{table(header, rows)}\n{text}")


if __name__ == "__main__":
    main()
