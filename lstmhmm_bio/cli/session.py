"""What `annotate`, `segment`, `calibrate` and `embed` share: input, model, calibration, progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import __version__
from ..errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from ..annotate import Annotator
    from ..calibration import Calibration
    from ..evidence import IntronEvidence
    from ..features import Record
    from ..io.journal import Journal
    from ..metagenome import AnyCalibration, GroupedCalibration
    from ..model import Model
    from ..profiles.gene_domains import DomainSearch
    from ..untranslated import UntranslatedRegions

_T = TypeVar("_T")

#: `--calibration` that stands for no file and no first pass
UNCALIBRATED = "none"

#: options that a run may be continued with other values of, and those that are files
_FREE = ("output", "file_format", "proteins", "cds", "report", "threads", "no_cache", "quiet", "resume")
_FILES = ("genome", "model", "calibration", "reference", "evidence", "profiles")


def note(text: str, *, quiet: bool = False) -> None:
    """A remark on stderr."""
    if not quiet:
        click.echo(f"lstmhmm: {text}", err=True)


class Progress:
    """A line on stderr that counts records and bases; silent where stderr is no terminal."""

    def __init__(self, label: str, *, quiet: bool) -> None:
        self._label, self._records, self._bases = label, 0, 0
        self._bar: Bar | None = None
        if not quiet and sys.stderr.isatty():
            # only here: a seventh of the time that a short run takes to start
            from rich import progress
            from rich.console import Console

            columns = (
                progress.SpinnerColumn(),
                progress.TextColumn("{task.description}"),
                progress.TimeElapsedColumn(),
            )
            self._bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(label, total=None)

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar:
            self._bar.stop()

    def over(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records, counted as they pass."""
        for record in records:
            self._records += 1
            self._bases += len(record)
            if self._bar:
                done = f"{self._label}: {self._records:,} records, {self._bases:,} bases"
                self._bar.update(self._task, description=done)
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


@dataclass(frozen=True)
class Source:
    """Where records come from: what `read_records` is given."""

    path: str
    region: str | None = None
    reference: str | None = None

    def records(self) -> Iterator[Record]:
        """The records, read anew."""
        from ..io.sequences import read_records

        return read_records(self.path, region=self.region, reference=self.reference)


def start_annotator(
    model: str,
    source: Source,
    genetic_code: int | None,
    *,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
    **limits: Any,
) -> Annotator:
    """JAX and a model, ready to run, from the options of these names; `limits` go to `Annotator`.

    Without a genetic code it is the model's usual one until `calibration_for` has looked.

    Raises:
        ModelError, UsageError: as `start_model`.
    """
    loaded, number = start_model(
        model, source, genetic_code, threads=threads, device=device, no_cache=no_cache, quiet=quiet
    )
    from ..annotate import Annotator

    return Annotator(loaded, genetic_code=number, **limits)


def start_model(
    model: str, source: Source, genetic_code: int | None, *, threads: int, device: str, no_cache: bool, quiet: bool
) -> tuple[Model, int]:
    """Starts JAX; the model of an option, "auto" being the bundled gene model that fits the input best, and its code.

    Raises:
        ModelError, UsageError: what can be wrong with the options, before JAX starts where that can be known.
    """
    from ..model import load_model, read_card, usual_code
    from ..runtime import configure
    from ..sequence import GeneticCode

    if model == "auto":
        configure(threads, device, cache=not no_cache)
        model = _best_model(source, quiet=quiet)
    number = genetic_code or usual_code(read_card(model))
    GeneticCode.from_number(number)
    configure(threads, device, cache=not no_cache)
    return load_model(model), number


def _best_model(source: Source, *, quiet: bool) -> str:
    """The name of the bundled gene model that fits the input best, said aloud."""
    from ..model import bundled_models
    from ..model_choice import choose

    with Progress("choosing a model", quiet=quiet) as progress:
        fits = choose(bundled_models(), progress.over(source.records()))
    behind = ", ".join(f"{fit.model} {fit.score - fits[0].score:.0f}" for fit in fits[1:])
    note(f"model {fits[0].model} fits best (composition and genes, nat per kb; the others: {behind})", quiet=quiet)
    return fits[0].model


def records_of(source: Source, shard: tuple[int, int] | None) -> Iterator[Record]:
    """The records that this run annotates: all, or those of its shard."""
    from ..shards import shard_bounds

    if shard is None:
        return source.records()
    index, count = shard
    bounds = shard_bounds([len(r) for r in source.records()], count)
    return islice(source.records(), bounds[index - 1], bounds[index])


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
            settings[name] = " ".join(p if p == UNCALIBRATED else file_digest(p) for p in paths if p)
        elif name not in _FREE:
            settings[name] = str(value)
    return Journal(journal_path(context.params["output"]), settings)


def provenance(annotator: Annotator) -> str:
    """Program and model, for the comment that says where an output comes from."""
    model = annotator.model
    return f"lstmhmm {__version__} model={model.name} version={model.version}"


def calibration_for(
    annotator: Annotator,
    source: Source,
    *,
    file: str | None,
    meta: bool,
    choose_code: bool,
    quiet: bool,
) -> tuple[Annotator, AnyCalibration]:
    """The calibration to annotate with: from a file, from a first pass over the input, or none.

    With `choose_code` the annotator that comes back may have another genetic code: the file's, or the one that the
    input's own genes speak for.

    Raises:
        UsageError: a calibration for another genetic code, or together with --meta.
    """
    from ..io.calibration_file import read_calibration
    from ..io.sequences import format_of

    if file and meta:
        raise UsageError(f"--calibration and --meta exclude each other: with {file} there is no first pass")
    if file and file != UNCALIBRATED:
        calibration = read_calibration(file)
        if choose_code and calibration.genetic_code != annotator.code.number:
            annotator = annotator.with_code(calibration.genetic_code)
        if calibration.genetic_code != annotator.code.number:
            raise UsageError(
                f"{file} was made with genetic code {calibration.genetic_code}, not {annotator.code.number}; "
                f"give --genetic-code {calibration.genetic_code} or calibrate again"
            )
        return annotator, calibration
    if file or format_of(source.path) == "alignments":
        return annotator, None
    if meta:
        return annotator, first_pass_of_groups(annotator, source, quiet=quiet)
    return first_pass(annotator, source, choose_code=choose_code, quiet=quiet)


def first_pass(
    annotator: Annotator, source: Source, *, choose_code: bool, quiet: bool
) -> tuple[Annotator, Calibration]:
    """A calibration from all records of the input; with `choose_code` as for `calibration_for`."""
    from ..model import BACTERIAL_CODE

    if not choose_code or annotator.code.number != BACTERIAL_CODE:
        return annotator, _over_all(source, annotator.calibrate, quiet=quiet)
    calibration, found = _over_all(source, annotator.calibrate_and_check, quiet=quiet)
    number = found.genetic_code
    if number != BACTERIAL_CODE:
        note(
            f"{found.tga_continued} of {found.tga} reading frames go on behind TGA ({found.other_continued} of "
            f"{found.other} behind TAA and TAG): taken for genetic code {number}, give --genetic-code to override"
        )
        annotator = annotator.with_code(number)
        calibration = _over_all(source, annotator.calibrate, quiet=quiet)
    return annotator, calibration


def first_pass_of_groups(annotator: Annotator, source: Source, *, quiet: bool) -> GroupedCalibration:
    """A calibration for each group of the input's records that are alike."""
    return _over_all(source, annotator.calibrate_groups, quiet=quiet)


def _over_all(source: Source, learn: Callable[[Iterable[Record]], _T], *, quiet: bool) -> _T:
    with Progress("first pass", quiet=quiet) as progress:
        return learn(progress.over(source.records()))


def introns_of(files: Sequence[str], source: Source) -> IntronEvidence:
    """Evidence for a genome, or for its region; aligners that do not name strands need its sequence."""
    from ..evidence import IntronEvidence
    from ..io.regions import id_of

    sequences = {record.id: record.codes for record in Source(source.path).records()}
    found = IntronEvidence.read(files, sequences=sequences, reference=source.reference)
    stretch = _stretch(source, {seqid: len(codes) for seqid, codes in sequences.items()})
    return found.within(*stretch, name=id_of(*stretch)) if stretch else found


def untranslated_of(
    files: Sequence[str], introns: IntronEvidence, source: Source, annotator: Annotator
) -> UntranslatedRegions:
    """What finds untranslated regions by the evidence's alignments.

    Raises:
        UsageError: none of the files holds alignments.
    """
    from ..io.introns import is_gff
    from ..io.regions import id_of
    from ..untranslated import Depths, UntranslatedRegions

    alignments = [file for file in files if not is_gff(file)]
    if not alignments:
        raise UsageError("--utr needs alignments (BAM, CRAM, SAM) as --evidence: rows of introns have no read depth")
    depths = Depths.read(alignments, reference=source.reference)
    stretch = _stretch(source, {seqid: len(depth) for seqid, depth in depths.by_record.items()})
    depths = depths.within(*stretch, name=id_of(*stretch)) if stretch else depths
    return UntranslatedRegions(depths, introns, annotator.model.card)


def _stretch(source: Source, lengths: Mapping[str, int]) -> tuple[str, int, int] | None:
    """The part of a sequence that a source's region is; None if it has none, or one that is a whole sequence.

    Of a region that is nowhere the records' reader tells.
    """
    from ..io.regions import span_in

    if source.region is None or source.region in lengths:
        return None
    for seqid, length in lengths.items():
        span = span_in(source.region, seqid, length)
        if span:
            return seqid, *span
    return None


@contextmanager
def domain_search(profiles: str | None, evalue: float | None, file_format: str) -> Iterator[DomainSearch | None]:
    """The search of proteins with the profiles of a file, if one is given.

    Raises:
        UsageError: options that do not go together, or profiles that proteins cannot be searched with.
    """
    if profiles is None:
        if evalue is not None:
            raise UsageError("--profile-evalue is for domains; give --profiles too")
        yield None
        return
    if file_format not in ("gff3", "genbank"):
        raise UsageError(f"--profiles: {file_format} has no place for domains; write gff3 or genbank")
    from ..profiles.gene_domains import DomainSearch
    from ..profiles.hmmfile import ProfileFile

    with input_of(profiles) as path:
        yield DomainSearch(ProfileFile(path), evalue)
