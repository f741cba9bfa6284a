"""Speed and memory of `lstmhmm profile search --max`, beside hmmsearch on the same sequences in one run.

    python benchmarks/profile_speed.py profiles.hmm proteins.fa

Runs each program once with an empty and once with a filled cache (ours) and reports cells (profile positions times
residues) per second of processor time, the peak of memory, and how many programs the second run compiled.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lstmhmm_bio.profiles.hmmfile import read_profiles
from lstmhmm_bio.profiles.sequences import read_sequences


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and the peak of resident memory in MB of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles")
    parser.add_argument("sequences")
    parser.add_argument("--threads", default="1", help="cores for each")
    parser.add_argument("--filters", action="store_true", help="default filters instead of --max")
    options = parser.parse_args()
    profiles = list(read_profiles(options.profiles))
    residues = sum(len(s.codes) for s in read_sequences(options.sequences, profiles[0].alphabet))
    cells = residues * sum(p.length for p in profiles)
    print(f"{len(profiles)} profiles, {residues:,} residues, {cells / 1e6:,.0f} million cells")
    flags = [] if options.filters else ["--max"]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LSTMHMM_CACHE": folder}
        program = [sys.executable, "-m", "lstmhmm_bio", "profile", "search", options.profiles, options.sequences]
        command = [*program, *flags, "-q", "--noali", "-t", options.threads]
        runs = {}
        for name in ("lstmhmm, first run", "lstmhmm, second run"):
            before = len(list(Path(folder).iterdir()))
            runs[name] = measure(command, environment)
            print(f"  {name}: {len(list(Path(folder).iterdir())) - before} files added to the cache")
        if shutil.which("hmmsearch"):
            other = ["hmmsearch", "--cpu", "0" if options.threads == "1" else options.threads, "--noali", *flags]
            runs["hmmsearch"] = measure([*other, options.profiles, options.sequences], environment)
    print(f"{'':22}{'wall s':>8}{'cpu s':>8}{'Mcells/cpu s':>14}{'peak MB':>9}")
    for name, (wall, processor, peak) in runs.items():
        print(f"{name:22}{wall:8.1f}{processor:8.1f}{cells / processor / 1e6:14.0f}{peak:9.0f}")


if __name__ == "__main__":
    main()
