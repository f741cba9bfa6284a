"""Searching proteins with profiles: scores, filters, significance.

Profiles are searched in groups and sequences are read in chunks, once for every group, so that memory grows with the
hits of a group and neither with the profiles nor with the sequences. Within a chunk sequences of like length go
together, in batches of one shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from ..hmm.chain import Parse, forward_scores, length_model, pad_length, parse
from ..hmm.ungapped import ungapped_scores
from ..runtime import call_devices, return_memory
from .domains import Found, each_parse, find_domains
from .hits import DomainHit, Hit, QueryResult, Thresholds, check, passes, report
from .plan7 import SearchModel, pad_sequences, padded_time
from .profile import Profile
from .sequences import Sequence as Target
from .statistics import bias_correction, composition_score, gumbel_survival, log_survival, null_score

_LN2 = math.log(2)
#: P-value of the ungapped score up to which the forward score is computed
_UNGAPPED_PVALUE = 0.02
#: P-value of the forward score below which a sequence is looked at closely
_FORWARD_PVALUE = 1e-5
#: bits by which the sum over domains may exceed the forward score: their flanks are those of a single hit, which cost
#: at most (1 - log 9/8) nat less, and with more domains the forward score gains more
_DOMAINS_ADD = 1.3
#: nodes of the profiles that are searched together
_NODES = 1 << 16
#: residues of a chunk of sequences, a short one counted as if it had so many
_CHUNK = 1 << 21
_LEAST = 256
_BATCH = 16
#: batches whose domains are found together
_TOGETHER = 8
#: sequences up to this share a shape; those longer than the other go alone
_SHORT, _LONG = 2048, 8192


@dataclass(frozen=True)
class Settings:
    """How to search.

    Attributes:
        filters: pass over sequences whose ungapped score, and then those whose forward score is nothing special.
        bias_filter: hold that score against the profile's mean composition.
        null2: correct scores for biased composition.
    """

    filters: bool = True
    bias_filter: bool = True
    null2: bool = True


class _Worth(NamedTuple):
    """Whether a score may yet be reported when there are at least so many targets."""

    limits: Thresholds
    targets: float
    statistics: tuple[float, float]

    def __call__(self, bits: float) -> bool:
        log_pvalue = log_survival(bits, self.statistics)
        return passes(log_pvalue, bits, self.targets, self.limits.evalue, self.limits.score)


class _Batch(NamedTuple):
    """Sequences of like length: their numbers in the chunk, codes [batch, time] and lengths [batch]."""

    numbers: list[int]
    codes: NDArray[np.uint8]
    lengths: NDArray[np.int32]


def search_proteins(
    profiles: Iterable[Profile],
    proteins: Iterable[Target],
    thresholds: Thresholds | None = None,
    settings: Settings | None = None,
) -> Iterator[QueryResult]:
    """Searches sequences with profiles, as hmmsearch does.

    Args:
        profiles: calibrated, of one alphabet; read in groups.
        proteins: sequences coded in that alphabet, gone through once for each group of profiles: a list or a
            `SequenceFile`. An iterator is kept in memory.
        thresholds: what is reported; by default as hmmsearch.
        settings: filters and corrections.

    Yields:
        A result for each profile, in their order.

    Raises:
        UsageError: a profile that lacks statistics or the scores asked for.
    """
    thresholds, settings = thresholds or Thresholds(), settings or Settings()
    again = readable_again(proteins)
    pool = ThreadPoolExecutor(len(call_devices()))
    try:
        for group in groups(profiles):
            yield from _search_group(group, again, thresholds, settings, pool)
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt waits for what is under way, not for all that is to come


def readable_again(targets: Iterable[Target]) -> Iterable[Target]:
    """The same, to be gone through any number of times."""
    return list(targets) if isinstance(targets, Iterator) else targets


def groups(profiles: Iterable[Profile]) -> Iterator[list[Profile]]:
    """Consecutive profiles, as many as are searched together."""
    group: list[Profile] = []
    nodes = 0
    for profile in profiles:
        group.append(profile)
        nodes += pad_length(profile.length)
        if nodes >= _NODES:
            yield group
            group, nodes = [], 0
    if group:
        yield group


def _search_group(
    profiles: list[Profile],
    proteins: Iterable[Target],
    thresholds: Thresholds,
    settings: Settings,
    pool: ThreadPoolExecutor,
) -> list[QueryResult]:
    check(profiles, thresholds)
    models = [SearchModel(profile) for profile in profiles]
    hits: list[list[Hit]] = [[] for _ in profiles]
    devices = call_devices()
    sequences = residues = 0
    for chunk in _chunks(proteins):
        sequences += len(chunk)
        residues += sum(len(s.codes) for s in chunk)
        filled = (i for i, target in enumerate(chunk) if len(target.codes))
        batches = _batches(chunk, filled, models[0].padding)
        # how many there are is known at the end only: no fewer than so far
        so_far = sequences if thresholds.targets is None else thresholds.targets
        shares = [(device, batches[turn :: len(devices)]) for turn, device in enumerate(devices)]
        worth = [_Worth(thresholds.of(p), so_far, p.statistics["FORWARD"]) for p in profiles]
        tasks = [
            (number, pool.submit(_search, model, chunk, share, device, settings, worth[number]))
            for number, model in enumerate(models)
            for device, share in shares
        ]
        for number, task in tasks:
            hits[number] += task.result()
            return_memory()
    return [report(*pair, thresholds, sequences, residues) for pair in zip(profiles, hits, strict=True)]


def _chunks(proteins: Iterable[Target]) -> Iterator[list[Target]]:
    chunk: list[Target] = []
    size = 0
    for protein in proteins:
        chunk.append(protein)
        size += max(len(protein.codes), _LEAST)
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _batches(chunk: Sequence[Target], numbers: Iterable[int], padding: int) -> list[_Batch]:
    """Sequences of a chunk in batches of like length, the longest first.

    All but the very long are padded to one length, whichever they are: what is compiled does not depend on the profile.
    """
    order = sorted(numbers, key=lambda i: len(chunk[i].codes))
    shared = max((len(s.codes) for s in chunk if len(s.codes) <= _LONG), default=0)
    batches = []
    while order:
        size = _batch_size(len(chunk[order[-1]].codes))
        order, taken = order[:-size], order[-size:]
        time = padded_time(max(_SHORT, shared, len(chunk[taken[-1]].codes)))
        batches.append(_Batch(taken, *pad_sequences([chunk[i].codes for i in taken], size, time, padding)))
    return batches


def _batch_size(length: int) -> int:
    return 1 if length > _LONG else _BATCH


def _search(
    model: SearchModel,
    chunk: Sequence[Target],
    batches: list[_Batch],
    device: jax.Device,
    settings: Settings,
    worth: _Worth,
) -> list[Hit]:
    """The hits of one profile among some sequences that may be reported."""
    with jax.default_device(device):
        model = model.on_device()
        hits = []
        promising = _promising(model, chunk, batches, settings, worth)
        for some in (promising[i : i + _TOGETHER] for i in range(0, len(promising), _TOGETHER)):
            parses: list[Parse] = []
            for batch in some:
                flanks = length_model(batch.lengths, multihit=True)
                parses += each_parse(parse(model.chain, flanks, batch.codes, batch.lengths), len(batch.numbers))
            targets = [chunk[i] for batch in some for i in batch.numbers]
            found = find_domains(model, [t.codes for t in targets], parses)
            for target, f, p in zip(targets, found, parses, strict=True):
                if f.domains and worth((hit := _hit(model.profile, target, float(p.score), f, settings)).score):
                    hits.append(hit)
        return hits


def _promising(
    model: SearchModel, chunk: Sequence[Target], batches: list[_Batch], settings: Settings, worth: _Worth
) -> list[_Batch]:
    """Batches of the sequences that pass the filters and whose score, whatever their domains, may be reported."""
    statistics = model.profile.statistics["FORWARD"]
    threshold = math.log(_FORWARD_PVALUE)
    if settings.filters and "MSV" in model.profile.statistics:  # a file may lack it
        batches = _similar(model, chunk, batches)
    chosen = []
    for number, nats in _scores(batches, partial(forward_scores, model.chain)):
        codes = chunk[number].codes
        null = null_score(len(codes))
        if not worth((nats - null) / _LN2 + _DOMAINS_ADD):
            continue
        if settings.filters and settings.bias_filter:
            # the composition's model may be worse than the plain one, by leaving its background state
            slack = len(codes) / 400 + 0.01
            if log_survival((nats - null + slack) / _LN2, statistics) > threshold:
                continue
            null += composition_score(model.profile, codes)
        if settings.filters and log_survival((nats - null) / _LN2, statistics) > threshold:
            continue
        chosen.append(number)
    return _batches(chunk, chosen, model.padding)


def _similar(model: SearchModel, chunk: Sequence[Target], batches: list[_Batch]) -> list[_Batch]:
    """Batches of the sequences that some ungapped stretches make worth a closer look."""
    statistics = model.profile.statistics["MSV"]
    chosen = []
    for number, nats in _scores(batches, partial(ungapped_scores, model.log_odds, np.float32(model.size))):
        bits = (nats - null_score(len(chunk[number].codes))) / _LN2
        if gumbel_survival(bits, statistics) <= _UNGAPPED_PVALUE:
            chosen.append(number)
    return _batches(chunk, chosen, model.padding)


def _scores(batches: list[_Batch], score: Callable[..., jax.Array]) -> Iterator[tuple[int, float]]:
    """Each sequence's number in the chunk and its multihit score in nat."""
    scores = [score(length_model(b.lengths, multihit=True), b.codes, b.lengths) for b in batches]
    for batch, values in zip(batches, jax.device_get(scores), strict=True):
        yield from zip(batch.numbers, values.tolist(), strict=False)


def _hit(profile: Profile, target: Target, forward: float, found: Found, settings: Settings) -> Hit:
    """Scores of a sequence from that of the whole and those of its domains, in nat."""
    length = len(target.codes)
    null = null_score(length)
    statistics = profile.statistics["FORWARD"]
    flank = math.log(length / (length + 3))

    def correction(log_odds: float) -> float:
        return bias_correction(log_odds) if settings.null2 else 0.0

    bias = correction(found.bias)
    raw = forward
    # domains that their own composition does not explain
    real = [d for d in found.domains if d.score - (d.bias if settings.null2 else 0.0) > 0]
    covered = sum(d.envelope[1] - d.envelope[0] for d in real)
    total = sum(d.score for d in real) + (length - covered) * flank
    total_bias = correction(sum(d.bias for d in real))
    if covered > 0 and total - total_bias > raw - bias:
        raw, bias = total, total_bias
    score = (raw - bias - null) / _LN2
    domains = []
    for d in found.domains:
        rest = length - (d.envelope[1] - d.envelope[0])
        domain_bias = correction(d.bias)
        bits = (d.score + rest * flank - null - domain_bias) / _LN2
        domains.append(DomainHit(d, bits, domain_bias / _LN2, log_survival(bits, statistics)))
    return Hit(
        target.id,
        target.description,
        length,
        (forward - null) / _LN2,
        score,
        bias / _LN2,
        log_survival(score, statistics),
        tuple(domains),
        found.expected,
        found.regions,
        found.resolved,
        found.overlaps,
        len(found.domains),
    )
