"""Ends that a run may come to, a thousand times: kills, signals, full disks, closed pipes, bad input.

    python benchmarks/reliability.py [--trials 1000] [--seed 1]

Every trial looks at the exit code, at standard error (one line at most, never a traceback), at the files under the
final names (whole, or as they were before), at what is left beside them, and whether a rerun gives the right bytes.
Trials are processes of their own. Most have a stand-in for the network, which gives known genes and waits a moment
between records: reading, journal, writing and ending are the program's own, and a run takes a tenth of a second instead
of several. The others are the whole program. Writes docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from pages import ROOT, processor, table

sys.path.insert(0, str(ROOT / "tests"))

import lstmhmm_bio.cli.annotate as cli_annotate
from lstmhmm_bio import __version__, annotate, runtime
from lstmhmm_bio.cli import main as lstmhmm
from lstmhmm_bio.features import Annotation, Gene, Record
from lstmhmm_bio.sequence import GeneticCode, decode
from lstmhmm_bio.simulate import simulate_genome


@dataclass
class World:
    """What the trials share.

    Attributes:
        folder: for everything, removed at the end.
        genome: input of a few short records.
        whole: runs are those of the whole program, without a stand-in for the network.
        expected: right content by output name.
        typical: seconds that an undisturbed run takes.
    """

    folder: Path
    genome: Path
    whole: bool
    expected: dict[str, bytes] = field(default_factory=dict)
    typical: float = 1.0


class WrongEndError(Exception):
    """A trial that did not end as it should."""


def demand(right: bool, what: object) -> None:
    if not right:
        raise WrongEndError(str(what))


# ---- processes


@dataclass
class Process:
    """A forked run of the command line."""

    pid: int
    errors: int

    def wait(self) -> tuple[int, str]:
        """Exit code as the shell has it (128 + n by a signal), and standard error."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        with os.fdopen(self.errors, encoding="utf-8", errors="replace") as errors:
            return (128 - code if code < 0 else code), errors.read()


def fork(
    world: World, *arguments: object, out: int | None = None, prepare: Callable[[], None] = lambda: None
) -> Process:
    """`lstmhmm ARGUMENTS` in a child of this process.

    Args:
        world: says whether the network is real.
        arguments: of the command line.
        out: file descriptor for its standard output; nowhere if None.
        prepare: called in the child first.
    """
    errors, descriptor = os.pipe()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return Process(pid, errors)
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR) if out is None else out, 1)
        os.dup2(descriptor, 2)
        os.closerange(3, 64)
        annotate.GROUP = 1  # records are handled one by one, so that kills fall between them
        if not world.whole:
            cli_annotate.start_annotator = lambda *_, **__: StandIn()
        prepare()
        lstmhmm([str(a) for a in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class StandIn:
    """Gives the genes of a simulation in place of an `Annotator`'s."""

    code = GeneticCode.from_number(11)
    model = SimpleNamespace(name="none", version="0", card={}, grammar=None)

    def annotate(self, records: Iterable[Record], *_: object) -> Iterator[Annotation]:
        for record in records:
            time.sleep(0.002)
            yield Annotation(record, GENES[record.id])


#: what it gives, by record
GENES: dict[str, tuple[Gene, ...]] = {}


def calls(world: World, folder: Path, *, resume: bool = False) -> list[object]:
    outputs = ["-o", folder / "genes.gff3", "--proteins", folder / "proteins.faa.gz"]
    return [*bare(world), *outputs, *(["--resume"] if resume else [])]


def bare(world: World) -> list[object]:
    return ["annotate", world.genome, "--calibration", "none", "-q", "--device", "cpu"]


def one_line(text: str) -> None:
    demand("Traceback" not in text and text.count("\n") <= 1, text)


def whole(world: World, folder: Path, old: bytes | None) -> None:
    """Files under the final names are right, or as before."""
    for name, right in world.expected.items():
        path = folder / name
        if path.exists():
            demand(path.read_bytes() in (right, old), f"{name} is torn")
        else:
            demand(old is None, f"{name} is gone")


def finished(world: World, folder: Path, code: int, errors: str) -> None:
    demand((code, errors) == (0, ""), f"{code} {errors}")
    for name, right in world.expected.items():
        demand((folder / name).read_bytes() == right, f"{name} differs")


def left(folder: Path, *allowed: str) -> None:
    names = {p.name for p in folder.iterdir()} - {"genes.gff3", "proteins.faa.gz", *allowed}
    demand(not names, f"left behind: {sorted(names)}")


# ---- trials: each gets the world, an empty folder and its own random numbers


def killed(world: World, folder: Path, rng: random.Random) -> None:
    """SIGKILL at a random moment, once or more; then the run again, or with --resume on."""
    resume = rng.random() < 0.6
    old = b"old" if rng.random() < 0.5 else None
    for name in world.expected:
        if old:
            (folder / name).write_bytes(old)
    for _ in range(rng.choice((1, 1, 2))):
        process = fork(world, *calls(world, folder, resume=resume))
        time.sleep(rng.uniform(0, world.typical))
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        code, errors = process.wait()
        demand(code in (137, 0), code)
        one_line(errors)
        whole(world, folder, old if code else b"")
    code, errors = fork(world, *calls(world, folder, resume=resume)).wait()
    finished(world, folder, code, errors)
    demand(not list(folder.glob("*.resume")), "a journal is left")


def stopped(world: World, folder: Path, rng: random.Random) -> None:
    """SIGINT, SIGTERM or SIGHUP at a random moment."""
    number = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    resume = rng.random() < 0.3
    (folder / "genes.gff3").write_bytes(b"old")
    (folder / "proteins.faa.gz").write_bytes(b"old")
    process = fork(world, *calls(world, folder, resume=resume))
    time.sleep(rng.uniform(0.02, world.typical))
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
    code, errors = process.wait()
    if code == 0:
        finished(world, folder, code, errors)
        return left(folder)
    demand(code == 128 + number, f"exit code {code} after {number.name}")
    # before the program listens, the system ends it without a word
    demand(errors in ("", f"lstmhmm: stopped by {number.name}\n"), errors)
    whole(world, folder, b"old")
    return left(folder, *(["genes.gff3.resume"] if resume else []))


def starting(world: World, folder: Path, rng: random.Random) -> None:
    """SIGINT, SIGTERM or SIGHUP while a new interpreter is starting."""
    number = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    command = [sys.executable, "-m", "lstmhmm_bio", *map(str, calls(world, folder))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(rng.uniform(0.15, 1.5))
    process.send_signal(number)
    _, errors = process.communicate()
    one_line(errors)
    demand(process.returncode in (128 + number, -number, 0), process.returncode)
    left(folder)


def full(world: World, folder: Path, rng: random.Random) -> None:
    """A disk that is full after a random number of bytes (RLIMIT_FSIZE)."""
    most = max(map(len, world.expected.values()))
    limit = rng.choice((0, rng.randint(1, most), rng.randint(1, most), rng.randint(most, 2 * most)))
    resume = rng.random() < 0.3
    limited = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    code, errors = fork(world, *calls(world, folder, resume=resume), prepare=limited).wait()
    if code:
        demand(code == 1, f"{code} {errors}")
        demand(re.fullmatch(r"lstmhmm: error: .* cannot be written: .*\n", errors), errors)
        whole(world, folder, None)
        left(folder, *(["genes.gff3.resume"] if resume else []))
        code, errors = fork(world, *calls(world, folder, resume=resume)).wait()
    finished(world, folder, code, errors)
    left(folder)


def full_device(world: World, folder: Path, rng: random.Random) -> None:
    """Standard output to a device without space."""
    device = os.open("/dev/full", os.O_WRONLY)
    code, errors = fork(world, *bare(world), out=device).wait()
    os.close(device)
    demand(code == 1, code)
    demand(re.fullmatch(r"lstmhmm: error: .*(disk is full|No space left).*\n", errors), errors)


def locked(world: World, folder: Path, rng: random.Random) -> None:
    """A folder that may not be written."""
    target = folder / "locked"
    target.mkdir(0o555)
    user = lambda: os.seteuid(65534)  # noqa: E731  (root may write anywhere)
    os.chmod(world.folder, 0o755)
    os.chmod(folder, 0o755)
    arguments = calls(world, target, resume=rng.random() < 0.5)
    code, errors = fork(world, *arguments, prepare=user if os.geteuid() == 0 else lambda: None).wait()
    demand(code == 1, code)
    demand(re.fullmatch(r"lstmhmm: error: .* cannot be written: permission denied.*\n", errors), errors)
    demand(not list(target.iterdir()), "something was written")


def closed_pipe(world: World, folder: Path, rng: random.Random) -> None:
    """A pipe whose reader, like head, goes after a random number of bytes."""
    right = world.expected["genes.gff3"]
    wanted = rng.choice((0, 1, rng.randint(0, len(right)), len(right) + 1))
    reader, writer = os.pipe()
    arguments = [*bare(world), "--proteins", folder / "proteins.faa.gz"]
    process = fork(world, *arguments, out=writer)
    os.close(writer)
    taken = b""
    while len(taken) < wanted and (more := os.read(reader, wanted - len(taken))):
        taken += more
    os.close(reader)
    code, errors = process.wait()
    demand(right.startswith(taken), "wrong bytes in the pipe")
    demand(errors == "", errors)
    # what is in the pipe's buffer already is written
    demand(code in ((0, 141) if wanted <= len(right) else (0,)), code)
    if code == 141:
        demand(not (folder / "proteins.faa.gz").exists(), "an output of a run that ended early")


def one_cache(world: World, folder: Path, rng: random.Random) -> None:
    """Two or three runs at once that fill one empty cache of compiled programs."""
    cache = folder / "cache"
    places = [folder / f"run{i}" for i in range(rng.choice((2, 3)))]
    processes = []
    for place in places:
        place.mkdir()
        use = lambda: os.environ.update(LSTMHMM_CACHE=str(cache))  # noqa: E731
        processes.append(fork(world, *calls(world, place), prepare=use))
        time.sleep(rng.uniform(0, 0.5))
    for place, process in zip(places, processes, strict=True):
        finished(world, place, *process.wait())


def spoiled_cache(world: World, folder: Path, rng: random.Random) -> None:
    """A cache with files that are cut off or overwritten."""
    from corpus import spoil

    cache = folder / "cache"
    shutil.copytree(os.environ["LSTMHMM_CACHE"], cache)
    for path in sorted(cache.rglob("*")):
        if path.is_file() and rng.random() < 0.3:
            path.write_bytes(
                rng.choice((b"", spoil(path.read_bytes(), rng), path.read_bytes()[: rng.randint(0, 5000)]))
            )
    place = folder / "run"
    place.mkdir()
    use = lambda: os.environ.update(LSTMHMM_CACHE=str(cache))  # noqa: E731
    finished(world, place, *fork(world, *calls(world, place), prepare=use).wait())


def one_output(world: World, folder: Path, rng: random.Random) -> None:
    """Two runs at once to one output."""
    resume = rng.random() < 0.5
    first = fork(world, *calls(world, folder, resume=resume))
    time.sleep(rng.uniform(0, 0.5) * world.typical)
    second = fork(world, *calls(world, folder, resume=resume))
    ends = [first.wait(), second.wait()]
    for code, errors in ends:
        demand(code == 0 or (resume and code == 2 and "is in use by another run" in errors), f"{code} {errors}")
        one_line(errors)
    demand(any(code == 0 for code, _ in ends), "none finished")
    finished(world, folder, 0, "")
    left(folder)


#: per thousand: with a stand-in, whole program; the rest is bad input
SHARES: dict[Callable[[World, Path, random.Random], None], tuple[int, int]] = {
    starting: (0, 12),
    killed: (220, 5),
    stopped: (120, 5),
    full: (80, 1),
    full_device: (10, 1),
    locked: (10, 1),
    closed_pipe: (80, 1),
    one_output: (40, 1),
    one_cache: (0, 1),
    spoiled_cache: (0, 1),
}
TOTAL = 1000


def bad_inputs(world: World, count: int, seed: int) -> Iterator[str]:
    """Spoiled files to every command, inside one child; yields what is wrong with each, or ""."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as report:
            _bad_inputs(world.folder / "bad", count, seed, lambda line: print(repr(line), file=report, flush=True))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as report:
        ended = 0
        for line in report:
            ended += 1
            yield "" if line == "''\n" else line.strip()
    os.waitpid(pid, 0)
    if ended < count:
        yield f"the process ended after {ended} of {count}"


def _bad_inputs(folder: Path, count: int, seed: int, tell: Callable[[str], None]) -> None:
    from command import small_batches
    from corpus import CALLS, try_spoiled, write_corpus

    folder.mkdir()
    files = write_corpus(folder)
    with small_batches():
        for n in range(count):
            call = CALLS[n % len(CALLS)]
            try:
                _, problem = try_spoiled(call, files, folder / "x", random.Random(f"{seed}:{n}"))
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            tell(problem and f"{call.kind}: {call.arguments}: {problem}")


def prepare(folder: Path, *, whole: bool) -> World:
    """Undisturbed runs: one fills the cache and gives the right bytes, one the time."""
    world = World(folder, folder / "genome.fa", whole)
    text = ""
    for number in range(12):
        record, GENES[f"contig_{number + 1}"] = simulate_genome(1400, seed=1, record=number, contig=True)
        text += f">{record.id}\n{decode(record.codes)}\n"
    world.genome.write_text(text)
    for _ in range(2):
        began = time.perf_counter()
        ended = fork(world, *calls(world, folder)).wait()
        demand(ended == (0, ""), ended)
        world.typical = time.perf_counter() - began
    for name in ("genes.gff3", "proteins.faa.gz"):
        world.expected[name] = (folder / name).read_bytes()
    return world


@contextmanager
def counted(name: str, results: dict[str, list[str]]) -> Iterator[None]:
    try:
        yield
    except WrongEndError as wrong:
        results.setdefault(name, []).append(str(wrong))
        print(f"{name}: {wrong}", file=sys.stderr)
    else:
        results.setdefault(name, []).append("")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TOTAL)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/reliability.md")
    arguments = parser.parse_args()
    began = time.monotonic()
    results: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="reliability") as temporary:
        folder = Path(temporary)
        os.environ["LSTMHMM_CACHE"] = str(folder / "cache")
        runtime.configure(device="cpu")
        counts = {t: [-(-share * arguments.trials // TOTAL) for share in shares] for t, shares in SHARES.items()}
        page = lambda: arguments.output.write_text(report(results, time.monotonic() - began), "utf-8")  # noqa: E731
        for whole in (False, True):
            world = prepare(folder, whole=whole)
            for trial in SHARES:
                name = f"{trial.__name__}{' (whole program)' if whole else ''}"
                for n in range(counts[trial][whole]):
                    place = folder / f"{trial.__name__}{n}"
                    place.mkdir()
                    with counted(name, results):
                        trial(world, place, random.Random(f"{arguments.seed}:{name}:{n}"))
                    shutil.rmtree(place)
                print(f"{time.monotonic() - began:6.0f} s  {name}: {len(results.get(name, ()))}", file=sys.stderr)
                page()
            if not whole:
                rest = arguments.trials - sum(map(sum, counts.values()))
                for problem in bad_inputs(world, rest, arguments.seed):
                    with counted("bad_input", results):
                        demand(not problem, problem)
                page()


def report(results: dict[str, list[str]], seconds: float) -> str:
    from corpus import CALLS

    rows = []
    for name in (*SHARES, None):
        key = name.__name__ if name else "bad_input"
        what = (name.__doc__ or "").strip(".") if name else f"Spoiled files, to {len(CALLS)} calls of commands"
        ends = [results.get(key, []), results.get(f"{key} (whole program)", [])]
        if not name:
            ends.reverse()
        rows.append((what, *(str(len(e) or "") for e in ends), str(sum(bool(x) for e in ends for x in e))))
    total, wrong = sum(map(len, results.values())), sum(bool(x) for ends in results.values() for x in ends)
    problems = sorted({f"- {name}: {' '.join(x.split())[:300]}" for name, ends in results.items() for x in ends if x})
    return "\n".join(
        [
            "# Reliability",
            "",
            (__doc__ or "").split("\n\n", 2)[2].rsplit("Writes", 1)[0].strip(),
            "",
            table(("what happens", "with a stand-in", "whole program", "wrong ends"), rows),
            f"{total:,} trials, {wrong} wrong ends. Blank: not tried in this run.",
            "",
            *(["What was wrong:", "", *problems, ""] if problems else []),
            f"By `benchmarks/reliability.py` in {seconds / 60:.0f} minutes on {processor()}, lstmhmm {__version__}.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
