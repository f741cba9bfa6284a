"""`lstmhmm align`: sequences to a profile, or to each other by learning one."""

from __future__ import annotations

import click

from .options import GroupedCommand, option, running_options


@click.command(cls=GroupedCommand)
@click.argument("sequences")
@option("Input", "--profile", metavar="HMM", help="A HMMER3 file of one profile to align to.")
@option(
    "Output",
    "-o",
    "--output",
    metavar="FILE",
    help="Stockholm (.sto), A2M (.a2m) or aligned FASTA (.afa); '-' or nothing is Stockholm on standard output.",
)
@option("Output", "--trim", is_flag=True, help="Leave out residues before and behind the part that is aligned.")
@running_options
def align(
    sequences: str,
    profile: str,
    output: str | None,
    trim: bool,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Align SEQUENCES (FASTA) to a profile.

    Match states are the consensus columns; insertions between them are small letters and not aligned to each other.
    Stockholm also tells the posterior probability of each residue's place.
    """
    from ..errors import InputError, UsageError
    from ..io.compression import input_name
    from ..io.output import ensure_distinct, open_output
    from ..profiles.hmmfile import read_profiles
    from ..profiles.msa import format_of_output, write_alignment
    from ..profiles.sequences import read_sequences
    from ..runtime import configure

    ensure_distinct([sequences, profile], [output])
    kind = format_of_output(output)
    model, *others = read_profiles(profile)
    if others:
        raise UsageError(f"{profile} holds {len(others) + 1} profiles; give a file with the one to align to")
    records = list(read_sequences(sequences, model.alphabet))
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise InputError(f"{input_name(sequences)}: two records are named {record.id!r}; rename one of them")
        seen.add(record.id)
    configure(threads, device, cache=not no_cache)
    from ..profiles.align import align_paths, lay_out

    paths = align_paths(model, [record.codes for record in records])
    with open_output(output) as handle:
        write_alignment(handle, lay_out(model, records, paths, trim=trim), kind)
