"""Aligning sequences to a profile, laid out as HMMER's hmmalign does.

Each sequence is aligned by itself, once and locally, along the path of maximum expected accuracy. Match states are
the consensus columns; between them stand insertions, which are not aligned to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..hmm.chain import Chain, Posteriors, length_model, posteriors
from ..hmm.chain_paths import optimal_accuracy
from .msa import Alignment
from .plan7 import Mode, SearchModel, configure, pad_sequences, padded_time
from .profile import Alphabet, Codes, Mixtures, Profile
from .sequences import Sequence as Record
from .weights import GAP

#: cells (positions x sequences x nodes) that are computed at once
_CELLS = 1 << 22
_LARGEST_BATCH = 128
#: probabilities of a position add up to 1 within this, or are not believed
_EXCESS = 0.05
#: those for a group: the second where the first underflows
_MODES: tuple[Mode, Mode] = ("glocal", "local")
#: nat against a residue that a profile forbids, in a column of several
_WORST = 20.0


class Path(NamedTuple):
    """Where the residues of one sequence stand.

    Attributes:
        node: [residues] int32: of a match state 1..M, or the node after which a residue is inserted, 0..M. What
            precedes the aligned part is inserted after 0, what follows it after M.
        is_match: [residues] bool.
        posterior: [residues] float32 probability of just that.
    """

    node: NDArray[np.int32]
    is_match: NDArray[np.bool_]
    posterior: NDArray[np.float32]


def align_paths(
    profile: Profile,
    sequences: Sequence[Codes],
    mode: Mode = "local",
    mixtures: Sequence[Mixtures] | None = None,
) -> list[Path]:
    """The paths of sequences through a profile, in their order; ``*`` is aligned as an unknown residue.

    Args:
        profile: to align to.
        sequences: codes in its alphabet.
        mode: "glocal" paths span the whole profile; a sequence that is too far from that is aligned locally.
        mixtures: what the residues stand for, in whose place match states score (`context`); None for themselves.
    """
    chain = configure(profile, mode)
    alphabet = profile.alphabet
    sequences = without_stops(sequences, alphabet)
    paths: list[Path | None] = [None] * len(sequences)
    lost = []
    for members, codes, lengths in batches(sequences, chain):
        emitted: tuple[Chain, NDArray[np.integer]] = (chain, codes)
        if mixtures is not None:
            emitted = _of_places(chain, [mixtures[i] for i in members], codes.shape)
        node, is_match, posterior, sound = (np.asarray(x) for x in _decode(*emitted, lengths))
        for row, i in enumerate(members):
            n = lengths[row]
            if not sound[row]:
                lost.append(i)
            inserted_after = _close_flanks(node[row, :n], profile.length)
            paths[i] = Path(inserted_after, is_match[row, :n], posterior[row, :n])
    if lost and mode == "glocal":
        left = None if mixtures is None else [mixtures[i] for i in lost]
        for i, path in zip(lost, align_paths(profile, [sequences[i] for i in lost], "local", left), strict=True):
            paths[i] = path
    return paths  # type: ignore[return-value]


def _of_places(chain: Chain, mixtures: Sequence[Mixtures], shape: tuple[int, ...]) -> tuple[Chain, NDArray[np.integer]]:
    """A chain with a code for every place of a batch [sequences, time], and these codes.

    Its match states emit by the odds of what stands there.
    """
    batch, time = shape
    residues = mixtures[0].shape[1]
    odds = np.zeros((batch, time, chain.enter.shape[-1]), np.float32)
    for row, mixture in zip(odds, mixtures, strict=False):
        row[: len(mixture)] = mixture @ chain.match[:residues]
    places = batch * time
    inserted = np.ones(places, np.float32)
    codes = np.arange(places, dtype=np.int32).reshape(shape)
    return chain._replace(match=odds.reshape(places, -1), insert=inserted), codes  # type: ignore[arg-type]


def without_stops(sequences: Sequence[Codes], alphabet: Alphabet) -> list[Codes]:
    """Sequences whose ``*`` are unknown residues."""
    return [np.where(codes > alphabet.unknown, alphabet.unknown, codes).astype(np.uint8) for codes in sequences]


@jax.jit
def _decode(chain: Chain, codes: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Node (0 in the flanks), whether its match state emits, and the probability of that, [batch, time]; and whether
    the probabilities of all positions add up to 1 [batch]: not where paths are so unlikely that numbers underflow.
    """
    flanks = length_model(lengths, multihit=False)
    post = posteriors(chain, flanks, codes, lengths)
    best = optimal_accuracy(chain, flanks, post, lengths)
    aligned = best.node > 0
    matched = aligned & ~best.inserted
    return best.node, matched, _probability(post, best.node, matched), _sound(post, lengths)


@jax.jit
def _judge(
    chain: Chain, codes: jax.Array, lengths: jax.Array, node: jax.Array, matched: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Probability of where residues stand, and whether it is to be believed, as in `_decode`."""
    post = posteriors(chain, length_model(lengths, multihit=False), codes, lengths)
    return _probability(post, node, matched), _sound(post, lengths)


def _probability(post: Posteriors, node: jax.Array, matched: jax.Array) -> jax.Array:
    """[batch, time] of match states and insertions after `node`; of the flanks where that is 0."""
    place = jnp.maximum(node - 1, 0).T[..., None]

    def at_node(values: jax.Array) -> jax.Array:
        return jnp.take_along_axis(values, place, axis=2)[..., 0].T

    inner = jnp.where(matched, at_node(post.match), at_node(post.insert))
    return jnp.where(node > 0, inner, jnp.sum(post.outside, axis=-1).T)


def _sound(post: Posteriors, lengths: jax.Array) -> jax.Array:
    total = jnp.sum(post.match, axis=-1) + jnp.sum(post.insert, axis=-1) + jnp.sum(post.outside, axis=-1)
    sound = (jnp.abs(total - 1) < _EXCESS) | (jnp.arange(len(total))[:, None] >= lengths)
    return jnp.all(sound, axis=0)


def judged(profile: Profile, sequences: Sequence[Codes], paths: Sequence[Path]) -> list[Path]:
    """The paths with the probabilities that a profile gives them; 0 for those that are no paths through it.

    Args:
        profile: M match states.
        sequences: codes in its alphabet.
        paths: of the sequences.
    """
    result = list(paths)
    sequences = without_stops(sequences, profile.alphabet)
    left = np.arange(len(paths))
    for mode in _MODES:
        chain = configure(profile, mode)
        lost: list[int] = []
        for members, codes, lengths in batches([sequences[int(i)] for i in left], chain):
            node = np.zeros(codes.shape, np.int32)
            matched = np.zeros(codes.shape, bool)
            for row, i in enumerate(left[members]):
                inside = paths[i].is_match | (paths[i].node < profile.length)
                node[row, : lengths[row]] = np.where(inside, paths[i].node, 0)
                matched[row, : lengths[row]] = paths[i].is_match
            posterior, sound = (np.asarray(x) for x in _judge(chain, codes, lengths, node, matched))
            for row, i in enumerate(left[members]):
                result[i] = paths[i]._replace(posterior=posterior[row, : lengths[row]])
            lost += [int(i) for row, i in enumerate(left[members]) if not sound[row]]
        left = np.array(lost, np.intp)
        if not lost:
            break
    return result


def align_group(profile: Profile, rows: NDArray[np.uint8]) -> list[Path]:
    """The paths of sequences that are aligned to each other already, as if they were one sequence.

    A column emits like the geometric mean of its residues. Where sequences hold a profile several times, all of them
    take the same copy.

    Args:
        profile: to align to.
        rows: [sequences, columns] codes with `GAP`.
    """
    columns = rows.shape[1]
    lengths = np.array([columns], np.int32)
    for mode in _MODES:
        model = SearchModel(profile, mode)
        log_match = np.maximum(model.log_odds, -_WORST)
        log_odds = np.zeros((padded_time(columns), model.width), np.float32)
        for row in rows:
            there = row != GAP
            log_odds[:columns][there] += log_match[np.minimum(row[there], profile.alphabet.unknown)]
        chain = model.chain._replace(match=np.exp(log_odds / len(rows)))  # type: ignore[arg-type]
        codes = np.arange(len(log_odds), dtype=np.int32)[None]
        node, is_match, posterior, sound = (np.asarray(x)[0] for x in _decode(chain, codes, lengths))
        if sound:
            break
    paths = []
    for row in rows:
        there = np.flatnonzero(row != GAP)
        paths.append(Path(_close_flanks(node[there], profile.length), is_match[there], posterior[there]))
    return paths


def _close_flanks(node: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """0 before the first residue that a node emits, and M behind the last."""
    aligned = np.flatnonzero(node)
    if not len(aligned):
        return np.zeros_like(node)
    node = node.copy()
    node[aligned[-1] + 1 :] = size
    return node


def batches(
    sequences: Sequence[Codes], chain: Chain
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint8], NDArray[np.int32]]]:
    """Sequences of similar lengths together, padded to few shapes.

    Yields:
        Their indices [members], codes [batch, time] and lengths [batch]; rows beyond the members have length 0.
    """
    sizes = np.array([len(s) for s in sequences])
    nodes = chain.enter.shape[-1]
    order = np.argsort(sizes, kind="stable")[::-1]
    at = 0
    while at < len(order):
        time = padded_time(int(sizes[order[at]]))
        batch = max(1, min(_LARGEST_BATCH, _CELLS // (time * nodes)))
        members = order[at : at + batch]
        yield members, *pad_sequences([sequences[i] for i in members], batch, time, chain.match.shape[0] - 1)
        at += batch


def lay_out(profile: Profile, records: Sequence[Record], paths: Sequence[Path], *, trim: bool = False) -> Alignment:
    """The multiple alignment that paths through a profile imply.

    Residues of match states are capitals, inserted ones small letters; gaps are ``-`` in consensus columns and ``.``
    between them. Insertions within the alignment stand half at the left and half at the right of their columns, those
    before it at the right, those behind it at the left.

    Args:
        profile: M columns.
        records: ids and codes.
        paths: of the records.
        trim: leave out what is aligned to no part of the profile.
    """
    size = profile.length
    n = len(records)
    kept = [_trimmed(path, size) if trim else np.ones(len(path.node), bool) for path in paths]
    inserted = np.zeros((n, size + 1), np.int32)
    for i, (path, keep) in enumerate(zip(paths, kept, strict=True)):
        inserted[i] = np.bincount(path.node[keep & ~path.is_match], minlength=size + 1)
    widths = inserted.max(axis=0, initial=0)
    starts = np.concatenate([[0], np.cumsum(widths[:-1] + 1)])  # of the columns inserted after each node
    match_columns = starts[1:] - 1
    total = int(starts[-1] + widths[-1])
    rows = np.full((n, total), ord("."), np.uint8)
    rows[:, match_columns] = ord("-")
    posteriors = np.full((n, total), ord("."), np.uint8)
    mean, present = np.zeros(size), np.zeros(size)
    symbols = profile.alphabet.symbols
    upper, lower = (np.frombuffer(s.encode(), np.uint8) for s in (symbols, symbols.lower()))
    for i, (record, path, keep) in enumerate(zip(records, paths, kept, strict=True)):
        codes, node, is_match = record.codes[keep], path.node[keep], path.is_match[keep]
        columns = np.where(is_match, match_columns[np.maximum(node - 1, 0)], 0)
        loose = ~is_match
        columns[loose] = starts[node[loose]] + _places(node[loose], inserted[i], widths, size)
        rows[i, columns] = np.where(is_match, upper[codes], lower[codes])
        posteriors[i, columns] = encode_posteriors(path.posterior[keep])
        mean[node[is_match] - 1] += path.posterior[keep][is_match]
        present[node[is_match] - 1] += 1
    line = np.full(total, ord("."), np.uint8)
    line[match_columns] = np.where(present > 0, encode_posteriors(mean / np.maximum(present, 1)), ord("."))
    rf = np.full(total, ord("."), np.uint8)
    rf[match_columns] = np.frombuffer((profile.rf or "x" * size).encode(), np.uint8)
    return Alignment(
        tuple(record.id for record in records),
        rows,
        tuple(record.description for record in records),
        {"PP_cons": line.tobytes().decode(), "RF": rf.tobytes().decode()},
        posteriors,
    )


def _trimmed(path: Path, size: int) -> NDArray[np.bool_]:
    return path.is_match | ((path.node > 0) & (path.node < size))


def _places(
    node: NDArray[np.int32], inserted: NDArray[np.int32], widths: NDArray[np.int32], size: int
) -> NDArray[np.int32]:
    """Columns of a sequence's inserted residues (in order, with their nodes) within those of their insertions."""
    first = np.searchsorted(node, node)  # of each insertion among the residues
    rank = np.arange(len(node)) - first
    count, width = inserted[node], widths[node]
    left = np.where(node == 0, 0, np.where(node == size, count, count // 2))
    return np.where(rank < left, rank, width - count + rank)


def encode_posteriors(probabilities: NDArray[np.floating]) -> NDArray[np.uint8]:
    """ASCII of posterior probabilities as in Stockholm's PP lines: ``0`` for 0-5 %, ``1`` for 5-15 %, ... ``*``."""
    digits = ((probabilities + 0.05) * 10).astype(np.int32)
    return np.where(digits >= 10, ord("*"), ord("0") + digits).astype(np.uint8)
