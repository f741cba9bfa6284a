"""Learning a profile from sequences that are not aligned, and aligning them to it.

A first alignment of representative sequences follows a guide tree of shared words (`progressive`); the profile built
from it is then fitted: sequences are decoded with it by forward and backward, and it is estimated anew from where they
stand, with weights and priors as in `build`, so that match states come where most sequences have a residue and go
where few do. Distances in the alignment that results give a better guide tree, and all begins again from there. In the
end all sequences take part. Insertions that are long are aligned afterwards as a family of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .align import Path, align_paths, lay_out
from .build import build_profile, digitise
from .guide import guide_tree, representatives, tree_of, tree_weights, word_vectors
from .msa import Alignment
from .profile import Alphabet, Codes, Profile
from .progressive import progressive_alignment
from .sequences import Sequence as Record
from .weights import GAP

#: sequences in the first alignments, and those the profile is fitted to at the end
_REPRESENTATIVES = 200
_FITTED = 2000
#: rounds of fitting after a first alignment and at the end
_ROUNDS = 2
#: a match state is a column in which this share of the sequences, by weight, has a residue
_SYMFRAC = 0.4
#: insertions of at least so many columns are aligned, if not more than so many sequences have them
_LONG_INSERTION, _INSERTED = 8, 400


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
        seed: of the choice of representatives.

    Raises:
        InputError: there are not two sequences to learn from.
    """
    filled = [codes for codes in sequences if len(codes)]
    if len(filled) < 2:
        raise InputError("a profile is learned from two sequences or more")
    rng = np.random.default_rng(seed)
    vectors = word_vectors(filled, alphabet)
    lengths = np.array([len(codes) for codes in filled])
    chosen = representatives(vectors, lengths, _REPRESENTATIVES, rng)
    family = _Family([filled[i] for i in chosen], alphabet, name)
    rows = family.first_alignment(guide_tree(vectors[chosen]))
    profile = family.fit(rows)
    rows = family.first_alignment(tree_of(family.aligned(profile)))
    profile = family.fit(rows)
    if len(filled) > len(chosen):
        sample = filled if len(filled) <= _FITTED else [filled[i] for i in rng.choice(len(filled), _FITTED, False)]
        larger = _Family(sample, alphabet, name)
        for _ in range(_ROUNDS):
            profile = larger.estimate(larger.aligned(profile))
    return Learned(profile, align_paths(profile, sequences, "glocal"))


@dataclass(frozen=True, eq=False)
class _Family:
    """Sequences to fit a profile to."""

    sequences: list[Codes]
    alphabet: Alphabet
    name: str

    def first_alignment(self, tree: NDArray[np.float64]) -> NDArray[np.uint8]:
        """[sequences, columns] codes along a guide tree."""
        return progressive_alignment(self.sequences, tree, tree_weights(tree), self.alphabet)

    def fit(self, rows: NDArray[np.uint8]) -> Profile:
        """A profile from a first alignment, after some rounds."""
        profile = self.estimate(rows)
        for _ in range(_ROUNDS):
            profile = self.estimate(self.aligned(profile))
        return profile

    def estimate(self, rows: NDArray[np.uint8]) -> Profile:
        letters = letters_of(rows, self.alphabet)
        names = tuple(map(str, range(len(rows))))
        profile = build_profile(Alignment(names, letters), self.name, alphabet=self.alphabet, symfrac=_SYMFRAC)
        return replace(profile, map=())

    def aligned(self, profile: Profile) -> NDArray[np.uint8]:
        """[sequences, columns] codes along the paths through a profile."""
        paths = align_paths(profile, self.sequences, "glocal")
        records = [Record(str(i), "", codes) for i, codes in enumerate(self.sequences)]
        return digitise(lay_out(profile, records, paths), self.alphabet)


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
    pieces: list[list[NDArray[np.uint8]]] = [[], []]
    lines: dict[str, list[str]] = {name: [] for name in alignment.columns}
    at = 0
    for start, end in [*zip(edges[::2], edges[1::2], strict=True), (len(rf), len(rf))]:
        order = _order_of(alignment.rows[:, start:end], alphabet)
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


def _order_of(block: NDArray[np.uint8], alphabet: Alphabet) -> NDArray[np.intp] | None:
    """Which of its residues (from 0) each row has in each column of the block's own alignment, -1 for none; or None
    if the block stays as it is.
    """
    present = block != ord(".")
    members = np.flatnonzero(present.any(axis=1))
    if block.shape[1] < _LONG_INSERTION or not 1 < len(members) <= _INSERTED:
        return None
    sequences = [alphabet.encode(block[i, present[i]].tobytes()) for i in members]
    tree = guide_tree(word_vectors(sequences, alphabet))
    rows = progressive_alignment(sequences, tree, tree_weights(tree), alphabet)
    order = np.full((len(block), rows.shape[1]), -1)
    order[members] = np.where(rows != GAP, np.cumsum(rows != GAP, axis=1) - 1, -1)
    return order


def _reordered(block: NDArray[np.uint8], order: NDArray[np.intp] | None) -> NDArray[np.uint8]:
    if order is None:
        return block
    result = np.full(order.shape, ord("."), np.uint8)
    for row, places, target in zip(block, order, result, strict=True):
        target[places >= 0] = row[row != ord(".")]
    return result
