"""`lstmhmm profile show`: profiles in words and as logos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import GroupedCommand, option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..profiles.profile import Profile


@click.command("show", cls=GroupedCommand)
@click.argument("profiles")
@option("Output", "-o", "--output", metavar="FILE", help="Draw the logo of the one profile: .svg, .png or .pdf.")
def show(profiles: str, output: str | None) -> None:
    """Describe the profiles in PROFILES (HMMER3), or draw a logo.

    A logo's letters are as high as a position is informative, in bits.
    """
    from ..errors import UsageError
    from ..io.output import ensure_distinct, open_output
    from ..profiles.hmmfile import read_profiles

    ensure_distinct([profiles], [output])
    if output is None:
        with open_output(None) as handle:
            for number, profile in enumerate(read_profiles(profiles)):
                handle.write("\n" if number else "")
                handle.writelines(f"{key:<12} {value}\n" for key, value in _lines(profile))
        return
    from ..profiles.logo import PICTURES, draw_logo

    kind = output.rpartition(".")[2].lower()
    if kind not in PICTURES:
        raise UsageError(f"{output}: a logo is drawn as .{', .'.join(PICTURES)}; choose one of these endings")
    one, *others = read_profiles(profiles)
    if others:
        raise UsageError(f"{profiles} holds {len(others) + 1} profiles; give a file with the one to draw")
    with open_output(output) as handle:
        draw_logo(one, handle.buffer, kind)


def _lines(profile: Profile) -> Iterator[tuple[str, str]]:
    """Facts of a profile and their names."""
    yield "name", profile.name
    if profile.accession:
        yield "accession", profile.accession
    if profile.description:
        yield "description", profile.description
    yield "alphabet", profile.alphabet.name
    yield "length", str(profile.length)
    if profile.nseq:
        yield "sequences", f"{profile.nseq} (effective {profile.effective:.2f})"
    from ..profiles.logo import heights

    yield "information", f"{heights(profile).sum(axis=1).mean():.3f} bits a position"
    for name, scores in profile.cutoffs.items():
        yield name, f"{scores[0]:.2f} (sequence) {scores[1]:.2f} (domain)"
    for name, (location, slope) in profile.statistics.items():
        yield name, f"location {location:.3f} bits, lambda {slope:.4f}"
    for i in range(0, len(profile.consensus), 60):
        yield "" if i else "consensus", profile.consensus[i : i + 60]
