"""Small hand-made alignments and random profiles for the tests of profiles."""

from __future__ import annotations

import numpy as np

from lstmhmm_bio.profiles.msa import Alignment
from lstmhmm_bio.profiles.profile import Alphabet, Profile


def alignment_of(text: str, **columns: str) -> Alignment:
    """An alignment from lines of a name and a row, which ends in gaps where it is shorter than others."""
    names, rows = zip(*(line.split() for line in text.strip().splitlines()), strict=True)
    width = max(map(len, rows))
    return Alignment(names, np.array([list(row.ljust(width, "-").encode()) for row in rows], np.uint8), columns=columns)


FAMILY = alignment_of("""
    one    --MKVLAAGIVGLCAKAYLERGHEVTVLdRNPE
    two    --MRVLVLGAGGVGSAIAYYLARRGHEVTV.LDE
    three  GSMKIAVIGA-GVMGSGIAQVCAQAGYDVAVyDRNE
    four   ----IAIIGL-GNMGKAIAERLKKAGYEVTV.DR-H
    five   --------------GSAVAKHLLRKGH
""")


def random_profile(alphabet: Alphabet, length: int, seed: int) -> Profile:
    """A profile of random parameters."""
    rng = np.random.default_rng(seed)
    match = rng.dirichlet(np.full(alphabet.size, 0.2) + 1e-3, length) * 0.98 + 0.02 / alphabet.size
    insert = rng.dirichlet(np.full(alphabet.size, 5.0), length + 1)
    transitions = np.hstack(
        [
            rng.dirichlet((20, 1, 1), length + 1),
            rng.dirichlet((2, 2), length + 1),
            rng.dirichlet((2, 2), length + 1),
        ]
    )
    transitions[0, 5:] = transitions[-1, 5:] = 1.0, 0.0
    transitions[-1, 2] = 0.0
    transitions[-1, :2] /= transitions[-1, :2].sum()
    consensus = "".join(alphabet.letters[i].lower() for i in match.argmax(axis=1))
    return Profile(f"random{seed}", alphabet, match, insert, transitions, consensus=consensus)


def family(
    rng: np.random.Generator,
    alphabet: Alphabet,
    length: int,
    members: int,
    *,
    differing: float = 0.35,
    deleted: float = 0.04,
) -> list[str]:
    """Members of a family, aligned: about a third of the residues differ, some are deleted."""
    letters = np.array(list(alphabet.letters))
    ancestor = rng.choice(letters, length, p=alphabet.background)
    rows = []
    for _ in range(members):
        row = np.where(rng.random(length) < differing, rng.choice(letters, length, p=alphabet.background), ancestor)
        row[rng.random(length) < deleted] = "-"
        rows.append("".join(row))
    return rows
