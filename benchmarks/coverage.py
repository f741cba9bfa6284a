"""Coverage states: how well they tell exons from the rest of a genome, and what a large alignment file costs.

    python benchmarks/coverage.py exons reads.bam annotation.gff3.gz
    python benchmarks/coverage.py memory --reads 2000000 --bases 300000000

Takes minutes.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def exons(bam: str, annotation: str) -> None:
    """Area under the ROC curve per base: depth itself, and the log odds of the highest state's posterior."""
    from lstmhmm_bio.runtime import configure

    configure()
    from scipy.stats import rankdata

    from lstmhmm_bio.hmm.densities import SIGNAL_FAMILIES
    from lstmhmm_bio.hmm.em import Pieces, expectations
    from lstmhmm_bio.io.coverage import read_signals
    from lstmhmm_bio.states import CountTrack, learn, sample

    (depth,) = read_signals([bam], 1, min_mapq=10).tracks
    truth = np.zeros(depth.length, bool)
    with gzip.open(annotation, "rt") as file:
        for line in file:
            columns = line.split("\t")
            if len(columns) == 9 and columns[2] == "exon":
                truth[int(columns[3]) - 1 : int(columns[4])] = True

    def area(score: np.ndarray) -> float:
        ranks, positive = rankdata(score), truth.sum()
        return (ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * (len(truth) - positive))

    print(f"exons {truth.mean():.1%} of {depth.length:,} bases")
    print(f"depth of every base: {area(depth.values[:, 0]):.4f}")
    family = SIGNAL_FAMILIES["negative-binomial"]
    for size in (1, 3, 10, 50):
        for spliced in (False, True):
            signals = read_signals([bam], size, min_mapq=10, spliced=spliced)
            track = CountTrack(signals.tracks[0])
            plain = area(np.repeat(track.signal.values[:, 0], size)[: depth.length])
            for states in (2, 3, 4):
                begin = time.perf_counter()
                levels = [not x for x in signals.skipped]
                learned = learn(sample([track]), family, [states], level_channels=levels)
                whole = Pieces(track.block(0, len(track))[None], np.array([len(track)], np.int32))
                posteriors = expectations(learned.model, whole).posteriors.astype(float)
                odds = np.log(posteriors[:, -1] + 1e-38) - np.log(posteriors[:, :-1].sum(1) + 1e-38)
                found = area(np.repeat(odds, size)[: depth.length])
                kind = "covering and skipping reads" if spliced else "covering reads"
                took = time.perf_counter() - begin
                print(
                    f"bins of {size}, {kind}, {states} states: {found:.4f} (binned depth {plain:.4f}; {took:.0f} s)",
                    flush=True,
                )


def memory(reads: int, bases: int) -> None:
    """Peak memory and time of `lstmhmm segment` on a simulated file."""
    import pysam

    rng = np.random.default_rng(1)
    chromosomes = 5
    length = bases // chromosomes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reads.bam"
        header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": f"chr{i + 1}", "LN": length} for i in range(chromosomes)]}
        with pysam.AlignmentFile(str(path), "wb", header=header) as file:
            read = pysam.AlignedSegment(file.header)
            read.query_name, read.cigarstring, read.mapping_quality, read.query_sequence = "r", "100M", 60, "A" * 100
            for i in range(chromosomes):
                read.reference_id = i
                copies = np.repeat(rng.integers(1, 4, 60), -(-length // 60))[:length:100].astype(float)
                places = rng.choice(len(copies), reads // chromosomes, p=copies / copies.sum())
                for place in np.sort(100 * places).tolist():
                    read.reference_start = min(place, length - 100)
                    file.write(read)
        command = [sys.executable, "-m", "lstmhmm_bio", "segment", str(path), "--states", "3", "-o", os.devnull]
        begin = time.perf_counter()
        process = subprocess.Popen([*command, "--bin", "100"])
        _, status, usage = os.wait4(process.pid, 0)
        print(
            f"{reads:,} reads on {bases:,} bases in bins of 100: exit {os.waitstatus_to_exitcode(status)}, "
            f"{time.perf_counter() - begin:.0f} s, {usage.ru_maxrss / 1024:.0f} MB"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("exons")
    one.add_argument("bam")
    one.add_argument("annotation")
    one.set_defaults(run=exons)
    two = commands.add_parser("memory")
    two.add_argument("--reads", type=int, default=2_000_000)
    two.add_argument("--bases", type=int, default=300_000_000)
    two.set_defaults(run=memory)
    arguments = vars(parser.parse_args())
    arguments.pop("run")(**arguments)
