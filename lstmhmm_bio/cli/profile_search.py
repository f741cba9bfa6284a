"""`lstmhmm profile search`: sequences that match profiles."""

from __future__ import annotations

import click

from .options import GroupedCommand, compose, option, running_options

_limits = compose(
    option("Report", "-E", "evalue", type=float, default=10.0, show_default=True, metavar="X", help="E-value."),
    option("Report", "-T", "score", type=float, metavar="X", help="Bit score, instead."),
    option(
        "Report",
        "--domE",
        "domain_evalue",
        type=float,
        default=10.0,
        show_default=True,
        metavar="X",
        help="Conditional E-value of a domain.",
    ),
    option("Report", "--domT", "domain_score", type=float, metavar="X", help="Bit score of a domain, instead."),
    option("Include", "--incE", "include_evalue", type=float, default=0.01, show_default=True, metavar="X"),
    option("Include", "--incT", "include_score", type=float, metavar="X"),
    option("Include", "--incdomE", "include_domain_evalue", type=float, default=0.01, show_default=True, metavar="X"),
    option("Include", "--incdomT", "include_domain_score", type=float, metavar="X"),
    option("Include", "--cut_ga", "ga", is_flag=True, help="Report and include by the profile's gathering scores."),
    option("Include", "--cut_tc", "tc", is_flag=True, help="By its trusted scores."),
    option("Include", "--cut_nc", "nc", is_flag=True, help="By its noise scores."),
)


@click.command("search", cls=GroupedCommand)
@click.argument("profiles")
@click.argument("sequences")
@option("Output", "-o", "--output", metavar="FILE", help="Hits for people; '-' or nothing is standard output.")
@option("Output", "--tblout", metavar="FILE", help="Table of sequences, in HMMER's layout.")
@option("Output", "--domtblout", metavar="FILE", help="Table of domains, in HMMER's layout.")
@option("Output", "--json", "json_output", metavar="FILE", help="The same with unrounded numbers.")
@option("Output", "--noali", is_flag=True, help="No alignments.")
@_limits
@option("Search", "--max", "everything", is_flag=True, help="No filters: score every sequence in full.")
@option("Search", "--nobias", is_flag=True, help="No filter against biased composition.")
@option("Search", "--nonull2", is_flag=True, help="No correction of scores for biased composition.")
@option("Search", "-Z", "targets", type=float, metavar="N", help="Sequences (DNA: megabases) that E-values refer to.")
@option("Search", "--domZ", "significant", type=float, metavar="N", help="Sequences that domains' E-values refer to.")
@running_options
def search(
    profiles: str,
    sequences: str,
    output: str | None,
    tblout: str | None,
    domtblout: str | None,
    json_output: str | None,
    noali: bool,
    ga: bool,
    tc: bool,
    nc: bool,
    everything: bool,
    nobias: bool,
    nonull2: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
    **limits: float | None,
) -> None:
    """Search SEQUENCES (FASTA or UniProt) with PROFILES (HMMER3).

    Protein profiles score whole sequences and the domains in them, as hmmsearch does. Profiles of DNA or RNA scan both
    strands of sequences of any length, as nhmmer does. Profiles are searched in groups, sequences read once for each:
    memory grows with neither.
    """
    from ..errors import UsageError
    from ..io.output import OutputSet, ensure_distinct
    from ..profiles.hits import Thresholds, check
    from ..profiles.hmmfile import read_headings, read_profiles
    from ..profiles.sequences import SequenceFile
    from ..runtime import configure
    from .session import input_of, note

    if ga + tc + nc > 1:
        raise UsageError("--cut_ga, --cut_tc and --cut_nc exclude each other; choose one")
    ensure_distinct([profiles, sequences], [output or "-", *(p for p in (tblout, domtblout, json_output) if p)])
    thresholds = Thresholds(cutoff="GA" if ga else "TC" if tc else "NC" if nc else None, **limits)  # type: ignore[arg-type]
    with input_of(profiles) as queries, input_of(sequences) as targets, OutputSet() as outputs:
        headings = list(read_headings(queries))
        alphabet = headings[0].alphabet
        if any(heading.alphabet is not alphabet for heading in headings):
            raise UsageError(f"{profiles} holds profiles of different alphabets; search with one kind at a time")
        check(headings, thresholds)
        configure(threads, device, cache=not no_cache)
        from ..profiles.genome import search_genome
        from ..profiles.report import write_report
        from ..profiles.search import Settings, search_proteins
        from ..profiles.tables import JsonWriter, write_domains, write_places, write_targets

        scan, write_table = (
            (search_proteins, write_targets) if alphabet.name == "amino" else (search_genome, write_places)
        )
        settings = Settings(filters=not everything, bias_filter=not (nobias or everything), null2=not nonull2)
        report = outputs.open(output)
        tables = [
            (outputs.open(path), write) for path, write in ((tblout, write_table), (domtblout, write_domains)) if path
        ]
        unrounded = JsonWriter(outputs.open(json_output)) if json_output else None
        hits = 0
        results = scan(read_profiles(queries), SequenceFile(targets, alphabet), thresholds, settings)
        for number, result in enumerate(results):
            write_report(report, result, alignments=not noali)
            for handle, write in tables:
                write(handle, result, head=number == 0)
            if unrounded:
                unrounded.write(result)
            hits += len(result.hits)
        if unrounded:
            unrounded.close()
    note(f"{hits:,} hits", quiet=quiet)
