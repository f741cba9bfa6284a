"""Searching proteins with profiles: scores, filters, significance.

Sequences are read in chunks and every chunk is searched with all profiles, so that memory grows with the hits and not
with the sequences. Within a chunk sequences of like length go together, in batches of one shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..hmm.chain import Parse, forward_scores, length_model, parse
from .domains import Found, find_domains
from .hits import DomainHit, Hit, QueryResult, Thresholds, passes, report
from .plan7 import SearchModel, pad_sequences, padded_time
from .profile import Profile
from .sequences import Sequence as Target
from .statistics import bias_correction, composition_score, log_survival, null_score

_LN2 = math.log(2)
#: P-value of the forward score below which a sequence is looked at closely
_FORWARD_PVALUE = 1e-5
#: residues of a chunk of sequences
_CHUNK = 1 << 21
_BATCH = 16
#: sequences longer than this go alone
_LONG = 8192


@dataclass(frozen=True)
class Settings:
    """How to search.

    Attributes:
        filters: pass over sequences whose forward score is nothing special.
        bias_filter: hold that score against the profile's mean composition.
        null2: correct scores for biased composition.
    """

    filters: bool = True
    bias_filter: bool = True
    null2: bool = True


class _Batch(NamedTuple):
    """Sequences of like length: their numbers in the chunk, codes [batch, time] and lengths [batch]."""

    numbers: list[int]
    codes: NDArray[np.uint8]
    lengths: NDArray[np.int32]


def search_proteins(
    profiles: Sequence[Profile],
    proteins: Iterable[Target],
    thresholds: Thresholds = Thresholds(),  # noqa: B008  (immutable)
    settings: Settings = Settings(),
) -> list[QueryResult]:
    """Searches sequences with profiles, as hmmsearch does.

    Args:
        profiles: calibrated, of one alphabet.
        proteins: sequences coded in that alphabet; read once.
        thresholds: what is reported.
        settings: filters and corrections.

    Returns:
        A result for each profile.

    Raises:
        UsageError: a profile that lacks statistics or the scores asked for.
    """
    for profile in profiles:
        thresholds.of(profile)
        if "FORWARD" not in profile.statistics:
            raise UsageError(f"profile {profile.name} is not calibrated; build it anew with `lstmhmm profile build`")
    models = [SearchModel(profile) for profile in profiles]
    hits: list[list[Hit]] = [[] for _ in profiles]
    devices = jax.local_devices()
    sequences = residues = 0
    with ThreadPoolExecutor(len(devices)) as pool:
        for chunk in _chunks(proteins):
            sequences += len(chunk)
            residues += sum(len(s.codes) for s in chunk)
            filled = (i for i, target in enumerate(chunk) if len(target.codes))
            batches = _batches(chunk, filled, models[0].padding) if models else []
            tasks = [
                (number, pool.submit(_search, model, chunk, batches[turn :: len(devices)], device, settings))
                for number, model in enumerate(models)
                for turn, device in enumerate(devices)
            ]
            for number, task in tasks:
                limits = thresholds.of(profiles[number])
                # the number of sequences is known at the end only: it will be no less than so far
                so_far = sequences if limits.targets is None else limits.targets
                hits[number] += [
                    h for h in task.result() if passes(h.log_pvalue, h.score, so_far, limits.evalue, limits.score)
                ]
    return [report(*pair, thresholds, sequences, residues) for pair in zip(profiles, hits, strict=True)]


def _chunks(proteins: Iterable[Target]) -> Iterator[list[Target]]:
    chunk: list[Target] = []
    size = 0
    for protein in proteins:
        chunk.append(protein)
        size += len(protein.codes)
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _batches(chunk: Sequence[Target], numbers: Iterable[int], padding: int) -> list[_Batch]:
    """Sequences of a chunk in batches of like length, the longest first."""
    order = sorted(numbers, key=lambda i: len(chunk[i].codes))
    batches = []
    while order:
        size = _batch_size(len(chunk[order[-1]].codes))
        order, taken = order[:-size], order[-size:]
        time = padded_time(len(chunk[taken[-1]].codes))
        batches.append(_Batch(taken, *pad_sequences([chunk[i].codes for i in taken], size, time, padding)))
    return batches


def _batch_size(length: int) -> int:
    return 1 if length > _LONG else _BATCH


def _search(
    model: SearchModel, chunk: Sequence[Target], batches: list[_Batch], device: jax.Device, settings: Settings
) -> list[Hit]:
    """The hits of one profile among some sequences, whatever their significance."""
    with jax.default_device(device):
        model = model.on_device()
        if settings.filters:
            batches = _filtered(model, chunk, batches, settings)
        hits = []
        # one ahead, so that the device does not wait
        pending: list[tuple[_Batch, Parse]] = []
        for batch in batches:
            pending.append((batch, _dispatch(model, batch)))
            if len(pending) > 1:
                hits += _hits(model, chunk, *pending.pop(0), settings)
        for waiting in pending:
            hits += _hits(model, chunk, *waiting, settings)
        return hits


def _filtered(model: SearchModel, chunk: Sequence[Target], batches: list[_Batch], settings: Settings) -> list[_Batch]:
    """Batches of the sequences whose forward score is significant."""
    statistics = model.profile.statistics["FORWARD"]
    scores = [forward_scores(model.chain, length_model(b.lengths, multihit=True), b.codes, b.lengths) for b in batches]
    chosen = []
    for batch, score in zip(batches, jax.device_get(scores), strict=True):
        for number, nats in zip(batch.numbers, score.tolist(), strict=False):
            codes = chunk[number].codes
            null = null_score(len(codes))
            # the composition's null model may be a little worse than the plain one, by leaving its background state
            slack = len(codes) / 400 + 1e-2 if settings.bias_filter else 0.0
            if log_survival((nats - null + slack) / _LN2, statistics) > math.log(_FORWARD_PVALUE):
                continue
            if settings.bias_filter:
                null += composition_score(model.profile, codes)
            if log_survival((nats - null) / _LN2, statistics) <= math.log(_FORWARD_PVALUE):
                chosen.append(number)
    return _batches(chunk, chosen, model.padding)


def _dispatch(model: SearchModel, batch: _Batch) -> Parse:
    return parse(model.chain, length_model(batch.lengths, multihit=True), batch.codes, batch.lengths)


def _hits(model: SearchModel, chunk: Sequence[Target], batch: _Batch, parsed: Parse, settings: Settings) -> list[Hit]:
    parsed = jax.device_get(parsed)
    targets = [chunk[i] for i in batch.numbers]
    found = find_domains(model, [t.codes for t in targets], parsed)
    return [
        hit
        for target, f, nats in zip(targets, found, parsed.score.tolist(), strict=False)
        if f.domains and (hit := _hit(model.profile, target, nats, f, settings))
    ]


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
