"""From annotation to labels: which states of the grammar each base may be in.

Labels are certain where the annotation is. Over pseudogenes, partial or doubtful CDS, and genes that the grammar cannot
say, any state is allowed: such bases are neither coding nor intergenic to the training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import calibration
from ..errors import InputError
from ..features import Gene, Record
from ..hmm.grammars import bacteria, eukaryote_labels, eukaryote_marks
from ..nn.network import CodeMasks
from ..sequence import (
    EUKARYOTIC_STARTS,
    PROKARYOTIC_STARTS,
    Codes,
    GeneticCode,
    Segments,
    own_segments,
    reverse_complement,
)
from .dataset import LabeledGenome, LabeledRecord, block_sums

if TYPE_CHECKING:
    from ..io.reference import Transcript

#: labels of one strand from its codes, transcripts in its own coordinates and genetic code: allowed states, the CDS
#: that the tables are counted on, and the number of transcripts left out, by reason
Labels = tuple[NDArray[np.unsignedinteger], list[Segments], Counter[str]]


#: spans of a record, forward coordinates, in which genes may be that the annotation lacks
Doubtful = Callable[[Record], Sequence[tuple[int, int]]]

#: bases beside a labelled gene that are intergenic even where the annotation is incomplete
NEAR = 60
#: bit set of the state outside genes, the first of every gene grammar
OUTSIDE = 1
#: the reason that transcripts are left out for which models are to look for such introns
AT_AC = "with AT-AC introns"


def load_genome(
    fasta: Path,
    annotation: Path,
    *,
    name: str,
    clade: str,
    kind: str = "bacteria",
    genetic_code: int | None = None,
    doubtful: Doubtful | None = None,
) -> LabeledGenome:
    """Reads a FASTA and its annotation (GFF3, GTF or GenBank) into labels.

    Args:
        fasta: sequences.
        annotation: reference genes.
        name: of the genome.
        clade: of the genome.
        kind: of the grammar, "bacteria" or "eukaryote".
        genetic_code: NCBI number; default: the annotation's own, else 11 for bacteria and 1 for eukaryotes.
        doubtful: where genes may be that the annotation lacks; any state is allowed there away from annotated ones.

    Raises:
        InputError: the two files share no sequence name, or hold no usable gene.
    """
    from ..io import read_records
    from ..io.reference import common_code, read_transcripts

    label, starts, usual = {
        "bacteria": (_bacterial_labels, PROKARYOTIC_STARTS, 11),
        "eukaryote": (_eukaryotic_labels, EUKARYOTIC_STARTS, 1),
    }[kind]
    transcripts = read_transcripts(str(annotation))
    number = genetic_code or common_code(transcripts) or usual
    code = GeneticCode.from_number(number, starts)
    by_record: dict[str, list[Transcript]] = {}
    for t in transcripts:
        by_record.setdefault(t.seqid, []).append(t)
    records, reasons, genes, used = [], Counter[str](), 0, set[str]()
    introns: list[int] = []
    all_codes = []
    for record in read_records(str(fasta)):
        used.add(record.id)
        labelled, chains, why = _label_record(record, by_record.get(record.id, []), code, label)
        if doubtful is not None:
            labelled = replace(labelled, allowed=_opened(labelled.allowed, doubtful(record)))
        records.append(labelled)
        all_codes.append(record.codes)
        genes += len(chains)
        introns += [b[0] - a[1] for chain in chains for a, b in pairwise(chain)]
        reasons.update(why)
    if not used & set(by_record):
        raise InputError(f"{annotation}: none of its sequence names is in {fasta}; they must match")
    if not genes:
        raise InputError(f"{annotation}: no complete, unflagged CDS to learn from")
    gc = calibration.gc_content(np.concatenate(all_codes))
    sure = (t.untranslated for t in transcripts if not (t.pseudo or t.partial or t.unsure or t.odd))
    untranslated = tuple(pair for pair in sure if any(pair))
    lengths = tuple(sorted(introns))
    return LabeledGenome(name, clade, tuple(records), number, gc, genes, lengths, untranslated, dict(reasons))


def _opened(allowed: NDArray[np.unsignedinteger], spans: Sequence[tuple[int, int]]) -> NDArray[np.unsignedinteger]:
    """Labels [2, length] that allow anything in some spans further than `NEAR` bases from genes of either strand."""
    any_state = bacteria.ANY if allowed.dtype == np.uint16 else eukaryote_labels.ANY
    labelled = (allowed[0] != OUTSIDE) | (allowed[1, ::-1] != OUTSIDE)
    before = np.concatenate([[0], np.cumsum(labelled)])
    at = np.arange(len(labelled))
    near = before[np.minimum(at + NEAR + 1, len(labelled))] > before[np.maximum(at - NEAR, 0)]
    unsure = np.zeros(len(labelled), bool)
    for s, e in spans:
        unsure[s:e] = True
    unsure &= ~near
    opened = allowed.copy()
    opened[np.stack([unsure, unsure[::-1]])] = any_state
    return opened


def _label_record(
    record: Record,
    transcripts: Sequence[Transcript],
    code: GeneticCode,
    label: Callable[[Codes, list[tuple[Transcript, Segments]], GeneticCode], Labels],
) -> tuple[LabeledRecord, list[Segments], Counter[str]]:
    codes, length = record.codes, len(record)
    rows, chains = [], {}
    why: Counter[str] = Counter()
    for strand in "+-":
        own = codes if strand == "+" else reverse_complement(codes)
        inside = [(t, own_segments(t.segments, strand, length)) for t in transcripts if t.strand == strand]
        why["off the record"] += sum(s[0][0] < 0 or s[-1][1] > length for _, s in inside)
        allowed, chains[strand], reasons = label(own, inside, code)
        rows.append(allowed)
        why.update(reasons)
    labelled = LabeledRecord(record.id, codes, np.stack(rows), block_sums(codes, chains, code))
    return labelled, chains["+"] + chains["-"], why


def _doubt(t: Transcript, spliced: Codes, code: GeneticCode) -> str:
    """Why a CDS cannot be a label; "" if it can."""
    if t.pseudo or t.partial or t.unsure or t.odd:
        return "flagged"
    if len(spliced) % 3 or len(spliced) < 9:
        return "no whole number of codons"
    protein = code.translate(spliced)
    if "*" in protein[:-1] or not protein.endswith("*"):
        return "does not translate"
    if protein[0] != "M":
        return "unusual start codon"
    return ""


def _spliced(own: Codes, segments: Segments) -> Codes:
    return np.concatenate([own[max(s, 0) : e] for s, e in segments])


def _bacterial_labels(own: Codes, inside: list[tuple[Transcript, Segments]], code: GeneticCode) -> Labels:
    """CDS in several rows (frameshifts, origin-spanning) are masked too, since this grammar has no introns."""
    why: Counter[str] = Counter()
    genes: list[Gene] = []
    masked: list[tuple[int, int]] = []
    for t, segments in inside:
        s, e = segments[0][0], segments[-1][1]
        reason = "several rows" if len(segments) > 1 else _doubt(t, _spliced(own, segments), code)
        if s < 0 or e > len(own) or reason:
            masked.append((max(s, 0), e))
            why.update([reason] if reason else [])
        else:
            genes.append(Gene("", s, e, "+", 1.0))
    allowed, left_out = bacteria.lattice(len(own), genes)
    why["overlap not in the grammar"] += len(left_out)
    for s, e in masked:
        allowed[s:e] = bacteria.ANY
    return allowed, [((g.start, g.end),) for g in genes], why


def _eukaryotic_labels(own: Codes, inside: list[tuple[Transcript, Segments]], code: GeneticCode) -> Labels:
    """Of a gene's isoforms the longest CDS is the label; where another one differs from it, any state is allowed."""
    why: Counter[str] = Counter()
    good: dict[str, list[tuple[Transcript, Segments]]] = {}
    masked: list[tuple[int, int]] = []
    for t, segments in inside:
        s, e = segments[0][0], segments[-1][1]
        reason = _doubt(t, _spliced(own, segments), code)
        if s < 0 or e > len(own) or reason:
            masked.append((max(s, 0), e))
            why.update([reason] if reason else [])
        else:
            good.setdefault(t.gene, []).append((t, segments))
    marks = eukaryote_marks.marks(own, CodeMasks.of(code), at_ac=True)
    chosen = []
    for isoforms in good.values():
        isoforms.sort(key=lambda pair: (-pair[0].length, pair[1]))
        chosen.append(isoforms[0][1])
    allowed, left_out = eukaryote_labels.lattice(len(own), chosen, marks)
    for i in left_out:
        why[AT_AC if eukaryote_marks.has_at_ac_intron(chosen[i], marks) else "not in the grammar"] += 1
    for isoforms in good.values():
        for _, other in isoforms[1:]:
            _open_where_different(allowed, isoforms[0][1], other)
    for s, e in masked:
        allowed[s:e] = eukaryote_labels.ANY
    return allowed, [c for i, c in enumerate(chosen) if i not in set(left_out)], why


def _open_where_different(allowed: NDArray[np.uint32], chosen: Segments, other: Segments) -> None:
    """Allows anything over bases whose role differs between two isoforms (in place)."""
    first, end = min(chosen[0][0], other[0][0]), max(chosen[-1][1], other[-1][1])
    a, b = (_codon_positions(chain, first, end) for chain in (chosen, other))
    allowed[first:end][a != b] = eukaryote_labels.ANY


def _codon_positions(chain: Segments, first: int, end: int) -> NDArray[np.int8]:
    """Codon position 1..3 of the coding bases, 4 in introns, 0 outside."""
    roles = np.zeros(end - first, np.int8)
    roles[chain[0][0] - first : chain[-1][1] - first] = 4
    coding = 0
    for s, e in chain:
        roles[s - first : e - first] = 1 + (coding + np.arange(e - s)) % 3
        coding += e - s
    return roles
