"""What the sequence says of genes with introns: marks that allow or forbid a base states of the grammar.

A donor is GT or GCA, an acceptor AG. Introns of the minor spliceosome go from ATATCCTT to YAC, with the branch site
TTRAC at most `BRANCH` bases before the end (Hall & Padgett, J. Mol. Biol. 239:357, 1994).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sequence import Segments, codons, shifted
from .grammar import Array, bit_set

#: the marks
(
    START_HERE,
    STOP_ENDS_HERE,
    DONOR_HERE,
    ACCEPTOR_ENDS_HERE,
    AFTER_T,
    AFTER_TA,
    AFTER_TG,
    STOP_WITH_T,
    STOP_WITH_TA,
    STOP_WITH_TG,
    START_WITH_AT,
    AT_AC_DONOR_HERE,
    AT_AC_ACCEPTOR_ENDS_HERE,
) = (1 << i for i in range(13))
_A, _C, _G, _T = range(4)
#: bases of an AT-AC intron from the branch site's TTRAC to its end
BRANCH = 30


def marks(codes: Array, code: Any, *, at_ac: bool = False) -> Array:
    """[..., time] uint16 bit sets: what a base is part of; arguments as for `Grammar.marks`.

    Args:
        codes: the sequence.
        code: the genetic code.
        at_ac: mark the ends of AT-AC introns, too.
    """
    back2, back1, here, on1, on2 = (shifted(codes, k) for k in (-2, -1, 0, 1, 2))
    # constants as arrays, to be one half of a codon
    t, a, g = (here * 0 + base for base in (_T, _A, _G))
    return bit_set(
        code.is_start[codons(here, on1, on2)],
        code.is_stop[codons(back2, back1, here)],
        (here == _G) & ((on1 == _T) | ((on1 == _C) & (on2 == _A))),
        (back1 == _A) & (here == _G),
        back1 == _T,
        (back2 == _T) & (back1 == _A),
        (back2 == _T) & (back1 == _G),
        code.is_stop[codons(t, back1, here)],
        code.is_stop[codons(t, a, here)],
        code.is_stop[codons(t, g, here)],
        code.is_start[codons(a, t, here)],
        *(_at_ac_ends(codes) if at_ac else ()),
    )


def _at_ac_ends(codes: Array) -> tuple[Array, Array]:
    """Where ATATCCTT begins, and where YAC ends with TTRAC in the bases before."""
    a, t, c, pyrimidine = codes == _A, codes == _T, codes == _C, (codes == _C) | (codes == _T)
    purine = a | (codes == _G)

    def at(k: int, condition: Array) -> Array:
        return shifted(condition.astype(codes.dtype), k) == 1

    donor = a & at(1, t) & at(2, a) & at(3, t) & at(4, c) & at(5, c) & at(6, t) & at(7, t)
    branch = at(-4, t) & at(-3, t) & at(-2, purine) & at(-1, a) & c
    near, reach = at(-3, branch), 1
    while reach < BRANCH - 7:
        more = min(reach, BRANCH - 7 - reach)
        near, reach = near | at(-more, near), reach + more
    return donor, at(-2, pyrimidine) & at(-1, a) & c & near


def has_at_ac_intron(chain: Segments, marks: NDArray[np.uint16]) -> bool:
    """Whether one of the introns of a transcript is one from AT to AC; marks with those of their ends."""
    ends = [
        (marks[donor] & AT_AC_DONOR_HERE, marks[end - 1] & AT_AC_ACCEPTOR_ENDS_HERE)
        for (_, donor), (end, _) in pairwise(chain)
    ]
    return any(donor and acceptor for donor, acceptor in ends)
