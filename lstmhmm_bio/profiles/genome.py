"""Scanning both strands of nucleotide sequences of any length, as nhmmer does it.

A record is cut into overlapping tiles; where a tile's forward score is significant its domains are found as in
proteins. Each domain is a hit of its own: scored by itself against the composition of its surroundings, as if it stood
in a stretch as long as the longest instance expected of the profile (Wheeler and Eddy 2013, Bioinformatics 29:2487).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..hmm.chain import forward_scores, length_model, parse
from ..runtime import return_memory
from .domains import Domain, align, each_parse, find_envelopes
from .hits import DomainHit, Hit, QueryResult, Thresholds, check, report
from .plan7 import SearchModel, match_odds, pad_sequences, padded_time
from .profile import Alphabet, Profile
from .search import Settings, groups, readable_again
from .sequences import Sequence as Target
from .statistics import composition_score, log_survival, null_score

_LN2 = math.log(2)
#: P-value of a tile's forward score below which it is looked at closely
_FORWARD_PVALUE = 3e-5
#: length to which the composition of a tile counts
_COMPOSITION_LENGTH = 1000
#: an envelope that reaches further beyond its alignment is cut back to this, and aligned again ...
_MARGIN = 20
#: ... if it does by so many more ...
_SLOP = 3
#: ... so many times at most
_ROUNDS = 5
#: shorter alignments are chance
_SHORTEST = 8
_BATCH = 16


class _Tile(NamedTuple):
    """A stretch of a record's strand: its first position on that strand, and codes."""

    start: int
    codes: NDArray[np.uint8]


def search_genome(
    profiles: Iterable[Profile],
    records: Iterable[Target],
    thresholds: Thresholds | None = None,
    settings: Settings | None = None,
) -> Iterator[QueryResult]:
    """Scans records with nucleotide profiles, as nhmmer does.

    Args:
        profiles: calibrated, of one alphabet; read in groups.
        records: sequences coded in that alphabet, gone through once for each group of profiles: a list or a
            `SequenceFile`, of which one is in memory at a time. An iterator is kept in memory.
        thresholds: what is reported; by default as nhmmer.
        settings: filters and corrections.

    Yields:
        A result for each profile, in their order; every hit has one domain, its strand in `Hit.strand`.

    Raises:
        UsageError: a profile lacks statistics or the scores asked for.
    """
    thresholds, settings = thresholds or Thresholds(), settings or Settings()
    again = readable_again(records)
    for group in groups(profiles):
        yield from _search_group(group, again, thresholds, settings)


def _search_group(
    profiles: list[Profile], records: Iterable[Target], thresholds: Thresholds, settings: Settings
) -> list[QueryResult]:
    check(profiles, thresholds)
    models = [SearchModel(profile).on_device() for profile in profiles]
    hits: list[list[Hit]] = [[] for _ in profiles]
    records_seen = residues = 0
    for record in records:
        records_seen += 1
        residues += 2 * len(record.codes)  # both strands
        for number, model in enumerate(models):
            found = [hit for strand in "+-" for hit in _scan(model, record, strand, settings)]
            hits[number] += _best_of_overlapping(found, longest_instance(model.profile))
    results = []
    for profile, found in zip(profiles, hits, strict=True):
        # E-values count stretches of the profile's length on both strands; -Z is in megabases
        bases = residues if thresholds.targets is None else 2e6 * thresholds.targets
        targets = bases / longest_instance(profile)
        limits = replace(thresholds, targets=targets, significant=targets)
        results.append(report(profile, found, limits, records_seen, residues))
    return results


def longest_instance(profile: Profile) -> int:
    """MAXL of the file; without it, four times the profile's length."""
    return profile.max_length or 4 * profile.length


def reverse_complement(codes: NDArray[np.uint8], alphabet: Alphabet) -> NDArray[np.uint8]:
    """Codes of the other strand."""
    pairs = dict(zip("ACGTURYMKSWHBVDN*", "TGCAAYRKMSWDVBHN*", strict=True))
    if alphabet.name == "RNA":
        pairs["A"] = "U"
    table = np.array([alphabet.symbols.index(pairs[letter]) for letter in alphabet.symbols], np.uint8)
    return table[codes][::-1]


def _scan(model: SearchModel, record: Target, strand: str, settings: Settings) -> Iterator[Hit]:
    """The hits on one strand, also those that two tiles find."""
    codes = record.codes if strand == "+" else reverse_complement(record.codes, model.profile.alphabet)
    for batch in _batches(_tiles(codes, longest_instance(model.profile))):
        time = padded_time(max(len(tile.codes) for tile in batch))
        padded, lengths = pad_sequences([tile.codes for tile in batch], _BATCH, time, model.padding)
        flanks = length_model(lengths, multihit=True)
        if settings.filters:
            scores = np.asarray(forward_scores(model.chain, flanks, padded, lengths)).tolist()
            kept = [tile for tile, nats in zip(batch, scores, strict=False) if _passes(model, tile, nats, settings)]
            if not kept:
                continue
            batch = kept
            padded, lengths = pad_sequences([tile.codes for tile in batch], _BATCH, time, model.padding)
            flanks = length_model(lengths, multihit=True)
        parses = each_parse(parse(model.chain, flanks, padded, lengths), len(batch))
        for envelope in find_envelopes(model, [tile.codes for tile in batch], parses)[0]:
            tile = batch[envelope.sequence]
            hit = _hit(model, record, strand, tile, (envelope.start, envelope.end), settings)
            if hit is not None:
                yield hit
        return_memory()


def _tiles(codes: NDArray[np.uint8], longest: int) -> Iterator[_Tile]:
    """Tiles of twice the longest instance, at distances of one."""
    for start in range(0, max(1, len(codes) - longest), longest):
        yield _Tile(start, codes[start : start + 2 * longest])


def _batches(tiles: Iterable[_Tile]) -> Iterator[list[_Tile]]:
    batch: list[_Tile] = []
    for tile in tiles:
        batch.append(tile)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _passes(model: SearchModel, tile: _Tile, nats: float, settings: Settings) -> bool:
    statistics = model.profile.statistics["FORWARD"]
    length = len(tile.codes)
    null = null_score(length)
    threshold = math.log(_FORWARD_PVALUE)
    if log_survival((nats - null) / _LN2, statistics) > threshold:
        return False
    if settings.bias_filter:
        null += composition_score(model.profile, tile.codes) * min(1.0, _COMPOSITION_LENGTH / length)
    return log_survival((nats - null) / _LN2, statistics) <= threshold


def _hit(
    model: SearchModel, record: Target, strand: str, tile: _Tile, envelope: tuple[int, int], settings: Settings
) -> Hit | None:
    """A hit from an envelope in a tile, or None if its alignment is too short to mean anything."""
    profile = model.profile
    start, end = envelope
    domain = _align_against_composition(model, tile, start, end, settings)
    for _ in range(_ROUNDS):
        if start >= domain.start - _MARGIN - _SLOP and end <= domain.end + _MARGIN + _SLOP:
            break
        start, end = max(start, domain.start - _MARGIN), min(end, domain.end + _MARGIN)
        domain = _align_against_composition(model, tile, start, end, settings)
    aligned = domain.end - domain.start
    if aligned < _SHORTEST:
        return None
    length, longest = end - start, longest_instance(profile)
    plain = _plain_score(model, tile.codes[start:end]) if settings.null2 else domain.score
    nats = min(domain.score, plain)
    # from flanks of the envelope's length to those of the longest instance
    outer = max(longest, length)
    flanked = nats + 2 * math.log((length + 2) / (longest + 2))
    flanked -= (length - aligned) * math.log(length / (length + 2))
    flanked += (outer - aligned) * math.log(longest / (longest + 2))
    bits = (flanked - null_score(outer)) / _LN2
    bias = (plain - nats) / _LN2
    log_pvalue = log_survival(bits, profile.statistics["FORWARD"])
    placed = replace(domain, envelope=(start + tile.start, end + tile.start), start=domain.start + tile.start)
    hit = DomainHit(placed, bits, bias, log_pvalue)
    size = len(record.codes)
    return Hit(
        record.id, record.description, size, bits + bias, bits, bias, log_pvalue, (hit,), 1.0, 1, 0, 0, 1, strand=strand
    )


def _align_against_composition(model: SearchModel, tile: _Tile, start: int, end: int, settings: Settings) -> Domain:
    """The domain of an envelope, its emissions held against a background mixed with its own composition."""
    profile, codes = model.profile, tile.codes[start:end]
    chain = model.chain
    if settings.null2:
        expand = profile.alphabet.expand[codes].astype(float)
        counts = (expand / np.maximum(expand.sum(axis=1, keepdims=True), 1)).sum(axis=0)
        share = 25 / min(100, max(50, len(tile.codes)))
        background = share * profile.alphabet.background + (1 - share) * counts / max(counts.sum(), 1e-9)
        odds = match_odds(profile.match, profile.alphabet, background)
        padded = np.pad(odds, ((0, 0), (0, model.width - model.size)))
        chain = chain._replace(match=jnp.asarray(padded, jnp.float32))
    return align(model, chain, codes, start)


def _plain_score(model: SearchModel, codes: NDArray[np.uint8]) -> float:
    """Forward score in nat of an envelope against the plain background."""
    padded, lengths = pad_sequences([codes], 1, padded_time(len(codes)), model.padding)
    return float(forward_scores(model.chain, length_model(lengths, multihit=False), padded, lengths)[0])


def _best_of_overlapping(hits: Sequence[Hit], longest: int) -> list[Hit]:
    """Without hits whose alignment lies mostly in that of a better one on the same strand: two tiles found it."""
    kept: defaultdict[tuple[str, int], list[Hit]] = defaultdict(list)
    best = []
    for hit in sorted(hits, key=lambda h: -h.score):
        a = hit.domains[0].domain
        places = [(hit.strand, place) for place in range(a.start // longest, (a.end - 1) // longest + 1)]
        others = (other.domains[0].domain for place in places for other in kept[place])
        if not any(_mostly_shared((a.start, a.end), (b.start, b.end)) for b in others):
            best.append(hit)
            for place in places:
                kept[place].append(hit)
    return best


def _mostly_shared(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return 2 * (min(a[1], b[1]) - max(a[0], b[0])) > min(a[1] - a[0], b[1] - b[0])
