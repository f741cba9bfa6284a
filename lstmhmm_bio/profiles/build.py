"""From an alignment to a profile.

The steps are those of HMMER's hmmbuild (User's Guide 3.4; Eddy, PLoS Comput. Biol. 4:e1000069, 2008, for the entropy
target): mark fragments, weigh sequences, choose consensus columns, count, scale the counts to an effective number of
sequences and take mean posterior estimates under the priors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .hmmfile import read_cutoff
from .msa import Alignment
from .plan7 import occupancy
from .priors import Prior, prior_of
from .profile import DD, DM, II, IM, MD, MI, MM, Alphabet, Profile
from .sequences import guess_alphabet
from .weights import GAP, MISSING, position_based_weights, spans, within

Array = NDArray[np.float64]

#: mean relative entropy of match states, bits, to which the effective number is chosen
_ENTROPY_TARGETS = {"amino": 0.59, "DNA": 0.62, "RNA": 0.62}
#: short profiles get a higher target, so that the whole profile has about this many bits above chance
_LEAST_BITS = 45.0
#: a match state's consensus letter is a capital from this probability on
_CONSERVED = {"amino": 0.5, "DNA": 0.9, "RNA": 0.9}
#: longest instance of a nucleotide profile: longer ones have less than this probability
_LONGER = 1e-7


@dataclass(frozen=True, eq=False)
class Counts:
    """Weighted counts of emissions and transitions; shapes as in `Profile`."""

    match: Array
    insert: Array
    transitions: Array

    def scaled(self, factor: float) -> Counts:
        return Counts(self.match * factor, self.insert * factor, self.transitions * factor)


def build_profile(
    alignment: Alignment,
    name: str,
    *,
    alphabet: Alphabet | None = None,
    symfrac: float = 0.5,
    fragthresh: float = 0.5,
    hand: bool = False,
) -> Profile:
    """The profile of an alignment, not calibrated.

    Args:
        alignment: at least one sequence; weights it brings are not used.
        name: the profile's, unless the alignment has an ID.
        alphabet: of the letters; None guesses.
        symfrac: consensus columns have at least this fraction of residues (by weight).
        fragthresh: a sequence with at most this fraction of the columns' number of residues is a fragment, whose outer
            gaps tell nothing.
        hand: take the consensus columns from the alignment's RF line.

    Raises:
        InputError: a letter outside the alphabet, no consensus column, no RF line where one is needed.
    """
    if alphabet is None:
        alphabet = guess_alphabet(alignment.rows.tobytes().decode("latin-1"))
    codes = digitise(alignment, alphabet)
    rf = alignment.columns.get("RF", "")
    if hand and not rf:
        raise InputError(f"{name}: the alignment has no RF line to take the consensus columns from")
    by_hand = np.array([letter not in "-._~" for letter in rf]) if rf else None
    is_residue = codes < MISSING
    first, end = spans(is_residue)
    weights = sequence_weights(codes, alphabet, by_hand)
    fragments = is_residue.sum(axis=1) <= fragthresh * codes.shape[1]
    codes[fragments[:, None] & ~within(first, end, codes.shape[1])] = MISSING
    consensus = by_hand if hand and by_hand is not None else _consensus_columns(codes, weights, symfrac)
    if not consensus.any():
        raise InputError(f"{name}: no column is a consensus column; lower --symfrac or mend the alignment")
    counts = count(codes, weights, consensus, alphabet)
    prior = prior_of(alphabet)
    effective = effective_number(counts.match, len(codes), alphabet, prior)
    profile = estimate(counts.scaled(effective / len(codes)), alphabet, prior, name)
    columns = np.flatnonzero(consensus)
    facts = alignment.facts

    def at_consensus(key: str) -> str:
        line = alignment.columns.get(key, "")
        return "".join(line[c] for c in columns) if line else ""

    return replace(
        profile,
        name=facts.get("ID", name).replace(" ", "_"),
        accession=facts.get("AC", ""),
        description=facts.get("DE", ""),
        rf=at_consensus("RF"),
        mm=at_consensus("MM"),
        cs=at_consensus("SS_cons"),
        map=tuple(int(c) + 1 for c in columns),
        cutoffs={key: _cutoff(facts[key], key, name) for key in ("GA", "TC", "NC") if key in facts},
        nseq=len(codes),
        effective=effective,
        max_length=max_length(profile) if alphabet.size == 4 else None,
    )


def _cutoff(text: str, key: str, name: str) -> tuple[float, float]:
    try:
        return read_cutoff(text)
    except ValueError:
        raise InputError(f"{name}: the alignment's {key} line holds {text!r} instead of two scores") from None


def digitise(alignment: Alignment, alphabet: Alphabet) -> NDArray[np.uint8]:
    """Codes of an alignment [sequences, columns], `GAP` for gaps and `MISSING` for ``~``.

    Raises:
        InputError: a letter outside the alphabet.
    """
    rows = alignment.rows
    codes = np.full(rows.shape, GAP, np.uint8)
    codes[rows == ord("~")] = MISSING
    for i, (name, filled) in enumerate(zip(alignment.names, alignment.is_residue, strict=True)):
        try:
            codes[i, filled] = alphabet.encode(rows[i, filled].tobytes())
        except InputError as error:
            raise InputError(f"aligned sequence {name!r}: {error}") from None
    return codes


def sequence_weights(codes: NDArray[np.uint8], alphabet: Alphabet, consensus: NDArray[np.bool_] | None = None) -> Array:
    """Position-based weights of aligned sequences, of mean 1.

    Args:
        codes: [sequences, columns] with `GAP` and `MISSING`.
        alphabet: of the codes.
        consensus: [columns] those that count; None for those in which more than half of the sequences have a residue.
    """
    return position_based_weights(codes, alphabet.size, _majority(codes) if consensus is None else consensus)


def _majority(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Columns in which more than half of the sequences have a residue; fragments count within their span."""
    first, end = spans(codes < MISSING)
    columns = codes.shape[1]
    whole = end - first >= np.ceil(0.5 * columns)
    counted = within(np.where(whole, 0, first), np.where(whole, columns, end), columns)
    residues = (codes < MISSING).sum(axis=0)
    return residues > 0.5 * counted.sum(axis=0)


def _consensus_columns(codes: NDArray[np.uint8], weights: Array, symfrac: float) -> NDArray[np.bool_]:
    # summed as HMMER does, one sequence after the other in single precision: equal shares then fall on the same side
    residues = total = np.zeros(codes.shape[1], np.float32)
    for row, weight in zip(codes, weights, strict=True):
        residues = (residues + weight * (row < MISSING)).astype(np.float32)
        total = (total + weight * (row != MISSING)).astype(np.float32)
    return (residues > 0) & (residues >= symfrac * total)


def count(codes: NDArray[np.uint8], weights: Array, consensus: NDArray[np.bool_], alphabet: Alphabet) -> Counts:
    """Counts of the paths that an alignment implies.

    Plan7 has no transitions between insert and delete states: where a gap in a consensus column is next to an
    insertion, the insertion's residue beside it is moved into that column.

    Args:
        codes: [sequences, columns] with `GAP` and `MISSING`.
        weights: [sequences].
        consensus: [columns] which columns are match states.
        alphabet: of the codes.
    """
    columns = np.flatnonzero(consensus)
    length, n = len(columns), len(codes)
    residues_of = shares(alphabet)
    # begin, match columns and end: residue, GAP or MISSING; the outer two behave as match states where a sequence
    # reaches them
    states = np.zeros((n, length + 2), np.uint8)
    states[:, 1:-1] = codes[:, columns]
    states[codes[:, 0] == MISSING, 0] = states[codes[:, -1] == MISSING, -1] = MISSING
    inserted = np.zeros((n, length + 1), np.intp)
    insert = np.zeros((length + 1, alphabet.size))
    borders = np.concatenate([[-1], columns, [codes.shape[1]]])
    for k in range(length + 1):
        block = codes[:, borders[k] + 1 : borders[k + 1]]
        if block.shape[1]:
            states[:, k], states[:, k + 1], kept = _settle(states[:, k], block, states[:, k + 1])
            present = kept < MISSING
            inserted[:, k] = present.sum(axis=1)
            used = np.broadcast_to(weights[:, None], kept.shape)[present]
            insert[k] = np.bincount(kept[present], used, len(residues_of)) @ residues_of
    # what hmmbuild does, too: the last residue of a fragment is not counted
    ends = (states[:, 1:] == MISSING) & (inserted == 0)
    match = np.zeros((length, alphabet.size))
    for k in range(1, length + 1):
        present = (states[:, k] < MISSING) & ~ends[:, k]
        match[k - 1] = np.bincount(states[present, k], weights[present], len(residues_of)) @ residues_of
    return Counts(match, insert, _transition_counts(states, inserted, weights))


def shares(alphabet: Alphabet) -> Array:
    """[codes, K]: a residue counts for itself, an ambiguous one in equal parts for those it may be."""
    expand = alphabet.expand.astype(float)
    return expand / np.maximum(expand.sum(axis=1, keepdims=True), 1)


def _settle(
    left: NDArray[np.uint8], block: NDArray[np.uint8], right: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Moves the outer residues of insertions [sequences, columns] into gaps [sequences] beside them; changed copies."""
    left, right, kept = left.copy(), right.copy(), block.copy()
    for side, step in ((left, 1), (right, -1)):
        present = (kept < MISSING)[:, ::step]
        moving = np.flatnonzero((side == GAP) & present.any(axis=1))
        where = present[moving].argmax(axis=1)
        facing = kept[:, ::step]
        side[moving] = facing[moving, where]
        facing[moving, where] = GAP
    return left, right, kept


def _transition_counts(states: NDArray[np.uint8], inserted: NDArray[np.intp], weights: Array) -> Array:
    """[length + 1, 7] from the states of begin, nodes and end [sequences, length + 2] and the numbers of residues
    between them [sequences, length + 1].
    """
    is_match, is_delete = states < MISSING, states == GAP
    from_m, to_m, from_d, to_d = is_match[:, :-1], is_match[:, 1:], is_delete[:, :-1], is_delete[:, 1:]
    opened = inserted > 0
    result = np.zeros((inserted.shape[1], 7))
    for column, used in (
        (MM, from_m & ~opened & to_m),
        (MI, from_m & opened),
        (MD, from_m & ~opened & to_d),
        (IM, opened & to_m),
        (II, np.maximum(inserted - 1, 0)),
        (DM, from_d & ~opened & to_m),
        (DD, from_d & ~opened & to_d),
    ):
        result[:, column] = weights @ used
    return result


def estimate(counts: Counts, alphabet: Alphabet, prior: Prior, name: str) -> Profile:
    """Mean posterior estimates of all probabilities, with consensus and composition."""
    match = prior.match.mean_posterior(counts.match)
    insert = prior.insert.mean_posterior(counts.insert)
    t = counts.transitions
    from_match = prior.from_match.mean_posterior(t[:, MM : MD + 1])
    from_insert = prior.from_insert.mean_posterior(t[:, IM : II + 1])
    from_delete = prior.from_delete.mean_posterior(t[:, DM : DD + 1])
    # there is no delete state 0, and none follows the last node
    from_match[-1, MD] = 0.0
    from_match[-1] /= from_match[-1].sum()
    from_delete[[0, -1]] = 1.0, 0.0
    profile = Profile(name, alphabet, match, insert, np.hstack([from_match, from_insert, from_delete]))
    return replace(profile, consensus=consensus_of(match, alphabet), composition=composition_of(profile))


def consensus_of(match: Array, alphabet: Alphabet) -> str:
    """The likeliest residue of each match state, a capital where it is conserved."""
    letters = (alphabet.letters[i] for i in match.argmax(axis=1))
    strong = match.max(axis=1) >= _CONSERVED[alphabet.name]
    return "".join(letter if s else letter.lower() for letter, s in zip(letters, strong, strict=True))


def composition_of(profile: Profile) -> Array:
    """Residue frequencies of what the profile emits, [K]."""
    t = profile.transitions
    in_match = occupancy(profile)
    in_insert = np.append(1.0, in_match) * t[:, MI] / t[:, IM]
    emitted = in_match @ profile.match + in_insert @ profile.insert
    return emitted / emitted.sum()


def relative_entropy(match: Array, alphabet: Alphabet) -> float:
    """Mean over match states of their relative entropy to the background, bits."""
    return float(np.mean(np.sum(match * np.log2(match / alphabet.background), axis=1)))


def effective_number(match: Array, sequences: int, alphabet: Alphabet, prior: Prior) -> float:
    """The number of sequences to which counts [length, K] of emissions are scaled, at most that of all, such that the
    match states have the alphabet's target of mean relative entropy.
    """
    length = len(match)
    target = max(_ENTROPY_TARGETS[alphabet.name], (_LEAST_BITS + np.log2(length * (length + 1) / 2)) / length)

    def excess(number: float) -> float:
        return relative_entropy(prior.match.mean_posterior(match * (number / sequences)), alphabet) - target

    low, high = 0.0, float(sequences)
    if excess(high) <= 0:
        return high
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    return (low + high) / 2


def max_length(profile: Profile) -> int:
    """The length that what the profile emits exceeds with a probability of `_LONGER` only."""
    t = profile.transitions
    m, d, i = np.zeros(profile.length + 1), np.zeros(profile.length + 1), np.zeros(profile.length + 1)
    m[0] = 1.0  # begin; the arrays hold, per node, the probability of being there after so many residues
    emitted, ended = 0, 0.0
    while True:
        for k in range(1, profile.length + 1):  # delete states emit nothing
            d[k] = m[k - 1] * t[k - 1, MD] + d[k - 1] * t[k - 1, DD]
        ended += m[-1] * t[-1, MM] + i[-1] * t[-1, IM] + d[-1] * t[-1, DM]
        if 1.0 - ended <= _LONGER or emitted >= 20 * profile.length + 1000:
            return max(emitted, profile.length)
        onward = m * t[:, MM] + i * t[:, IM] + d * t[:, DM]
        i = m * t[:, MI] + i * t[:, II]
        m = np.concatenate([[0.0], onward[:-1]])
        d = np.zeros_like(d)
        emitted += 1
