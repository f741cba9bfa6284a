"""Domains of a sequence: where it matches a profile, how well, and aligned how, decided as HMMER3 does it.

Posterior probabilities of the whole sequence give regions; a region of one domain is its envelope, one of several is
resolved by `ensemble`. Every envelope is scored by itself with a model of one hit, and aligned for optimal accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..hmm.chain import Chain, Flanks, Parse, length_model, posteriors
from ..hmm.chain_paths import Paths, optimal_accuracy
from .ensemble import Ensemble, resolve
from .plan7 import SearchModel, pad_sequences, padded_time

#: a region holds a position that is in a domain with this probability ...
_TRIGGER = 0.25
#: ... and reaches to where less than this would be in it had it not begun or ended there
_EXTENT = 0.10
#: a region is resolved if so many domains are expected to end in it before others begin
_SEVERAL = 0.20
#: states (time x length x batch) whose posteriors are kept at a time
_CELLS = 1 << 20
_BATCH = 8
#: shortest padded length of an envelope that is aligned
_ALIGNED = 512
#: and of a region that is resolved: long enough for nearly all, so that nothing is compiled for a longer one
_REGION = 2048
#: regions that are resolved side by side, and states (time x length x batch) whose rows are kept for that
_REGIONS = 32
_SAMPLED = 1 << 21


@dataclass(frozen=True, eq=False)
class Domain:
    """One match of a profile; positions are 0-based and half-open.

    Attributes:
        envelope: (start, end) in the sequence, where the match probably is.
        score: forward score of the envelope in nat, its flanks inside the envelope included.
        bias: log of the odds, in nat, of its residues under a null model of the match's own composition.
        accuracy: expected number of rightly aligned residues.
        start: of the alignment in the sequence.
        codes: [aligned residues] of the sequence.
        node: [aligned residues] node of the profile that each emits, from 1.
        inserted: [aligned residues] by its insert state.
        probability: [aligned residues] posterior probability of that.
    """

    envelope: tuple[int, int]
    score: float
    bias: float
    accuracy: float
    start: int
    codes: NDArray[np.uint8]
    node: NDArray[np.int32]
    inserted: NDArray[np.bool_]
    probability: NDArray[np.float32]

    @property
    def end(self) -> int:
        """Of the alignment in the sequence."""
        return self.start + len(self.node)

    @property
    def profile_span(self) -> tuple[int, int]:
        """First and last node aligned, 0-based half-open."""
        return int(self.node[0]) - 1, int(self.node[-1])


class Found(NamedTuple):
    """The domains of a sequence.

    Attributes:
        domains: by position.
        bias: sum over the sequence of the residues' log odds under the null models of its domains, in nat.
        expected: expected number of domains.
        regions, resolved: regions, and those of several domains.
        overlaps: envelopes that begin before the one before them ends.
    """

    domains: list[Domain]
    bias: float
    expected: float
    regions: int
    resolved: int
    overlaps: int


class Envelope(NamedTuple):
    """A stretch of a sequence (by its number) to be scored as one domain.

    Attributes:
        null2: [length] log odds of its residues under a null model, if they are known before it is aligned.
    """

    sequence: int
    start: int
    end: int
    null2: NDArray[np.float64] | None


class Envelopes(NamedTuple):
    """Of some sequences: all envelopes by position; for each sequence the summed log odds of its resolved regions'
    residues under null models [n], and the numbers of regions, resolved regions and overlaps [n, 3].
    """

    found: list[Envelope]
    bias: NDArray[np.float64]
    counts: NDArray[np.intp]


def find_domains(model: SearchModel, sequences: Sequence[NDArray[np.uint8]], parses: Sequence[Parse]) -> list[Found]:
    """The domains of sequences.

    Args:
        model: the profile.
        sequences: [length] codes each.
        parses: of each sequence, as from `each_parse`.
    """
    envelopes, bias, counts = find_envelopes(model, sequences, parses)
    domains: list[list[Domain]] = [[] for _ in sequences]
    for envelope, domain in zip(envelopes, _score(model, sequences, envelopes), strict=True):
        domains[envelope.sequence].append(domain)
        if envelope.null2 is None:
            bias[envelope.sequence] += domain.bias
    return [
        Found(domains[number], float(bias[number]), float(parses[number].begin.sum()), *counts[number].tolist())
        for number in range(len(sequences))
    ]


def each_parse(parse: Parse, sequences: int) -> list[Parse]:
    """Those of the first sequences of a batch apart, numpy arrays [time]."""
    fetched = jax.device_get(parse)
    return [Parse(*(x[number] for x in fetched)) for number in range(sequences)]


def find_envelopes(model: SearchModel, sequences: Sequence[NDArray[np.uint8]], parses: Sequence[Parse]) -> Envelopes:
    """Where the domains of sequences are; arguments as for `find_domains`."""
    found: list[Envelope] = []
    several: list[int] = []
    for number, (codes, parse) in enumerate(zip(sequences, parses, strict=True)):
        begin, end, outside = (np.asarray(x)[: len(codes)] for x in parse[1:])
        for start, stop in regions(begin, end, outside):
            if has_several(begin[start:stop], end[start:stop]):
                several.append(len(found))
            found.append(Envelope(number, start, stop, None))
    ensembles = _resolve(model, sequences, [found[i] for i in several])
    resolved = dict(zip(several, ensembles, strict=True))
    envelopes: list[Envelope] = []
    bias = np.zeros(len(sequences))
    counts = np.zeros((len(sequences), 3), int)
    for i, region in enumerate(found):
        number, start, *_ = region
        counts[number, 0] += 1
        if i not in resolved:
            envelopes.append(region)
            continue
        parts, null2 = resolved[i]
        counts[number, 1] += 1
        counts[number, 2] += sum(b[0] < a[1] for a, b in pairwise(parts))
        bias[number] += null2.sum()
        envelopes += [Envelope(number, start + a, start + b, null2[a:b]) for a, b in parts]
    return Envelopes(envelopes, bias, counts)


def _resolve(model: SearchModel, sequences: Sequence[NDArray[np.uint8]], several: list[Envelope]) -> list[Ensemble]:
    """What paths say of regions of several domains, in batches of like length."""
    found: dict[int, Ensemble] = {}
    order = sorted(range(len(several)), key=lambda i: several[i].end - several[i].start)
    while order:
        longest = several[order[-1]].end - several[order[-1]].start
        time = max(_REGION, padded_time(longest))
        batch = min(_REGIONS, max(1, _SAMPLED // (time * model.width)))
        order, chosen = order[:-batch], order[-batch:]
        these = [several[i] for i in chosen]
        codes = [sequences[e.sequence][e.start : e.end] for e in these]
        whole = [len(sequences[e.sequence]) for e in these] + [1] * (batch - len(these))
        flanks = length_model(np.array(whole), multihit=True)
        found.update(
            zip(chosen, resolve(model, flanks, *pad_sequences(codes, batch, time, model.padding)), strict=True)
        )
    return [found[i] for i in range(len(several))]


def _score(model: SearchModel, sequences: Sequence[NDArray[np.uint8]], envelopes: list[Envelope]) -> list[Domain]:
    """A domain for each envelope, in batches of like length."""
    found: dict[int, Domain] = {}
    order = sorted(range(len(envelopes)), key=lambda i: envelopes[i].end - envelopes[i].start)
    while order:
        time = max(_ALIGNED, padded_time(envelopes[order[0]].end - envelopes[order[0]].start))
        batch = _BATCH if time * _BATCH * model.width <= _CELLS else 1
        chosen = [i for i in order[:batch] if envelopes[i].end - envelopes[i].start <= time]
        order = order[len(chosen) :]
        these = [envelopes[i] for i in chosen]
        codes = [sequences[e.sequence][e.start : e.end] for e in these]
        whole = [len(sequences[e.sequence]) for e in these]
        found.update(zip(chosen, _align_batch(model, model.chain, these, codes, whole, batch, time), strict=True))
    return [found[i] for i in range(len(envelopes))]


def align(model: SearchModel, chain: Chain, codes: NDArray[np.uint8], start: int) -> Domain:
    """The domain of one envelope, as if it were the whole sequence.

    Args:
        model: the profile.
        chain: its parameters, which may have emissions of their own.
        codes: [length] of the envelope.
        start: of the envelope, for the domain's positions.
    """
    envelope = Envelope(0, start, start + len(codes), None)
    return _align_batch(model, chain, [envelope], [codes], [len(codes)], 1, padded_time(len(codes)))[0]


def _align_batch(
    model: SearchModel,
    chain: Chain,
    envelopes: list[Envelope],
    codes: list[NDArray[np.uint8]],
    whole: list[int],
    batch: int,
    time: int,
) -> list[Domain]:
    """The domains of envelopes with these codes, which are parts of sequences of these lengths."""
    padded, lengths = pad_sequences(codes, batch, time, model.padding)
    flanks = length_model(np.array(whole + [1] * (batch - len(whole))), multihit=False)
    score, null2, paths, probability = jax.device_get(_align(chain, flanks, padded, lengths, model.average))
    domains = []
    for row, envelope in enumerate(envelopes):
        log_odds = np.log(null2[row, codes[row]]) if envelope.null2 is None else envelope.null2
        aligned = np.flatnonzero(paths.node[row, : len(codes[row])])
        span = slice(aligned[0], aligned[-1] + 1)
        domains.append(
            Domain(
                (envelope.start, envelope.end),
                float(score[row]),
                float(log_odds.sum()),
                float(paths.score[row]),
                envelope.start + int(aligned[0]),
                codes[row][span].copy(),
                paths.node[row, span].copy(),
                paths.inserted[row, span].copy(),
                probability[row, span].copy(),
            )
        )
    return domains


@jax.jit
def _align(
    chain: Chain, flanks: Flanks, codes: jax.Array, lengths: jax.Array, average: jax.Array
) -> tuple[jax.Array, jax.Array, Paths, jax.Array]:
    """Score [batch] of envelopes, odds of all codes under their null models [batch, codes], alignments, and the
    posterior probability of each residue's place [batch, time].
    """
    posterior = posteriors(chain, flanks, codes, lengths)
    paths = optimal_accuracy(chain, flanks, posterior, lengths)
    weight = 1 / jnp.maximum(lengths, 1)
    matched = jnp.sum(posterior.match, axis=0) * weight[:, None]
    as_background = (jnp.sum(posterior.insert, axis=(0, 2)) + jnp.sum(posterior.outside, axis=(0, 2))) * weight
    # every letter's odds are the mean of its residues'; that which is no residue has odds of 1
    null2 = jnp.matmul(matched, average.T, precision="highest") + as_background[:, None]
    rows, columns = jnp.arange(codes.shape[1])[:, None], jnp.arange(len(codes))
    place = jnp.maximum(paths.node.T - 1, 0)
    probability = jnp.where(
        paths.inserted.T, posterior.insert[rows, columns, place], posterior.match[rows, columns, place]
    )
    return posterior.score, null2, paths, probability.T


def regions(begin: NDArray, end: NDArray, outside: NDArray) -> Iterator[tuple[int, int]]:
    """Stretches (0-based half-open) that hold domains, from the probabilities in `Parse` of one sequence, [length]."""
    inside = 1 - outside
    may_start = inside - begin < _EXTENT
    may_end = np.flatnonzero(inside - end < _EXTENT)
    triggers = np.flatnonzero(inside >= _TRIGGER)
    position = 0
    while True:
        later = triggers[np.searchsorted(triggers, position) :]
        if not len(later):
            return
        trigger = int(later[0])
        starts = np.flatnonzero(may_start[position : trigger + 1])
        start = position + (int(starts[-1]) if len(starts) else 0)
        ends = may_end[np.searchsorted(may_end, trigger + 1) :]
        if not len(ends):
            return
        position = int(ends[0]) + 1
        yield start, position


def has_several(begin: NDArray, end: NDArray) -> bool:
    """Whether, somewhere in a region, one domain is expected to end before another begins."""
    ended = np.cumsum(end)
    to_begin = np.cumsum(begin[::-1])[::-1]
    return bool(np.max(np.minimum(ended, to_begin)) >= _SEVERAL)
