"""What `annotate`, `segment` and `calibrate` share: input, model, calibration, progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..errors import UsageError

if TYPE_CHECKING:
    from ..annotate import Annotator
    from ..calibration import Calibration
    from ..evidence import IntronEvidence
    from ..features import Record
    from ..genetic_code import CodeEvidence
    from ..io.journal import Journal

#: options that a run may be continued with other values of, and those that are files
_FREE = ("output", "file_format", "proteins", "cds", "report", "threads", "no_cache", "quiet", "resume")
_FILES = ("genome", "model", "calibration", "reference", "evidence")


def note(text: str, *, quiet: bool = False) -> None:
    """A remark on stderr."""
    if not quiet:
        click.echo(f"lstmhmm: {text}", err=True)


class Progress:
    """A line on stderr that counts records and bases; silent where stderr is no terminal."""

    def __init__(self, label: str, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        shown = not quiet and sys.stderr.isatty()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), disable=not shown, transient=True)
        self._label, self._records, self._bases = label, 0, 0
        self._task = self._bar.add_task(label, total=None)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def over(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records, counted as they pass."""
        for record in records:
            self._records += 1
            self._bases += len(record)
            self._bar.update(self._task, description=f"{self._label}: {self._records:,} records, {self._bases:,} bases")
            yield record


@contextmanager
def input_of(path: str) -> Iterator[str]:
    """The input as a path that can be read twice; a missing file is an error before anything slow begins."""
    from ..io.compression import open_input
    from ..io.spool import rereadable

    with rereadable(path) as readable:
        with open_input(readable):
            pass
        yield readable


def start_annotator(
    model: str, genetic_code: int | None, *, threads: int, device: str, no_cache: bool, **limits: Any
) -> Annotator:
    """JAX and a model, ready to run, from the options of these names; `limits` go to `Annotator`.

    Without a genetic code it is the model's usual one until `calibration_for` has looked.

    Raises:
        ModelError, UsageError: what can be wrong with the options, before JAX starts where that can be known.
    """
    from ..model import read_card, usual_code
    from ..runtime import configure
    from ..sequence import GeneticCode

    number = genetic_code or usual_code(read_card(model))
    GeneticCode.from_number(number)
    configure(threads, device, cache=not no_cache)
    from ..annotate import Annotator
    from ..model import load_model

    return Annotator(load_model(model), genetic_code=number, **limits)


def records_of(
    path: str, *, region: str | None, reference: str | None, shard: tuple[int, int] | None
) -> Iterator[Record]:
    """The records that this run annotates: all, or those of its shard."""
    from ..io import read_records
    from ..shards import shard_bounds

    records = read_records(path, region=region, reference=reference)
    if shard is None:
        return records
    index, count = shard
    bounds = shard_bounds([len(r) for r in read_records(path, region=region, reference=reference)], count)
    return islice(records, bounds[index - 1], bounds[index])


def journal_path(output: str | None) -> str:
    """Where the journal of a run with this output lies.

    Raises:
        UsageError: the output is no file.
    """
    if output is None or output == "-" or (os.path.exists(output) and not os.path.isfile(output)):
        raise UsageError("--resume needs -o FILE: what is done is kept beside it, in FILE.resume")
    return f"{output}.resume"


def journal_of(context: click.Context, path: str) -> Journal:
    """The journal of the command that runs now, which reads its genome from `path`."""
    from ..io.journal import Journal, file_digest
    from ..model import find_card

    model = context.params["model"]
    given = {**context.params, "genome": path, "model": None if model == "auto" else str(find_card(model))}
    settings = {"version": __version__}
    for name, value in given.items():
        if name in _FILES:
            paths = value if isinstance(value, tuple) else (value,)
            settings[name] = " ".join(file_digest(p) for p in paths if p)
        elif name not in _FREE:
            settings[name] = str(value)
    return Journal(journal_path(context.params["output"]), settings)


def provenance(annotator: Annotator) -> str:
    """Program and model, for the comment that says where an output comes from."""
    model = annotator.model
    return f"lstmhmm {__version__} model={model.name} version={model.version}"


def calibration_for(
    annotator: Annotator,
    path: str,
    *,
    region: str | None,
    reference: str | None,
    file: str | None,
    meta: bool,
    choose_code: bool,
    quiet: bool,
) -> tuple[Annotator, Calibration | None]:
    """The calibration to annotate with: from a file, from a first pass over the input, or none.

    With `choose_code` the annotator that comes back may have another genetic code: the file's, or the one that the
    input's own genes speak for.

    Raises:
        UsageError: a calibration for another genetic code, or together with --meta.
    """
    from ..io.calibration_file import read_calibration
    from ..io.sequences import format_of

    if file and meta:
        raise UsageError("--calibration and --meta exclude each other: a metagenome has no tables of its own")
    if file:
        calibration = read_calibration(file)
        if choose_code and calibration.genetic_code != annotator.code.number:
            annotator = annotator.with_code(calibration.genetic_code)
        if calibration.genetic_code != annotator.code.number:
            raise UsageError(
                f"{file} was made with genetic code {calibration.genetic_code}, not {annotator.code.number}; "
                f"give --genetic-code {calibration.genetic_code} or calibrate again"
            )
        return annotator, calibration
    if meta or format_of(path) == "alignments":
        return annotator, None
    return first_pass(annotator, path, region=region, reference=reference, choose_code=choose_code, quiet=quiet)


def first_pass(
    annotator: Annotator,
    path: str,
    *,
    region: str | None,
    reference: str | None,
    choose_code: bool,
    quiet: bool,
) -> tuple[Annotator, Calibration]:
    """A calibration from all records of the input; with `choose_code` as for `calibration_for`."""
    from ..io.sequences import read_records
    from ..model import BACTERIAL_CODE

    def calibrate(annotator: Annotator) -> tuple[Calibration, CodeEvidence]:
        with Progress("first pass", quiet=quiet) as progress:
            records = progress.over(read_records(path, region=region, reference=reference))
            return annotator.calibrate_and_check(records)

    calibration, found = calibrate(annotator)
    number = found.genetic_code
    if choose_code and annotator.code.number == BACTERIAL_CODE and number != BACTERIAL_CODE:
        note(
            f"{found.tga_continued} of {found.tga} reading frames go on behind TGA ({found.other_continued} of "
            f"{found.other} behind TAA and TAG): taken for genetic code {number}, give --genetic-code to override"
        )
        annotator = annotator.with_code(number)
        calibration, _ = calibrate(annotator)
    return annotator, calibration


def introns_of(files: Sequence[str], path: str, reference: str | None) -> IntronEvidence:
    """Evidence for the genome at `path`; aligners that do not name strands need its sequence."""
    from ..evidence import IntronEvidence
    from ..io.sequences import read_records

    sequences = {record.id: record.codes for record in read_records(path)}
    return IntronEvidence.read(files, sequences=sequences, reference=reference)


def model_for(
    model: str,
    path: str,
    *,
    region: str | None,
    reference: str | None,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> str:
    """The model's name; of "auto" that of the bundled gene model that fits the input best, said aloud."""
    if model != "auto":
        return model
    from ..io.sequences import read_records
    from ..model import bundled_models
    from ..runtime import configure

    configure(threads, device, cache=not no_cache)
    from ..model_choice import choose

    with Progress("choosing a model", quiet=quiet) as progress:
        fits = choose(bundled_models(), progress.over(read_records(path, region=region, reference=reference)))
    behind = ", ".join(f"{fit.model} {fit.score - fits[0].score:.0f}" for fit in fits[1:])
    note(f"model {fits[0].model} fits best (composition and genes, nat per kb; the others: {behind})", quiet=quiet)
    return fits[0].model
