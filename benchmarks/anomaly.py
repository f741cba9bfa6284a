"""How well planted pieces of other genomes are found: AUC of window scores.

    python benchmarks/anomaly.py [FOLDER] [--lengths 5000 10000 20000 40000] [--memory MEGABASES]

FOLDER holds one folder per genome with ``genome.fa.gz`` and ``annotation.gff3.gz``. A piece of every other genome is
planted at a random place of every genome's largest record, and all windows of 5 kb are scored: by `lstmhmm_bio.anomaly`
from the sequence alone and with the genes of the annotation, and by the GC content and the tetranucleotide frequencies
of a window (distance to the genome's mean). Windows that lie in the piece by half or more are to be told from those
outside. With --memory, `lstmhmm score` also runs on so much simulated sequence. Writes docs/anomaly.md's tables.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pages import ROOT, fill, processor, table

from lstmhmm_bio import runtime

WINDOW = 5000
METHODS = ("lstmhmm score", "with --annotation", "GC + tetranucleotides", "tetranucleotides")


@dataclass(frozen=True)
class Genome:
    """A genome's largest record and the genes on it."""

    name: str
    codes: np.ndarray
    transcripts: list


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared/data/valid/prok")
    parser.add_argument("--lengths", type=int, nargs="+", default=[5000, 10_000, 20_000, 40_000])
    parser.add_argument("--memory", type=int, default=0, metavar="MB", help="also measure time and memory on this much")
    parser.add_argument("--model", default="bacteria", help="bundled name or path")
    arguments = parser.parse_args()
    runtime.configure(0, "cpu")
    genomes = [read(p.parent) for p in sorted(arguments.folder.glob("*/genome.fa.gz")) if "phage" not in p.parent.name]
    results: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    for length in arguments.lengths:
        for host, donor, codes, transcripts, truth in plantings(genomes, length):
            for method, scores in judge(codes, transcripts, arguments.model).items():
                results[length, host, method].append(auc(scores, truth))
            print(length, host, donor, *(f"{results[length, host, m][-1]:.4f}" for m in METHODS), flush=True)
    fill("anomaly", report(results, arguments.lengths, [g.name for g in genomes]), ROOT / "docs/anomaly.md")
    if arguments.memory:
        fill("memory", memory(arguments.memory), ROOT / "docs/anomaly.md")


def read(folder: Path) -> Genome:
    from lstmhmm_bio.io import read_records
    from lstmhmm_bio.io.reference import read_transcripts

    record = max(read_records(str(folder / "genome.fa.gz")), key=len)
    genes = [t for t in read_transcripts(folder / "annotation.gff3.gz") if t.seqid == record.id and not t.odd]
    return Genome(folder.name, record.codes, genes)


def plantings(genomes: list[Genome], length: int) -> Iterator[tuple]:
    """Host, donor, sequence, its genes, and whether each window is in the piece (nan: by less than half)."""
    for i, host in enumerate(genomes):
        for j, donor in enumerate(genomes):
            if i == j:
                continue
            rng = np.random.default_rng([i, j, length])
            source = int(rng.integers(0, len(donor.codes) - length))
            place = int(rng.integers(0, len(host.codes)))
            codes = np.concatenate([host.codes[:place], donor.codes[source : source + length], host.codes[place:]])
            transcripts = [
                *moved(host, 0, place, 0),
                *moved(donor, source, source + length, place - source),
                *moved(host, place, len(host.codes), length),
            ]
            edges = np.append(np.arange(0, len(codes), WINDOW), len(codes))
            inside = np.clip(np.minimum(edges[1:], place + length) - np.maximum(edges[:-1], place), 0, None)
            share = inside / np.diff(edges)
            yield host.name, donor.name, codes, transcripts, np.where(share >= 0.5, 1, np.where(share > 0, np.nan, 0))


def moved(genome: Genome, start: int, end: int, by: int) -> list:
    """Genes inside a stretch, in the coordinates of the new sequence."""
    return [
        replace(t, seqid="x", segments=tuple((a + by, b + by) for a, b in t.segments))
        for t in genome.transcripts
        if t.start >= start and t.end <= end
    ]


def judge(codes: np.ndarray, transcripts: list, model: str) -> dict[str, np.ndarray]:
    from lstmhmm_bio.anomaly import Detector
    from lstmhmm_bio.features import Record
    from lstmhmm_bio.frames import GeneFrames
    from lstmhmm_bio.model import load_model

    record, prior = [Record("x", codes)], load_model(model).prior
    out = {}
    for method, frames in zip(METHODS, (None, GeneFrames(transcripts)), strict=False):
        detector = Detector(prior, window=WINDOW, frames=frames)
        (scores,) = detector.score(record, detector.learn(record))
        out[method] = scores.bits
    distance, gc = baseline(codes)
    return out | {METHODS[2]: standard(distance) + standard(gc), METHODS[3]: distance}


def baseline(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By window: distance of the tetranucleotide frequencies, both strands, to their mean; of the GC content too."""
    from lstmhmm_bio.sequence import kmer_indices, reverse_complement

    windows = -(-len(codes) // WINDOW)
    counts = np.zeros((windows, 256))
    for words, back in ((kmer_indices(codes, 4), False), (kmer_indices(reverse_complement(codes), 4), True)):
        at = np.arange(len(codes))[::-1] if back else np.arange(len(codes))
        np.add.at(counts, (at[words >= 0] // WINDOW, words[words >= 0]), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    letters = np.array([[(w // 4**i) % 4 in (1, 2) for i in range(4)] for w in range(256)]).mean(1)
    gc = shares @ letters
    return np.abs(shares - shares.mean(0)).sum(1), np.abs(gc - gc.mean())


def standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    inside, outside = scores[truth == 1], np.sort(scores[truth == 0])
    below, upto = np.searchsorted(outside, inside), np.searchsorted(outside, inside, side="right")
    return float((below + upto).mean() / 2 / len(outside))


def report(results: dict, lengths: list[int], hosts: list[str]) -> str:
    rows = [
        [f"{length:,} bases", *(f"{np.mean([np.mean(results[length, h, m]) for h in hosts]):.4f}" for m in METHODS)]
        for length in lengths
    ]
    text = table(("planted piece", *METHODS), rows)
    length = 20_000 if 20_000 in lengths else lengths[0]
    rows = [[h, *(f"{np.mean(results[length, h, m]):.4f}" for m in METHODS)] for h in hosts]
    return f"{text}\nBy genome, pieces of {length:,} bases:\n\n" + table(("genome", *METHODS), rows)


def memory(megabases: int) -> str:
    """Time and peak memory of the command on simulated sequence in records of 10 Mb and in one."""
    rng = np.random.default_rng(1)
    rows = []
    for name, records in ((f"{megabases // 10} records of 10 Mb", megabases // 10), ("one record", 1)):
        with tempfile.TemporaryDirectory() as folder:
            fasta = Path(folder) / "x.fa"
            with fasta.open("wb") as handle:
                for i in range(records):
                    handle.write(b">r%d\n" % i)
                    for _ in range(megabases // records):
                        handle.write(np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, 10**6)].tobytes() + b"\n")
            command = [sys.executable, "-m", "lstmhmm_bio", "score", str(fasta), "-o", f"{folder}/s.bedgraph"]
            begin, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([*command, "--regions", f"{folder}/r.bed", "--device", "cpu"], check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            rows.append([name, f"{time.time() - begin:.0f} s", f"{cpu:.0f} s", f"{after.ru_maxrss / 2**20:.2f} GiB"])
    return f"{processor()}; {megabases} Mb.\n\n" + table(("input", "time", "CPU time", "peak memory"), rows)


if __name__ == "__main__":
    main()
