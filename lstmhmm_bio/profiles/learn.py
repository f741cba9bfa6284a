"""Learning a profile from sequences that are not aligned, and aligning them to it.

It begins several times, with some of the sequences each: a first alignment follows a guide tree of shared words
(`progressive`), and the profile built from it is fitted: sequences are decoded with it by forward and backward, and it
is estimated anew from where they stand, with weights and priors as in `build`, so that match states come where most
sequences have a residue and go where few do. Distances in the alignment that results give a better guide tree, and
that start begins again from there. What all these profiles make of the same sequences is put together (`consensus`),
and the profile of that is fitted to all. They are then aligned to each other once more, along the tree of their
alignment, with what the profile says as a part of the scores: a sequence that is far from the profile comes where its
relatives are, which it cannot when it is aligned by itself. The profile of that is fitted by gradient (`gradient`).
Insertions that are long are aligned afterwards as a family of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .align import Path, align_group, align_paths, judged, lay_out
from .build import build_profile, digitise, sequence_weights
from .consensus import consensus_alignment
from .gradient import refined
from .guide import guide_tree, tree_of, tree_weights, word_vectors
from .msa import Alignment
from .profile import Alphabet, Codes, Profile
from .progressive import OPEN, Places, progressive_alignment
from .sequences import Sequence as Record
from .weights import GAP

#: gap costs of the starts' first alignments, nat
_STARTS = (5.5, 3.5, 4.5)
#: share of the sequences in each start, their greatest number, and their residues together
_SHARE, _MEMBERS, _RESIDUES = 0.8, 300, 75_000
#: sequences of the consensus alignment, and those the profile is fitted to at the end
_CONSENSUS, _FITTED = 100, 1000
#: sequences that are aligned to each other along the profile at the end, and their residues together
_TOGETHER, _TOGETHER_RESIDUES = 1200, 450_000
#: rounds of fitting after a first alignment, and of fitting by gradient at the end
_ROUNDS = 2
#: a match state is a column in which this share of the sequences, by weight, has a residue; the next if there is none
_SYMFRACS = (0.5, 0.25, 0.1, 0.0)
#: sequences longer than the profile by this factor may hold it several times; they are aligned to each other first
_LONG = 2.0
#: insertions of at least so many columns are aligned
_LONG_INSERTION = 8
#: no more than so many sequences or insertions are aligned to each other
_ALIGNED = 400


class Learned(NamedTuple):
    """A profile learned from sequences.

    Attributes:
        profile: not calibrated.
        paths: of all sequences through it.
    """

    profile: Profile
    paths: list[Path]


def learn_profile(sequences: Sequence[Codes], alphabet: Alphabet, name: str, *, seed: int = 1) -> Learned:
    """Learns a profile from a family's sequences.

    Args:
        sequences: codes, two or more that are not empty.
        alphabet: of the codes.
        name: of the profile.
        seed: of the choice of sequences.

    Raises:
        InputError: there are not two sequences to learn from.
    """
    filled = [i for i, codes in enumerate(sequences) if len(codes)]
    if len(filled) < 2:
        raise InputError("a profile is learned from two sequences or more")
    rng = np.random.default_rng(seed)
    median = int(np.median([len(sequences[i]) for i in filled]))

    def choose(number: int, residues: int) -> NDArray[np.intp]:
        size = min(len(filled), number, max(2, residues // median))
        return np.array(filled)[np.sort(rng.choice(len(filled), size, replace=False))]

    def family(members: Sequence[int] | NDArray[np.intp]) -> _Family:
        return _Family([sequences[i] for i in members], alphabet, name)

    def some(number: int) -> _Family:
        return family(choose(number, _RESIDUES * number // _MEMBERS))

    share = max(2, round(_SHARE * len(filled)))
    begun = [profile for gap_open in _STARTS for profile in some(min(share, _MEMBERS)).begin(gap_open)]
    common = some(_CONSENSUS)
    profile = common.estimate(consensus_alignment([common.aligned(each) for each in begun], rng))
    fitted = some(_FITTED)
    profile = fitted.estimate(fitted.aligned(profile))
    together = [int(i) for i in choose(_TOGETHER, _TOGETHER_RESIDUES) if len(sequences[i]) <= _LONG * profile.length]
    paths: dict[int, Path] = {}
    if len(together) > 1:
        profile, placed = family(together).aligned_along(profile)
        paths.update(zip(together, placed, strict=True))
    rest = [i for i in range(len(sequences)) if i not in paths]
    paths.update(zip(rest, align_paths(profile, [sequences[i] for i in rest], "glocal"), strict=True))
    long = [i for i, codes in enumerate(sequences) if len(codes) > _LONG * profile.length]
    if 1 < len(long) <= _ALIGNED:
        rows = family(long).alignment()
        paths.update(zip(long, align_group(profile, rows), strict=True))
    climbing = [int(i) for i in choose(_FITTED, _RESIDUES) if len(sequences[i]) <= _LONG * profile.length]
    profile = family(climbing).climb(profile, [paths[i] for i in climbing]) if climbing else profile
    return Learned(profile, [paths[i] for i in range(len(sequences))])


@dataclass(frozen=True, eq=False)
class _Family:
    """Sequences to fit a profile to."""

    sequences: list[Codes]
    alphabet: Alphabet
    name: str

    def begin(self, gap_open: float) -> tuple[Profile, Profile]:
        """Profiles fitted to first alignments along a tree of words, and along that of the alignment it leads to."""
        profile = self.fit(self.first_alignment(None, gap_open))
        return profile, self.fit(self.first_alignment(tree_of(self.aligned(profile)), gap_open))

    def fit(self, rows: NDArray[np.uint8]) -> Profile:
        """A profile from a first alignment, after some rounds."""
        profile = self.estimate(rows)
        for _ in range(_ROUNDS):
            profile = self.estimate(self.aligned(profile))
        return profile

    def first_alignment(self, tree: NDArray[np.float64] | None = None, gap_open: float = OPEN) -> NDArray[np.uint8]:
        """[sequences, columns] codes along a guide tree, that of words if none is given."""
        if tree is None:
            tree = guide_tree(word_vectors(self.sequences, self.alphabet))
        return progressive_alignment(self.sequences, tree, tree_weights(tree), self.alphabet, gap_open)

    def alignment(self) -> NDArray[np.uint8]:
        """[sequences, columns] codes along the tree of a first alignment."""
        return self.first_alignment(tree_of(self.first_alignment()))

    def estimate(self, rows: NDArray[np.uint8]) -> Profile:
        """The profile of aligned sequences, [sequences, columns] codes."""
        return self._with_columns(rows)[0]

    def _with_columns(self, rows: NDArray[np.uint8]) -> tuple[Profile, NDArray[np.intp]]:
        """The profile of aligned sequences, and the columns that are its match states."""
        letters = letters_of(rows, self.alphabet)
        names = tuple(map(str, range(len(rows))))
        alignment = Alignment(names, letters)
        for symfrac in _SYMFRACS:
            # a sequence is no fragment because another one is long: columns that few have are no match states
            with suppress(InputError):
                profile = build_profile(alignment, self.name, alphabet=self.alphabet, symfrac=symfrac, fragthresh=0.0)
                return replace(profile, map=()), np.array(profile.map) - 1
        raise AssertionError("every column holds a residue")

    def aligned_along(self, profile: Profile) -> tuple[Profile, list[Path]]:
        """Aligns the sequences to each other with the help of a profile.

        Returns:
            The profile of that alignment, and their paths through it.
        """
        paths = align_paths(profile, self.sequences, "glocal")
        tree = tree_of(self._laid_out(profile, paths))
        matched, node, sure = (
            np.concatenate(x) for x in zip(*((p.is_match, p.node, p.posterior) for p in paths), strict=True)
        )
        starts = np.cumsum([0, *map(len, self.sequences[:-1])])
        places = Places(starts, np.where(matched, node - 1, 0), np.where(matched, sure, 0.0), profile.length)
        rows = progressive_alignment(self.sequences, tree, tree_weights(tree), self.alphabet, OPEN, places)
        profile, columns = self._with_columns(rows)
        return profile, judged(profile, self.sequences, paths_in(rows, columns))

    def aligned(self, profile: Profile) -> NDArray[np.uint8]:
        """[sequences, columns] codes along the paths through a profile."""
        return self._laid_out(profile, align_paths(profile, self.sequences, "glocal"))

    def climb(self, profile: Profile, paths: list[Path]) -> Profile:
        """The profile fitted by gradient, the sequences weighed as they stand along their paths."""
        weights = sequence_weights(self._laid_out(profile, paths), self.alphabet)
        return refined(profile, self.sequences, weights, _ROUNDS)

    def _laid_out(self, profile: Profile, paths: list[Path]) -> NDArray[np.uint8]:
        records = [Record(str(i), "", codes) for i, codes in enumerate(self.sequences)]
        return digitise(lay_out(profile, records, paths), self.alphabet)


def paths_in(rows: NDArray[np.uint8], columns: NDArray[np.intp]) -> list[Path]:
    """The paths of aligned sequences whose match states are some of the columns, with probabilities of 1.

    Args:
        rows: [sequences, columns] codes with `GAP`.
        columns: [match states].
    """
    is_match = np.zeros(rows.shape[1], bool)
    is_match[columns] = True
    node = np.cumsum(is_match).astype(np.int32)
    there = [np.flatnonzero(row != GAP) for row in rows]
    return [Path(node[at], is_match[at], np.ones(len(at), np.float32)) for at in there]


def letters_of(rows: NDArray[np.uint8], alphabet: Alphabet) -> NDArray[np.uint8]:
    """ASCII of codes with `GAP`."""
    table = np.full(256, ord("-"), np.uint8)
    table[: len(alphabet.symbols)] = np.frombuffer(alphabet.symbols.encode(), np.uint8)
    return table[rows]


def align_insertions(alignment: Alignment, alphabet: Alphabet) -> Alignment:
    """The alignment with the residues of long insertions aligned to each other, in small letters.

    Args:
        alignment: as `lay_out` makes it, with RF and posteriors.
        alphabet: of its letters.
    """
    rf = np.frombuffer(alignment.columns["RF"].encode(), np.uint8)
    inserted = rf == ord(".")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inserted, [False]]).astype(np.int8)))
    tables = [alignment.rows, alignment.posteriors]
    long = alignment.is_residue.sum(axis=1) > _LONG * (~inserted).sum()
    pieces: list[list[NDArray[np.uint8]]] = [[], []]
    lines: dict[str, list[str]] = {name: [] for name in alignment.columns}
    at = 0
    for start, end in [*zip(edges[::2], edges[1::2], strict=True), (len(rf), len(rf))]:
        order = _order_of(alignment.rows[:, start:end], alphabet, long, at_start=start == 0)
        for kept, table in zip(pieces, tables, strict=True):
            if table is not None:
                kept += [table[:, at:start], _reordered(table[:, start:end], order)]
        width = end - start if order is None else order.shape[1]
        for name, line in alignment.columns.items():
            lines[name].append(line[at:start] + (line[start:end] if order is None else "." * width))
        at = end
    return replace(
        alignment,
        rows=np.hstack(pieces[0]),
        posteriors=np.hstack(pieces[1]) if alignment.posteriors is not None else None,
        columns={name: "".join(parts) for name, parts in lines.items()},
    )


def _order_of(
    block: NDArray[np.uint8], alphabet: Alphabet, long: NDArray[np.bool_], *, at_start: bool
) -> NDArray[np.intp] | None:
    """Which of its residues (from 0) each row has in each column of the block's own alignment, -1 for none; or None
    if the block stays as it is. Where too many rows have residues, those of long sequences are aligned, and the others
    stand at one side.

    Args:
        block: [sequences, columns] ASCII.
        alphabet: of its letters.
        long: [sequences].
        at_start: it is the first of its alignment, whose residues stand at the right.
    """
    present = block != ord(".")
    counts = present.sum(axis=1)
    members = np.flatnonzero(counts)
    if len(members) > _ALIGNED:
        members = members[long[members]]
    if block.shape[1] < _LONG_INSERTION or not 1 < len(members) <= _ALIGNED:
        return None
    sequences = [alphabet.encode(block[i, present[i]].tobytes()) for i in members]
    rows = _Family(sequences, alphabet, "").alignment()
    width = max(rows.shape[1], counts.max())
    rows = np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=GAP)
    column = np.arange(width)
    number = column - (width - counts[:, None]) if at_start else np.broadcast_to(column, (len(block), width))
    order = np.where((number >= 0) & (number < counts[:, None]), number, -1)
    order[members] = np.where(rows != GAP, np.cumsum(rows != GAP, axis=1) - 1, -1)
    return order


def _reordered(block: NDArray[np.uint8], order: NDArray[np.intp] | None) -> NDArray[np.uint8]:
    if order is None:
        return block
    result = np.full(order.shape, ord("."), np.uint8)
    for row, places, target in zip(block, order, result, strict=True):
        target[places >= 0] = row[row != ord(".")]
    return result
