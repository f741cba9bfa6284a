"""`lstmhmm align`: sequences to a profile, or to each other by learning one."""

from __future__ import annotations

import click

from .options import GroupedCommand, option, running_options
from .session import Progress


@click.command(cls=GroupedCommand)
@click.argument("sequences")
@option("Input", "--profile", metavar="HMM", help="A HMMER3 file of one profile to align to.")
@option("Input", "--learn", is_flag=True, help="Learn the profile from the sequences themselves.")
@option(
    "Input",
    "--alphabet",
    type=click.Choice(["amino", "dna", "rna"]),
    show_default="the profile's, or guessed",
    help="What the letters are, with --learn.",
)
@option(
    "Input",
    "--context",
    is_flag=True,
    help="To a profile of proteins: an LSTM reads what stands around each residue. Better if few sequences made it.",
)
@option(
    "Output",
    "-o",
    "--output",
    metavar="FILE",
    help="Stockholm (.sto), A2M (.a2m) or aligned FASTA (.afa); '-' or nothing is Stockholm on standard output.",
)
@option("Output", "--trim", is_flag=True, help="Leave out residues before and behind the part that is aligned.")
@option("Output", "--save", metavar="HMM", help="Write the learned profile, calibrated (HMMER3/f).")
@option("Learning", "--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same alignment.")
@running_options
def align(
    sequences: str,
    profile: str | None,
    learn: bool,
    alphabet: str | None,
    context: bool,
    output: str | None,
    trim: bool,
    save: str | None,
    seed: int,
    threads: int,
    device: str,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Align SEQUENCES (FASTA) to a profile, or to each other by learning one.

    Match states are the consensus columns; insertions between them are small letters. To a given profile they are not
    aligned to each other, as in hmmalign; --learn aligns long ones, too. Stockholm also tells the posterior
    probability of each residue's place.
    """
    from pathlib import Path

    from ..errors import InputError, UsageError
    from ..io.compression import input_name
    from ..io.output import OutputSet, ensure_distinct
    from ..profiles.hmmfile import read_profiles, write_profile
    from ..profiles.msa import format_of_output, write_alignment
    from ..profiles.profile import ALPHABETS
    from ..profiles.sequences import alphabet_of, read_sequences
    from ..runtime import configure

    if learn == bool(profile):
        raise UsageError("give either --profile or --learn")
    if context and learn:
        raise UsageError("--context belongs to --profile")
    if profile and (save or alphabet):
        raise UsageError(f"--{'save' if save else 'alphabet'} belongs to --learn")
    ensure_distinct([sequences, *([profile] if profile else [])], [output, *([save] if save else [])])
    kind = format_of_output(output)
    model = None
    if profile:
        model, *others = read_profiles(profile)
        if others:
            raise UsageError(f"{profile} holds {len(others) + 1} profiles; give a file with the one to align to")
        letters = model.alphabet
    elif alphabet:
        letters = ALPHABETS[alphabet]
    elif sequences == "-":
        raise UsageError("--learn from standard input needs --alphabet")
    else:
        letters = alphabet_of(sequences)
    if context and letters.name != "amino":
        raise UsageError(f"--context reads proteins, and {profile} is a profile of {letters.name}; leave it out")
    records = list(read_sequences(sequences, letters))
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise InputError(f"{input_name(sequences)}: two records are named {record.id!r}; rename one of them")
        seen.add(record.id)
    configure(threads, device, cache=not no_cache)
    from ..profiles.align import align_paths, lay_out

    codes = [record.codes for record in records]
    with OutputSet() as outputs:
        handle = outputs.open(output)
        if model is None:
            from ..profiles.learn import align_insertions, learn_profile

            saved = outputs.open(save) if save else None
            stem = "learned" if sequences == "-" else Path(sequences.removesuffix(".gz")).stem
            with Progress(f"learn from {len(codes):,} sequences", quiet=quiet):
                model, paths = learn_profile(codes, letters, stem, seed=seed)
            alignment = align_insertions(lay_out(model, records, paths, trim=trim), letters)
            if saved:
                from ..profiles.calibrate import calibrate

                write_profile(saved, calibrate(model))
        else:
            mixtures = None
            if context:
                from ..profiles.context import load_context

                mixtures = load_context().mixtures(codes)
            alignment = lay_out(model, records, align_paths(model, codes, mixtures=mixtures), trim=trim)
        write_alignment(handle, alignment, kind)
