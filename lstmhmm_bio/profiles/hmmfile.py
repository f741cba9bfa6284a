"""HMMER3 profile files in ASCII (HMMER User's Guide 3.4, "HMMER profile HMM files").

Probabilities are written as negative natural logarithms with five decimals, ``*`` for 0. Read are the formats HMMER3/b
to HMMER3/f, written is HMMER3/f.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import InputError
from ..io.compression import input_name, open_input
from .profile import ALPHABETS, Heading, Profile

_T = TypeVar("_T")
#: negative logarithms of probabilities of 1 may fall so far below 0
_ROUNDED = 1e-4
_FORMAT = re.compile(r"HMMER3/([b-f])\b")
#: annotation columns after a match line, by format
_COLUMNS = {
    "b": ("map", "rf", "cs"),
    "c": ("map", "rf", "cs"),
    "d": ("map", "consensus", "rf", "cs"),
    "e": ("map", "consensus", "rf", "cs"),
    "f": ("map", "consensus", "rf", "mm", "cs"),
}
_FLAGS = {"RF": "rf", "MM": "mm", "CONS": "consensus", "CS": "cs", "MAP": "map"}


def read_profiles(path: str) -> Iterator[Profile]:
    """The profiles of a file, plain or compressed, one after another.

    Args:
        path: a file, or "-" for standard input.

    Raises:
        InputError: the file is no HMMER3 ASCII file, holds no profile or is damaged; the message names the line.
    """
    return _entries(path, _read_profile)


def read_headings(path: str) -> Iterator[Heading]:
    """What the profiles of a file are called and have, without reading their numbers; else as `read_profiles`."""
    return _entries(path, _read_heading)


@dataclass(frozen=True)
class ProfileFile:
    """The profiles of a file, read anew whenever they are gone through, so that they need not be kept.

    Attributes:
        path: a file that can be read any number of times.
    """

    path: str

    def __iter__(self) -> Iterator[Profile]:
        return read_profiles(self.path)

    def headings(self) -> Iterator[Heading]:
        """As `read_headings`."""
        return read_headings(self.path)


def _entries(path: str, read: Callable[[str, _Lines], _T]) -> Iterator[_T]:
    """What `read` makes of each entry of a file, given its first line and those that follow."""
    source = input_name(path)
    with open_input(path) as stream:
        if stream.peek()[:1] > b"\x7f":
            raise InputError(f"{source} is a pressed (binary) profile file; give the ASCII file (hmmconvert)")
        lines = _Lines(stream, source)
        found = False
        while (first := lines.next_filled()) is not None:
            yield read(first, lines)
            found = True
        if not found:
            raise InputError(f"{source} holds no profiles; give a HMMER3 file")


class _Lines:
    """The lines of a file, counted."""

    def __init__(self, stream: Any, source: str) -> None:
        self._stream = stream
        self._source = source
        self._number = 0

    def next_filled(self) -> str | None:
        """The next line that is not blank, without its line end; None at the end."""
        for raw in self._stream:
            self._number += 1
            line = raw.decode("utf-8", "replace").rstrip()
            if line:
                return line
        return None

    def expect(self, what: str) -> str:
        line = self.next_filled()
        if line is None:
            raise self.error(f"the file ends where {what} should come: it is truncated")
        return line

    def skip_entry(self) -> None:
        """Goes on behind the entry's last line."""
        for raw in self._stream:
            self._number += 1
            if raw.startswith(b"//"):
                return
        raise self.error("the file ends where // should come: it is truncated")

    def error(self, problem: str) -> InputError:
        return InputError(f"{self._source}: line {self._number}: {problem}")


def _read_heading(first: str, lines: _Lines) -> Heading:
    _, facts, _ = _read_header(first, lines)
    lines.skip_entry()
    return Heading(facts["name"], facts["alphabet"], facts["cutoffs"], facts["statistics"])


def _read_header(first: str, lines: _Lines) -> tuple[str, dict[str, Any], set[str]]:
    """Up to the HMM line: the format's letter, the profile's facts, and the annotations it has."""
    kind = _FORMAT.match(first)
    if kind is None:
        if first.startswith(("HMMER2", "HMMER3")):
            raise lines.error(f"{first.split()[0]} is not read; convert the file with hmmconvert")
        raise lines.error(f"{first[:30]!r} is not the start of a HMMER3 profile; give a file made by hmmbuild")
    facts, flags = _read_facts(lines)
    for needed in ("name", "length", "alphabet"):
        if needed not in facts:
            raise lines.error(f"the profile's header has no {needed}")
    return kind[1], facts, flags


def _read_profile(first: str, lines: _Lines) -> Profile:
    kind, facts, flags = _read_header(first, lines)
    length, alphabet = facts.pop("length"), facts.pop("alphabet")
    lines.expect("the transitions' header")
    line = lines.expect("node 0")
    if line.split()[0] == "COMPO":
        facts["composition"] = _probabilities(line.split()[1:], alphabet.size, lines)
        line = lines.expect("insert state 0")
    match = np.empty((length, alphabet.size))
    insert = np.empty((length + 1, alphabet.size))
    transitions = np.empty((length + 1, 7))
    columns: dict[str, list[str]] = {name: [] for name in _COLUMNS[kind]}
    for k in range(length + 1):
        if k:
            words = lines.expect(f"node {k}").split()
            if words[0] != str(k):
                raise lines.error(f"node {k} should start here, not {words[0]!r}")
            match[k - 1] = _probabilities(words[1 : alphabet.size + 1], alphabet.size, lines)
            notes = words[alphabet.size + 1 :]
            if len(notes) != len(columns):
                raise lines.error(
                    f"node {k} has {len(notes)} annotations after its emissions instead of {len(columns)}"
                )
            for column, note in zip(columns.values(), notes, strict=True):
                column.append(note)
            line = lines.expect(f"insert state {k}")
        insert[k] = _probabilities(line.split(), alphabet.size, lines)
        transitions[k] = _probabilities(lines.expect(f"transitions of node {k}").split(), 7, lines)
    if lines.expect("//") != "//":
        raise lines.error(f"// should follow the {length} nodes")
    for name, column in columns.items():
        if name in flags:
            try:
                facts[name] = tuple(map(int, column)) if name == "map" else "".join(column)
            except ValueError:
                raise lines.error("an alignment column in the profile's map is no number") from None
    return Profile(alphabet=alphabet, match=match, insert=insert, transitions=transitions, **facts)


def _read_facts(lines: _Lines) -> tuple[dict[str, Any], set[str]]:
    facts: dict[str, Any] = {"cutoffs": {}, "statistics": {}, "commands": ()}
    flags: set[str] = set()
    while True:
        key, _, value = lines.expect("the HMM line").partition(" ")
        value = value.strip()
        try:
            if key == "HMM":
                return facts, flags
            if key in _FLAGS:
                if value.lower() == "yes":
                    flags.add(_FLAGS[key])
            elif key == "ALPH":
                facts["alphabet"] = ALPHABETS[value.lower()]
            elif key in _FACTS:
                name, convert = _FACTS[key]
                facts[name] = convert(value)
            elif key in ("GA", "TC", "NC"):
                facts["cutoffs"][key] = read_cutoff(value)
            elif key == "STATS":
                _, name, location, slope = value.split()
                facts["statistics"][name] = float(location), float(slope)
            elif key == "COM":
                facts["commands"] += (re.sub(r"^\[\d+\]\s*", "", value),)
        except KeyError:
            known = ", ".join(alphabet.name for alphabet in ALPHABETS.values())
            raise lines.error(f"{value!r} is no alphabet of sequences read here ({known})") from None
        except ValueError:
            raise lines.error(f"{key} cannot be followed by {value!r}") from None


def read_cutoff(text: str) -> tuple[float, float]:
    """Bit scores of (sequence, domain) from a GA, TC or NC line; a single one, as Dfam writes, holds for both.

    Raises:
        ValueError: these are no scores.
    """
    scores = [float(word) for word in text.replace(";", " ").split()[:2]]
    if not scores:
        raise ValueError("no score")
    return scores[0], scores[-1]


_FACTS: dict[str, tuple[str, Any]] = {
    "NAME": ("name", str),
    "ACC": ("accession", str),
    "DESC": ("description", str),
    "LENG": ("length", int),
    "MAXL": ("max_length", int),
    "DATE": ("date", str),
    "NSEQ": ("nseq", int),
    "EFFN": ("effective", float),
    "CKSUM": ("checksum", int),
}


def _probabilities(words: list[str], count: int, lines: _Lines) -> NDArray[np.float64]:
    if len(words) != count:
        raise lines.error(f"{len(words)} numbers instead of {count}")
    try:
        logs = np.array([np.inf if word == "*" else float(word) for word in words])
    except ValueError:
        raise lines.error("a probability is neither a number nor *") from None
    if not (logs > -_ROUNDED).all():
        raise lines.error("a probability is above 1: its negative logarithm is below 0")
    return np.exp(-logs)


def write_profile(handle: TextIO, profile: Profile) -> None:
    """Write a profile in HMMER3/f ASCII; numbers read from such a file are written as they were."""
    p = profile

    def put(key: str, value: object) -> None:
        handle.write(f"{key:<5} {value}\n")

    handle.write(f"HMMER3/f [lstmhmm {__version__}]\n")
    put("NAME", p.name)
    if p.accession:
        put("ACC", p.accession)
    if p.description:
        put("DESC", p.description)
    put("LENG", p.length)
    if p.max_length is not None:
        put("MAXL", p.max_length)
    put("ALPH", p.alphabet.name)
    for key, name in _FLAGS.items():
        put(key, "yes" if getattr(p, name) else "no")
    if p.date:
        put("DATE", p.date)
    for i, command in enumerate(p.commands, 1):
        put("COM", f"[{i}] {command}")
    if p.nseq:
        put("NSEQ", p.nseq)
    if p.effective:
        put("EFFN", f"{p.effective:.6f}")
    if p.checksum is not None:
        put("CKSUM", p.checksum)
    for key in ("GA", "TC", "NC"):
        if key in p.cutoffs:
            put(key, "{:.2f} {:.2f}".format(*p.cutoffs[key]))
    for key, (location, slope) in p.statistics.items():
        put("STATS", f"LOCAL {key:<8} {location:8.4f} {slope:8.5f}")
    _write_nodes(handle, p)


def _write_nodes(handle: TextIO, p: Profile) -> None:
    blank = " " * 8
    handle.write("HMM     " + "".join(f"     {letter}   " for letter in p.alphabet.letters) + "\n")
    handle.write(blank + "".join(f"{name:>8} " for name in _TRANSITION_NAMES).rstrip() + "\n")
    if p.composition is not None:
        handle.write("  COMPO " + _scores(p.composition) + "\n")
    columns = [p.map or "-" * p.length, *((getattr(p, x) or "-" * p.length) for x in ("consensus", "rf", "mm", "cs"))]
    for k in range(p.length + 1):
        if k:
            number, *notes = (column[k - 1] for column in columns)
            handle.write(f"{k:>7} {_scores(p.match[k - 1])} {number!s:>6} {' '.join(map(str, notes))}\n")
        handle.write(blank + _scores(p.insert[k]) + "\n")
        handle.write(blank + _scores(p.transitions[k]) + "\n")
    handle.write("//\n")


_TRANSITION_NAMES = ("m->m", "m->i", "m->d", "i->m", "i->i", "d->m", "d->d")


def _scores(probabilities: NDArray[np.float64]) -> str:
    # abs: a probability of 1 is written 0.00000, not -0.00000
    return "".join(" " * 8 + "*" if x == 0 else f"{abs(np.log(x)):9.5f}" for x in probabilities)
