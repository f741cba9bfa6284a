"""`lstmhmm segment`: every base in one region."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .options import GroupedCommand, calibration_options, input_options, model_options, option, running_options
from .session import Progress, Source, calibration_for, input_of, note, provenance, start_annotator, start_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..states import Learned, Track

#: BIC fits all data; the other keeps a part for judging
_CRITERIA = ("bic", "held-out")


class StateNumbers(click.ParamType):
    """A number of states, or a range of them: 3, or 2-6."""

    name = "K|FROM-TO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", str(value))
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= 20:
            self.fail(f"{value!r} is no number of states; give one such as 3, or a range such as 2-6, up to 20")
        return range(first, last + 1)


@click.command(cls=GroupedCommand)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@input_options
@option("Output", "-o", "--output", metavar="FILE", help="BED; '-' or nothing is standard output.")
@option("Output", "--report", metavar="FILE", help="With --states: what was learned (TOML).")
@model_options
@calibration_options
@option("States", "--states", type=StateNumbers(), help="Learn this many states, or choose a number from a range.")
@option(
    "States",
    "--emission",
    type=click.Choice(["gaussian", "poisson", "negative-binomial"]),
    help="Density of a signal  [default: negative-binomial for alignments, gaussian for bigWig]",
)
@option("States", "--criterion", type=click.Choice(_CRITERIA), default="bic", show_default=True, help="Of a range.")
@option("States", "--restarts", default=4, show_default=True, type=click.IntRange(1), help="Starting points.")
@option("States", "--seed", default=1, show_default=True, type=click.IntRange(0), help="Same seed, same states.")
@option("States", "--kmer", default=1, show_default=True, type=click.IntRange(1, 6), help="Of FASTA: length of words.")
@option("Signals", "--bin", "size", default=100, show_default=True, type=click.IntRange(1), help="Bases per bin.")
@option("Signals", "--min-mapq", default=10, show_default=True, type=click.IntRange(0, 255), help="Of alignments.")
@option("Signals", "--per-strand", is_flag=True, help="Coverage of the two strands (of read 1) as two signals.")
@option("Signals", "--spliced", is_flag=True, help="Reads that skip a bin by an intron are a signal of their own.")
@option("Signals", "--gc-correct", is_flag=True, help="Correct coverage for the GC content of --reference.")
@running_options
def segment(
    inputs: tuple[str, ...],
    region: str | None,
    reference: str | None,
    output: str | None,
    report: str | None,
    model: str,
    genetic_code: int | None,
    calibration: str | None,
    meta: bool,
    states: range | None,
    emission: str | None,
    criterion: str,
    restarts: int,
    seed: int,
    kmer: int,
    size: int,
    min_mapq: int,
    per_strand: bool,
    spliced: bool,
    gc_correct: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Partition every record into regions, or a genome into states of its signals.

    Without --states INPUT is a genome, which is partitioned into intergenic, coding and overlapping regions; inputs
    are those of `annotate`. With --states they are BAM, CRAM or bigWig files of one genome, each a sample, or one FASTA
    or GenBank file, and the states are learned from them; "state1" has the lowest mean.

    Writes BED9: the score is 1000 times the mean posterior, the colour follows the name.
    """
    from ..io import ensure_distinct

    ensure_distinct([p for p in (*inputs, calibration, reference) if p], [output, *([report] if report else [])])
    running: dict[str, Any] = {"threads": threads, "device": device, "no_cache": no_cache}
    if states is None:
        if report:
            raise UsageError("--report tells about learned states; give --states too")
        if len(inputs) > 1:
            raise UsageError("several inputs are samples for --states; without it give one genome")
        chosen: dict[str, Any] = {
            "model": model,
            "genetic_code": genetic_code,
            "calibration": calibration,
            "meta": meta,
        }
        from ..model import read_card

        of_labels = model != "auto" and read_card(model).get("kind") == "labels"
        by_model = _by_labels if of_labels else _by_genes
        by_model(inputs[0], region, reference, output, quiet=quiet, **chosen, **running)
        return
    fitting: dict[str, Any] = {"states": states, "restarts": restarts, "seed": seed, "criterion": criterion}
    with ExitStack() as stack:
        paths = [stack.enter_context(input_of(path)) for path in inputs]
        if all(_is_signal(path) for path in paths):
            if region:
                raise UsageError("--region cuts sequences, not signals; cut the alignments with: samtools view")
            counting: dict[str, Any] = {
                "min_mapq": min_mapq,
                "per_strand": per_strand,
                "spliced": spliced,
                "gc_correct": gc_correct,
            }
            _by_signals(
                paths, size, emission, reference, output, report, counting=counting, **fitting, **running, quiet=quiet
            )
        elif len(paths) == 1:
            if emission:
                raise UsageError("--emission is for signals; the bases of a sequence are categorical")
            _by_bases(paths[0], region, kmer, output, report, **fitting, **running, quiet=quiet)
        else:
            raise UsageError("several inputs must all be BAM, CRAM or bigWig files; give sequences alone")


def _by_genes(
    genome: str,
    region: str | None,
    reference: str | None,
    output: str | None,
    *,
    model: str,
    genetic_code: int | None,
    calibration: str | None,
    meta: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Regions of a gene model."""
    from ..io import OutputSet
    from ..io.regions_bed import RegionsWriter

    with input_of(genome) as path, OutputSet() as outputs:
        handle = outputs.open(output)
        source = Source(path, region, reference)
        annotator = start_annotator(
            model, source, genetic_code, threads=threads, device=device, no_cache=no_cache, quiet=quiet
        )
        annotator, tables = calibration_for(
            annotator,
            source,
            file=calibration,
            meta=meta,
            choose_code=genetic_code is None,
            quiet=quiet,
        )
        from ..parts import by_record
        from ..segment import regions, runs_of_parts

        writer = RegionsWriter(handle, provenance=provenance(annotator))
        with Progress("segment", quiet=quiet) as progress:
            decoded = annotator.decode(progress.over(source.records()), tables)
            for record, found in by_record(runs_of_parts(decoded)):
                writer.write(record.id, regions(runs for _, runs in found))


def _by_labels(
    genome: str,
    region: str | None,
    reference: str | None,
    output: str | None,
    *,
    model: str,
    genetic_code: int | None,
    calibration: str | None,
    meta: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Labels of a user's own model; codon tables, where it reads any, come from the bundled gene model's first pass."""
    from ..io import OutputSet
    from ..io.segments_bed import SegmentsWriter, scale_of_colours

    with input_of(genome) as path, OutputSet() as outputs:
        handle = outputs.open(output)
        source = Source(path, region, reference)
        loaded, number = start_model(
            model, source, genetic_code, threads=threads, device=device, no_cache=no_cache, quiet=quiet
        )
        from ..annotate import Annotator
        from ..hmm.grammars.labels import Labels
        from ..labels import Labeller
        from ..model import load_model

        labels, tables = Labels.from_table(loaded.card["grammar"]), None
        if labels.coding:
            finder, tables = calibration_for(
                Annotator(load_model(), genetic_code=number),
                source,
                file=calibration,
                meta=meta,
                choose_code=genetic_code is None,
                quiet=quiet,
            )
            number = finder.code.number
        elif calibration:
            raise UsageError(f"--calibration: model {loaded.name!r} reads no codon tables; leave it out")
        labeller = Labeller(loaded, genetic_code=number)
        background_first = sorted(labels.names, key=lambda name: name != labels.background)
        defaults = dict(zip(background_first, scale_of_colours(len(labels.names)), strict=True))
        colours = [label.colour or defaults[label.name] for label in labels.labels]
        writer = SegmentsWriter(handle, labels.names, colours, provenance(labeller))
        with Progress("segment", quiet=quiet) as progress:
            for record, segments in labeller.segments(progress.over(source.records()), tables):
                writer.write(record.id, segments)


def _is_signal(path: str) -> bool:
    from ..io.bigwig import is_bigwig
    from ..io.sequences import format_of

    return is_bigwig(path) or format_of(path) == "alignments"


def _by_signals(
    paths: list[str],
    size: int,
    emission: str | None,
    reference: str | None,
    output: str | None,
    report: str | None,
    *,
    counting: dict[str, Any],
    threads: int,
    device: str,
    no_cache: bool,
    **fitting: Any,
) -> None:
    """States of coverage."""
    from ..io.bigwig import is_bigwig
    from ..io.coverage import read_signals
    from ..runtime import configure

    configure(threads, device, cache=not no_cache)
    from ..hmm.densities import SIGNAL_FAMILIES
    from ..states import CountTrack, sample

    signals = read_signals(paths, size, reference=reference, **counting)
    name = emission or ("gaussian" if any(map(is_bigwig, paths)) else "negative-binomial")
    tracks: list[Track] = list(signals.tracks)
    if name != "gaussian":
        tracks = [CountTrack(track) for track in signals.tracks]
    _learn_and_write(
        sample(tracks, fitting["seed"]),
        lambda: tracks,
        SIGNAL_FAMILIES[name],
        signals.channels,
        [not skipped for skipped in signals.skipped],
        output,
        report,
        **fitting,
    )


def _by_bases(
    path: str,
    region: str | None,
    kmer: int,
    output: str | None,
    report: str | None,
    *,
    threads: int,
    device: str,
    no_cache: bool,
    **fitting: Any,
) -> None:
    """States of composition."""
    from ..io import read_records
    from ..runtime import configure

    configure(threads, device, cache=not no_cache)
    from ..hmm.densities import Categorical
    from ..states import SequenceTrack, sample

    def tracks() -> Iterable[Track]:
        with Progress("segment", quiet=fitting["quiet"]) as progress:
            for record in progress.over(read_records(path, region=region)):
                yield SequenceTrack(record, kmer - 1)

    pieces = sample(tracks(), fitting["seed"])
    _learn_and_write(pieces, tracks, Categorical(kmer - 1), ["words"], [True], output, report, **fitting)


def _learn_and_write(
    pieces: Any,
    tracks: Callable[[], Iterable[Track]],
    family: Any,
    channels: Any,
    level_channels: list[bool],
    output: str | None,
    report: str | None,
    *,
    states: range,
    restarts: int,
    seed: int,
    criterion: str,
    quiet: bool,
) -> None:
    """Learns states and writes the partition and the report."""
    import tomli_w

    from .. import __version__
    from .. import states as module
    from ..io import OutputSet
    from ..io.segments_bed import SegmentsWriter

    with OutputSet() as outputs:
        handle = outputs.open(output)
        learned: Learned = module.learn(
            pieces,
            family,
            states,
            restarts=restarts,
            seed=seed,
            held_out=criterion == "held-out",
            level_channels=level_channels,
            say=lambda text: note(text, quiet=quiet),
        )
        names = learned.model.graph.states
        source = f"lstmhmm {__version__} states={len(names)} emission={family.name} seed={seed}"
        writer = SegmentsWriter(handle, names, provenance=source)
        for track, segments in module.partition(learned.model, tracks()):
            writer.write(track.id, segments)
        if report:
            outputs.open(report).write(tomli_w.dumps(module.report(learned, channels, criterion=criterion)))
