"""Search results for people: hits and the alignments of their domains."""

from __future__ import annotations

from typing import NamedTuple, TextIO

from .domains import Domain
from .hits import Hit, QueryResult
from .profile import Profile
from .tables import accuracy, coordinates

_COLUMNS = 80


class AlignmentText(NamedTuple):
    """The lines of an alignment, of one length: consensus, agreement, sequence, posterior probabilities."""

    model: str
    agreement: str
    sequence: str
    posterior: str


def write_report(handle: TextIO, result: QueryResult, *, alignments: bool = True) -> None:
    """What one profile found, with or without the alignments of the domains."""
    profile = result.profile
    handle.write(f"Query: {profile.name}  {profile.accession}  [{profile.length}]".rstrip() + "\n")
    handle.write(f"Searched {result.sequences:,} sequences, {result.residues:,} residues; {len(result.hits):,} hits\n")
    if result.hits:
        handle.write("\n    E-value   score   bias  domains  sequence\n")
    for hit in result.hits:
        mark = " " if hit.included else "?"
        handle.write(
            f"{mark} {hit.evalue:9.2g} {hit.score:7.1f} {hit.bias:6.1f} {len(hit.reported_domains):8d}  {hit.target}"
            + (f"  {hit.description}" if hit.description else "")
            + "\n"
        )
    for hit in result.hits:
        if not hit.reported_domains:
            continue
        handle.write(f"\n{hit.target}  [{hit.length}]\n")
        handle.write("  #     score   bias  c-Evalue  i-Evalue     profile        alignment          envelope    acc\n")
        for number, d in hit.reported_domains:
            (a, b), (start, end), (first, last) = coordinates(hit, d)
            handle.write(
                f"{number:3d} {' ' if d.included else '?'} {d.score:7.1f} {d.bias:6.1f} {d.conditional_evalue:9.2g} "
                f"{d.independent_evalue:9.2g} {a:5d} {b:5d} {start:8d} {end:8d} {first:8d} {last:8d}  "
                f"{accuracy(d):4.2f}\n"
            )
        for number, d in hit.reported_domains:
            if alignments:
                handle.write(f"\n  domain {number}\n")
                _write_alignment(handle, profile, hit, d.domain)
    handle.write("\n")


def align_text(profile: Profile, domain: Domain) -> AlignmentText:
    """The alignment of a domain.

    The model's line has the consensus, or a dot at inserts; the sequence's line has lower case at inserts, dashes at
    deletes. Between them stands the letter where both agree and a plus where the residue is likelier than by chance.
    Posterior probabilities are digits in tenths, ``*`` from 0.95 on.
    """
    consensus = profile.consensus or consensus_of(profile)
    letters = profile.alphabet.decode(domain.codes)
    odds = profile.match @ profile.alphabet.expand.T > profile.alphabet.background @ profile.alphabet.expand.T
    columns = []
    last = int(domain.node[0]) - 1
    for position, node in enumerate(domain.node.tolist()):
        columns += [(consensus[k].lower(), " ", "-", ".") for k in range(last, node - 1)]
        probability = _digit(float(domain.probability[position]))
        letter = letters[position]
        if domain.inserted[position]:
            columns.append((".", " ", letter.lower(), probability))
        else:
            expected = consensus[node - 1]
            likely = "+" if odds[node - 1, domain.codes[position]] else " "
            columns.append((expected, expected if letter.upper() == expected.upper() else likely, letter, probability))
        last = node
    return AlignmentText(*("".join(line) for line in zip(*columns, strict=True)))


def consensus_of(profile: Profile) -> str:
    """The likeliest residue of each match state, upper case where it is very likely."""
    best = profile.match.argmax(axis=1)
    enough = 0.5 if profile.alphabet.name == "amino" else 0.9
    return "".join(
        letter if profile.match[k, code] >= enough else letter.lower()
        for k, (code, letter) in enumerate((c, profile.alphabet.letters[c]) for c in best)
    )


def _digit(probability: float) -> str:
    tenths = int(probability * 10 + 0.5)
    return "*" if tenths >= 10 else str(tenths)


def _write_alignment(handle: TextIO, profile: Profile, hit: Hit, domain: Domain) -> None:
    text = align_text(profile, domain)
    node, position = domain.profile_span[0], domain.start
    for i in range(0, len(text.model), _COLUMNS):
        model, agreement, sequence, posterior = (line[i : i + _COLUMNS] for line in text)
        nodes, residues = len(model) - model.count("."), len(sequence) - sequence.count("-")
        first, last = position + 1, position + residues
        if hit.strand == "-":
            first, last = hit.length - position, hit.length - last + 1
        handle.write(
            f"  {node + 1:9d} {model} {node + nodes}\n            {agreement}\n"
            f"  {first:9d} {sequence} {last}\n            {posterior}\n\n"
        )
        node, position = node + nodes, position + residues
