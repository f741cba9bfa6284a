"""Comparison of predicted protein-coding genes with a reference annotation.

Only coding sequence counts; `agreement` says at which levels.

Some reference genes are *set aside*, because nobody knows what would be right there: pseudogenes, partial and odd ones,
those the annotation itself doubts, those shorter than `min_length`. A prediction that lies mostly on one of them is
neutral, neither right nor wrong, and set aside as well, unless `strict`. Predictions that are too short are set aside,
and partial ones where they do run into their record's end or into unknown bases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from os import PathLike, fspath
from typing import Any

from .agreement import SCORERS, Call, Coverage, Mode, Outcome, Score, calls_of, chain_of, outcomes_of, stop_of
from .errors import UsageError
from .io.reference import Transcript, read_reference
from .sequence import UNKNOWN, Codes, codon_index, kmer_indices, reverse_complement

#: a partial prediction must end within this many bases of its record's end or of an unknown base
EDGE = 5
#: CDSs that are looked at to tell whether a file writes the stop codon outside of them
STOP_SAMPLE = 5000
_STOPS = frozenset(map(codon_index, ("TAA", "TAG", "TGA")))


@dataclass(frozen=True)
class Evaluation:
    """The scores of a prediction.

    Attributes:
        mode: "prok" or "euk".
        scores: by level, in the order of `agreement`.
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
        mode: "prok" or "euk", see `agreement`.
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
    if mode not in SCORERS:
        raise UsageError(f"evaluation mode {mode!r} does not exist; choose from {', '.join(SCORERS)}")
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
    scores = SCORERS[mode](judged_reference, judged)
    outcomes = outcomes_of(judged_reference, judged) if mode == "prok" else ()
    calls = calls_of(judged_reference, judged) if mode == "prok" else ()
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
    identity = stop_of if mode == "prok" else chain_of
    known = set(map(identity, reference))

    def is_neutral(t: Transcript) -> bool:
        if identity(t) in known:
            return False
        bases = on_ignored.under(t)
        return 2 * bases >= t.length and bases > on_judged.under(t)

    return is_neutral
