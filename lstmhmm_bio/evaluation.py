"""Comparison of predicted protein-coding genes with a reference annotation.

Only coding sequence counts. Prokaryotes (mode ``prok``; a gene is its strand, start and stop):

- ``stop``: same sequence, strand and 3' end
- ``exact``: same 3' and 5' end
- ``start|stop``: of the genes whose stop is right, those whose start is right too
- ``base``: coding bases, strand by strand

Eukaryotes (mode ``euk``):

- ``base``: coding bases, strand by strand, isoforms merged
- ``exon``: distinct CDS segments with both boundaries right
- ``intron``: distinct gaps between the CDS segments of a transcript
- ``transcript``: distinct chains of CDS segments
- ``gene``: genes of which at least one isoform's chain is right

Sensitivity is the matched part of the reference, precision the matched part of the prediction, F1 their harmonic mean.

Some reference genes are *set aside*, because nobody knows what would be right there: pseudogenes, partial and odd ones,
those the annotation itself doubts, those shorter than `min_length`. A prediction that lies mostly on one of them is
neutral, neither right nor wrong, and set aside as well, unless `strict`. Predictions that are too short are set aside,
and partial ones where they do run into their record's end or into unknown bases.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isnan, nan
from os import PathLike, fspath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .io.derived import union
from .io.reference import Transcript, read_reference
from .sequence import UNKNOWN, Codes, codon_index, kmer_indices, reverse_complement

Mode = Literal["prok", "euk"]

#: a partial prediction must end within this many bases of its record's end or of an unknown base
EDGE = 5
#: CDSs that are looked at to tell whether a file writes the stop codon outside of them
STOP_SAMPLE = 5000
_STOPS = frozenset(map(codon_index, ("TAA", "TAG", "TGA")))


@dataclass(frozen=True)
class Score:
    """Agreement at one level.

    Attributes:
        reference, predicted: items on either side.
        matched_reference, matched_predicted: those of them that have a match; they differ only for genes with isoforms.
    """

    reference: int
    predicted: int
    matched_reference: int
    matched_predicted: int

    @property
    def sensitivity(self) -> float:
        """Matched part of the reference, nan if that is empty."""
        return self.matched_reference / self.reference if self.reference else nan

    @property
    def precision(self) -> float:
        """Matched part of the prediction, nan if that is empty."""
        return self.matched_predicted / self.predicted if self.predicted else nan

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision, nan if either is."""
        total = self.sensitivity + self.precision
        if isnan(total):
            return nan
        return 2 * self.sensitivity * self.precision / total if total else 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of one reference gene (mode ``prok``), for comparing two predictions gene by gene.

    Attributes:
        seqid, strand, stop: the gene; `stop` is the boundary after its stop codon in reading direction.
        found_stop: some prediction ends there.
        found_start: one of these starts right as well.
    """

    seqid: str
    strand: str
    stop: int
    found_stop: bool
    found_start: bool


@dataclass(frozen=True)
class Call:
    """What a predicted gene is worth (mode ``prok``), for judging scores.

    Attributes:
        seqid, strand, stop: the gene, as in `Outcome`.
        right_stop: a reference gene ends there.
        right_start: that gene starts right as well.
    """

    seqid: str
    strand: str
    stop: int
    right_stop: bool
    right_start: bool


@dataclass(frozen=True)
class Evaluation:
    """The scores of a prediction.

    Attributes:
        mode: "prok" or "euk".
        scores: by level, in the order of the module's head.
        reference_set_aside, prediction_set_aside: transcripts left out, counted by reason.
        remarks: what was done to make the two comparable, or why they are not.
        outcomes: one per judged reference gene (distinct stop) in mode "prok", sorted; empty in mode "euk".
        calls: likewise, one per judged predicted gene.
    """

    mode: Mode
    scores: dict[str, Score]
    reference_set_aside: dict[str, int]
    prediction_set_aside: dict[str, int]
    remarks: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    calls: tuple[Call, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON; undefined scores become None, outcomes and calls are left out."""

        def number(value: float) -> float | None:
            return None if isnan(value) else value

        return {
            "mode": self.mode,
            "scores": {
                level: {
                    "reference": s.reference,
                    "predicted": s.predicted,
                    "matched_reference": s.matched_reference,
                    "matched_predicted": s.matched_predicted,
                    "sensitivity": number(s.sensitivity),
                    "precision": number(s.precision),
                    "f1": number(s.f1),
                }
                for level, s in self.scores.items()
            },
            "reference_set_aside": self.reference_set_aside,
            "prediction_set_aside": self.prediction_set_aside,
            "remarks": list(self.remarks),
        }


def evaluate_files(
    reference: str | PathLike[str],
    prediction: str | PathLike[str],
    mode: Mode = "prok",
    *,
    genome: str | PathLike[str] | None = None,
    **options: Any,
) -> Evaluation:
    """Read two annotation files and `evaluate` them.

    Args:
        reference: GFF3, GTF or GenBank, plain or compressed.
        prediction: the same; it may be without genes.
        mode: "prok" or "euk".
        genome: FASTA of the annotated sequences.
        options: `min_length`, `keep_partial`, `keep_pseudo`, `strict` of `evaluate`.

    Raises:
        InputError: a file is broken, or the reference holds no CDS.
    """
    sequences = None
    if genome is not None:
        from .io.sequences import read_records

        sequences = {record.id: record.codes for record in read_records(fspath(genome))}
    truth, guess = read_reference(reference), read_reference(prediction, allow_empty=True)
    lengths = guess.lengths | truth.lengths
    return evaluate(truth.transcripts, guess.transcripts, mode, lengths=lengths, genome=sequences, **options)


def evaluate(
    reference: Sequence[Transcript],
    prediction: Sequence[Transcript],
    mode: Mode = "prok",
    *,
    lengths: Mapping[str, int] | None = None,
    genome: Mapping[str, Codes] | None = None,
    min_length: int = 0,
    keep_partial: bool = False,
    keep_pseudo: bool = False,
    strict: bool = False,
) -> Evaluation:
    """Score a prediction against a reference.

    Args:
        reference: coding transcripts, as `read_reference` gives them.
        prediction: the same.
        mode: "prok" or "euk", see the module's head.
        lengths: known record lengths; a partial prediction on a record of unknown length is believed.
        genome: sequences by id. With them, a side whose CDSs stop before the stop codon (the habit of GTF) is extended
            by it, and partial genes at unknown bases inside a record are recognised.
        min_length: CDSs with fewer bases are set aside.
        keep_partial: judge partial genes like any other.
        keep_pseudo: judge pseudogenes like any other.
        strict: a prediction on a reference gene that is set aside is wrong instead of neutral.

    Raises:
        UsageError: no such mode.
    """
    if mode not in _SCORERS:
        raise UsageError(f"evaluation mode {mode!r} does not exist; choose from {', '.join(_SCORERS)}")
    genome = genome or {}
    lengths = {**(lengths or {}), **{seqid: len(codes) for seqid, codes in genome.items()}}
    reference, prediction, remarks = _with_common_names(reference, prediction)
    if _stops_are_outside(reference, genome):
        reference = [_with_stop(t) for t in reference]
        remarks.append("reference: CDSs extended by the stop codon")
    if _stops_are_outside(prediction, genome):
        prediction = [_with_stop(t) for t in prediction]
        remarks.append("prediction: CDSs extended by the stop codon")

    def objection(t: Transcript, *, predicted: bool) -> str | None:
        if t.odd:
            return "odd"
        if t.pseudo and not keep_pseudo:
            return "pseudo"
        if t.unsure and not predicted:
            return "unsure"
        if t.partial and not keep_partial and (not predicted or _runs_off(t, lengths, genome)):
            return "partial"
        return "short" if t.length < min_length else None

    judged_reference, ignored, reference_set_aside = _part(reference, partial(objection, predicted=False))
    judged, _, prediction_set_aside = _part(prediction, partial(objection, predicted=True))
    if not strict and ignored:
        is_neutral = _neutrality(judged_reference, ignored, mode)
        judged, neutral, _ = _part(judged, lambda t: "neutral" if is_neutral(t) else None)
        if neutral:
            prediction_set_aside["neutral"] = len(neutral)
    scores = _SCORERS[mode](judged_reference, judged)
    outcomes = _outcomes(judged_reference, judged) if mode == "prok" else ()
    calls = _calls(judged_reference, judged) if mode == "prok" else ()
    return Evaluation(mode, scores, reference_set_aside, prediction_set_aside, tuple(remarks), outcomes, calls)


# ---- making the two sides comparable


def _with_common_names(
    reference: Sequence[Transcript], prediction: Sequence[Transcript]
) -> tuple[Sequence[Transcript], Sequence[Transcript], list[str]]:
    """Where the two share no sequence name, compare without versions (NC_000913.3 as NC_000913)."""

    def names(transcripts: Sequence[Transcript]) -> set[str]:
        return {t.seqid for t in transcripts}

    def plain(t: Transcript) -> Transcript:
        return replace(t, seqid=t.seqid.split(" ")[0].rsplit(".", 1)[0])

    if not reference or not prediction or names(reference) & names(prediction):
        return reference, prediction, []
    bare_reference, bare_prediction = [plain(t) for t in reference], [plain(t) for t in prediction]
    if names(bare_reference) & names(bare_prediction):
        return bare_reference, bare_prediction, ["sequence names compared without their version suffixes"]
    remark = (
        f"no sequence name is common to reference ({min(names(reference))}, ...) "
        f"and prediction ({min(names(prediction))}, ...)"
    )
    return bare_reference, bare_prediction, [remark]


def _stops_are_outside(transcripts: Sequence[Transcript], genome: Mapping[str, Codes]) -> bool:
    """Whether more CDSs are followed by a stop codon (without ending in one) than end in one."""

    def is_stop(codon: Codes) -> bool:
        return len(codon) == 3 and int(kmer_indices(codon, 3)[0]) in _STOPS

    votes = 0
    for t in transcripts[:STOP_SAMPLE]:
        codes = genome.get(t.seqid)
        if codes is None or t.partial or t.pseudo:
            continue
        before, after = codes[max(t.three_prime - 3, 0) : t.three_prime], codes[t.three_prime : t.three_prime + 3]
        last, following = (before, after) if t.strand == "+" else map(reverse_complement, (after, before))
        votes += -1 if is_stop(last) else int(is_stop(following))
    return votes > 0


def _with_stop(t: Transcript) -> Transcript:
    """The transcript with three more bases at its 3' end."""
    if t.strand == "+":
        return replace(t, segments=(*t.segments[:-1], (t.segments[-1][0], t.end + 3)))
    return replace(t, segments=((t.start - 3, t.segments[0][1]), *t.segments[1:]))


# ---- which transcripts are judged


def _part(
    transcripts: Iterable[Transcript], objection: Callable[[Transcript], str | None]
) -> tuple[list[Transcript], list[Transcript], dict[str, int]]:
    """Those without objection, those with one, and the objections counted."""
    judged, set_aside, reasons = [], [], Counter[str]()
    for t in transcripts:
        reason = objection(t)
        if reason is None:
            judged.append(t)
        else:
            set_aside.append(t)
            reasons[reason] += 1
    return judged, set_aside, dict(reasons)


def _runs_off(t: Transcript, lengths: Mapping[str, int], genome: Mapping[str, Codes]) -> bool:
    """Whether a prediction reaches an end of its record or unknown bases, so that being partial is no error."""
    if t.seqid not in lengths or t.start <= EDGE or t.end >= lengths[t.seqid] - EDGE:
        return True
    if t.seqid not in genome:
        return False
    codes = genome[t.seqid]
    return UNKNOWN in codes[t.start - EDGE : t.start] or UNKNOWN in codes[t.end : t.end + EDGE]


def _neutrality(
    reference: Sequence[Transcript], ignored: Sequence[Transcript], mode: Mode
) -> Callable[[Transcript], bool]:
    """A test whether a prediction lies mostly on ignored genes.

    That is: it matches no judged gene (in mode ``prok`` not even its stop), and at least half of its bases lie on
    ignored genes, more than on judged ones.
    """
    on_ignored, on_judged = Coverage(ignored), Coverage(reference)
    identity = _stop if mode == "prok" else _chain
    known = set(map(identity, reference))

    def is_neutral(t: Transcript) -> bool:
        if identity(t) in known:
            return False
        bases = on_ignored.under(t)
        return 2 * bases >= t.length and bases > on_judged.under(t)

    return is_neutral


# ---- scores


class Coverage:
    """The union of the coding segments of some transcripts, sequence by sequence and strand by strand."""

    def __init__(self, transcripts: Iterable[Transcript]):
        segments: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for t in transcripts:
            segments[t.seqid, t.strand] += t.segments
        self._unions = {key: union(of_key) for key, of_key in segments.items()}
        # the number of covered bases before a coordinate is piecewise linear: rising on the union, level between
        self._counts = {
            key: np.stack([np.zeros(len(spans), np.int64), spans[:, 1] - spans[:, 0]], 1).ravel().cumsum()
            for key, spans in self._unions.items()
        }

    @property
    def size(self) -> int:
        """Covered bases."""
        return sum(int(counts[-1]) for counts in self._counts.values())

    def under(self, t: Transcript) -> int:
        """Covered bases among those of one transcript."""
        return self._within((t.seqid, t.strand), np.array(t.segments))

    def common(self, other: Coverage) -> int:
        """Bases that both cover."""
        return sum(self._within(key, spans) for key, spans in other._unions.items())

    def _within(self, key: tuple[str, str], disjoint: NDArray[np.int64]) -> int:
        if key not in self._unions:
            return 0
        before = np.interp(disjoint, self._unions[key].ravel(), self._counts[key])
        return round(float((before[:, 1] - before[:, 0]).sum()))


def _stop(t: Transcript) -> tuple[str, str, int]:
    return t.seqid, t.strand, t.three_prime


def _start_and_stop(t: Transcript) -> tuple[str, str, int, int]:
    return *_stop(t), t.five_prime


def _chain(t: Transcript) -> Hashable:
    return t.seqid, t.strand, t.segments


def _compare(reference: set[Any], predicted: set[Any]) -> Score:
    common = len(reference & predicted)
    return Score(len(reference), len(predicted), common, common)


def _base_score(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> Score:
    truth, guess = Coverage(reference), Coverage(predicted)
    common = truth.common(guess)
    return Score(truth.size, guess.size, common, common)


def _found(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> set[tuple[str, str, int]]:
    """Stops of the genes with a right start; alternative starts that share a stop are one gene."""
    exact = set(map(_start_and_stop, reference)) & set(map(_start_and_stop, predicted))
    return {(seqid, strand, stop) for seqid, strand, stop, _ in exact}


def _prok_scores(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> dict[str, Score]:
    stop = _compare(set(map(_stop, reference)), set(map(_stop, predicted)))
    exact = len(_found(reference, predicted))
    return {
        "stop": stop,
        "exact": Score(stop.reference, stop.predicted, exact, exact),
        "start|stop": Score(stop.matched_reference, stop.matched_predicted, exact, exact),
        "base": _base_score(reference, predicted),
    }


def _outcomes(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> tuple[Outcome, ...]:
    stops, exact = set(map(_stop, predicted)), _found(reference, predicted)
    return tuple(Outcome(*gene, gene in stops, gene in exact) for gene in sorted(set(map(_stop, reference))))


def _calls(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> tuple[Call, ...]:
    stops, exact = set(map(_stop, reference)), _found(reference, predicted)
    return tuple(Call(*gene, gene in stops, gene in exact) for gene in sorted(set(map(_stop, predicted))))


def _euk_scores(reference: Sequence[Transcript], predicted: Sequence[Transcript]) -> dict[str, Score]:
    def parts(transcripts: Sequence[Transcript], kind: str) -> set[Hashable]:
        return {(t.seqid, t.strand, *part) for t in transcripts for part in getattr(t, kind)}

    def genes(transcripts: Iterable[Transcript]) -> set[Hashable]:
        return {(t.seqid, t.gene) for t in transcripts}

    true_chains, guessed_chains = set(map(_chain, reference)), set(map(_chain, predicted))
    return {
        "base": _base_score(reference, predicted),
        "exon": _compare(parts(reference, "segments"), parts(predicted, "segments")),
        "intron": _compare(parts(reference, "introns"), parts(predicted, "introns")),
        "transcript": _compare(true_chains, guessed_chains),
        "gene": Score(
            len(genes(reference)),
            len(genes(predicted)),
            len(genes(t for t in reference if _chain(t) in guessed_chains)),
            len(genes(t for t in predicted if _chain(t) in true_chains)),
        ),
    }


_SCORERS: dict[str, Callable[[Sequence[Transcript], Sequence[Transcript]], dict[str, Score]]] = {
    "prok": _prok_scores,
    "euk": _euk_scores,
}
