"""Reference annotation in rows: GFF3 and GTF (GFF2)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from ..errors import InputError
from .transcripts import OtherFeature, Reference, Segment, Transcript, is_noncoding, join

_DOUBTS = ("exception", "check_failed", "origin_spanning")
#: kinds of `other_transcript` rows that may well code, so that nothing is known about their place
_DOUBTFUL_KINDS = frozenset(
    {"cds_uncertain", "incomplete_isoform", "mRNA", "processed_pseudogene", "protein_coding", "pseudo"}
)
_BIOTYPES = ("gene_biotype", "biotype", "transcript_biotype", "gene_type", "transcript_type")
_GTF_ATTRIBUTE = re.compile(r'(\w+)\s+(?:"([^"]*)"|([^\s;]+))')


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    seqid: str
    type: str
    start: int
    end: int
    strand: str
    attributes: str


class _Table:
    """The checked feature rows of a file; iterating fills the other attributes on the way.

    Attributes:
        version_3: the file says that it is GFF3.
        regions: record lengths declared so far.
        head: those declared before the first row.
        noncoding: non-coding RNA features so far.
    """

    def __init__(self, handle: Iterable[str], name: str) -> None:
        self._handle, self._name = handle, name
        self.version_3 = False
        self.regions: dict[str, int] = {}
        self.head: dict[str, int] | None = None
        self.noncoding: list[OtherFeature] = []

    def __iter__(self) -> Iterator[_Row]:
        for number, line in enumerate(self._handle, 1):
            if line.startswith("##FASTA"):
                break
            if line.startswith("#"):
                self._directive(number, line)
            elif line.strip():
                self.head = dict(self.regions) if self.head is None else self.head
                row = self._row(number, line.rstrip("\r\n").split("\t"))
                if is_noncoding(row.type):
                    self.noncoding.append((row.seqid, row.start, row.end, row.strand, row.type))
                yield row

    def _directive(self, number: int, line: str) -> None:
        words = line.split()
        if words[0] == "##gff-version":
            self.version_3 = words[1:] != [] and words[1].startswith("3")
        elif words[0] == "##sequence-region":
            if len(words) < 4 or not words[3].isdigit():
                raise InputError(
                    f"{self._name}, line {number}: expected '##sequence-region seqid start end'; correct the line"
                )
            self.regions[words[1]] = int(words[3])

    def _row(self, number: int, columns: list[str]) -> _Row:
        where = f"{self._name}, line {number}"
        if len(columns) != 9:
            raise InputError(
                f"{where}: {len(columns)} tab-separated column(s) where GFF3 and GTF have 9; "
                "give a GFF3, GTF or GenBank annotation (a file edited by hand may have lost its tabs)"
            )
        try:
            first, last = int(columns[3]), int(columns[4])
        except ValueError:
            raise InputError(
                f"{where}: start {columns[3]!r} and end {columns[4]!r} must be whole numbers; correct the line"
            ) from None
        if not 1 <= first <= last:
            raise InputError(
                f"{where}: start {first} and end {last} must fulfil 1 <= start <= end on either strand; "
                "correct the line"
            )
        return _Row(number, columns[0], columns[2], first - 1, last, columns[6], columns[8])


def read_table(handle: Iterable[str], name: str) -> Reference:
    """Read GFF3 or GTF: what it is, the first row that tells says; GFF3 if none does."""
    table = _Table(handle, name)
    rows = iter(table)
    seen: list[_Row] = []
    is_gtf = False
    for row in rows:
        seen.append(row)
        if table.version_3 or (row.type == "CDS" and re.search(r"(^|;)\s*(ID|Parent)=", row.attributes)):
            break
        if re.search(r'\b(gene_id|transcript_id)\s+"', row.attributes):
            is_gtf = True
            break
    everything = chain(seen, rows)
    transcripts = _gtf_transcripts(everything) if is_gtf else _gff3_transcripts(everything, table.regions)
    return Reference(transcripts, table.noncoding, table.head or {})


def _gff3_attributes(text: str) -> dict[str, str]:
    pairs = (item.split("=", 1) for item in text.split(";") if "=" in item)
    return {key.strip(): value.strip() for key, value in pairs}


def _gtf_attributes(text: str) -> dict[str, str]:
    """Repeated keys (tags) are joined with commas, as GFF3 writes them."""
    values: dict[str, list[str]] = defaultdict(list)
    for key, quoted, bare in _GTF_ATTRIBUTE.findall(text):
        values[key].append(quoted or bare)
    return {key: ",".join(items) for key, items in values.items()}


def _says_pseudo(attributes: dict[str, str], feature_type: str = "") -> bool:
    return (
        "pseudogene" in feature_type
        or "pseudogene" in attributes
        or attributes.get("pseudo", "").lower() == "true"
        or any("pseudogene" in attributes.get(key, "").lower() for key in _BIOTYPES)
    )


def _says_partial(attributes: dict[str, str]) -> bool:
    """RefSeq (partial=true, start_range), Prodigal (partial=10) and Ensembl (tag cds_start_NF) each have their own."""
    tags = attributes.get("tag", "")
    return (
        attributes.get("partial", "").lower() in ("true", "10", "01", "11")
        or not attributes.keys().isdisjoint(("start_range", "end_range"))
        or "cds_start_NF" in tags
        or "cds_end_NF" in tags
    )


@dataclass
class _Draft:
    """A transcript whose rows are still being collected."""

    seqid: str
    strand: str
    gene: str
    name: str
    segments: set[Segment] = field(default_factory=set)
    stop_codons: set[Segment] = field(default_factory=set)
    exons: set[Segment] = field(default_factory=set)
    pseudo: bool = False
    partial: bool = False
    unsure: bool = False
    odd: bool = False
    genetic_code: int | None = None

    def add(self, row: _Row, attributes: dict[str, str]) -> None:
        self.odd |= (row.seqid, row.strand) != (self.seqid, self.strand) or row.strand not in "+-"
        if row.seqid == self.seqid:
            self.segments.add((row.start, row.end))
        self.pseudo |= _says_pseudo(attributes)
        self.partial |= _says_partial(attributes)
        if attributes.get("transl_table", "").isdigit():
            self.genetic_code = int(attributes["transl_table"])

    def finish(self) -> Transcript:
        return Transcript(
            self.seqid,
            self.strand,
            join(self.segments | self.stop_codons),
            self.gene,
            self.name,
            pseudo=self.pseudo,
            partial=self.partial,
            unsure=self.unsure,
            odd=self.odd,
            genetic_code=self.genetic_code,
            exons=tuple(sorted(self.exons)),
        )


@dataclass(frozen=True, slots=True)
class _Feature:
    """A row that others may name as their parent."""

    type: str
    parent: str
    pseudo: bool
    doubted: bool


def _gff3_transcripts(rows: Iterable[_Row], regions: dict[str, int]) -> list[Transcript]:
    """`regions` fills up while the rows are read."""
    features: dict[str, _Feature] = {}
    coding: list[tuple[_Row, dict[str, str]]] = []
    stop_codons: list[tuple[_Row, dict[str, str]]] = []
    exons: dict[str, set[Segment]] = defaultdict(set)
    doubtful: list[Transcript] = []
    for row in rows:
        attributes = _gff3_attributes(row.attributes)
        if row.type == "exon":
            for parent in attributes.get("Parent", "").split(","):
                exons[parent].add((row.start, row.end))
        elif row.type == "CDS":
            coding.append((row, attributes))
        elif row.type == "stop_codon":
            stop_codons.append((row, attributes))
        elif row.type == "other_transcript" and attributes.get("kind") in _DOUBTFUL_KINDS:
            name = attributes.get("ID", f"line {row.line}")
            place = ((row.start, row.end),)
            doubtful.append(Transcript(row.seqid, row.strand, place, f"doubtful {row.line}", name, unsure=True))
        elif "ID" in attributes:
            features[attributes["ID"]] = _Feature(
                row.type,
                attributes.get("Parent", "").split(",")[0],
                _says_pseudo(attributes, row.type),
                attributes.get("check", "ok") != "ok",
            )

    drafts: dict[tuple[str, ...], _Draft] = {}
    of_parent: dict[str, list[_Draft]] = defaultdict(list)
    for row, attributes in coding:
        own = attributes.get("ID", "")
        for parent in attributes.get("Parent", "").split(","):
            key = _gff3_key(row, own, parent, features)
            draft = drafts.get(key)
            if draft is None:
                gene, pseudo = _ancestry(parent, features) if parent else (own or f"line {row.line}", False)
                draft = _Draft(row.seqid, row.strand, gene, parent or gene, pseudo=pseudo)
                draft.exons = exons[parent] if parent else set()
                draft.unsure = parent in features and features[parent].doubted
                drafts[key] = draft
                of_parent[parent].append(draft)
            draft.add(row, attributes)
            draft.unsure |= any(attributes.get(doubt) == "true" for doubt in _DOUBTS)
            draft.odd |= row.end > regions.get(row.seqid, row.end)  # RefSeq writes origin-spanning genes beyond the end
    for row, attributes in stop_codons:
        for parent in attributes.get("Parent", "").split(","):
            for draft in of_parent[parent] if parent else ():
                draft.stop_codons.add((row.start, row.end))

    sure = [draft.finish() for draft in drafts.values()]
    return sure + _without_sure_gene(doubtful, sure)


def _gff3_key(row: _Row, own: str, parent: str, features: dict[str, _Feature]) -> tuple[str, ...]:
    """What the CDS rows of one transcript have in common.

    Under a transcript all rows are one CDS, whatever their IDs. Right under a gene, as in bacteria and organelles, and
    without a parent the ID tells CDSs apart.
    """
    if not parent:
        return ("own", row.seqid, own) if own else ("line", str(row.line))
    if own and parent in features and features[parent].type.endswith("gene"):
        return ("gene", parent, own)
    return ("transcript", parent)


def _ancestry(name: str, features: dict[str, _Feature]) -> tuple[str, bool]:
    """The topmost ancestor, and whether any feature on the way up is a pseudogene.

    An ancestor's `partial` says nothing here: it may concern the UTR alone.
    """
    pseudo = False
    seen: set[str] = set()
    while name in features and name not in seen:
        seen.add(name)
        pseudo |= features[name].pseudo
        if not features[name].parent:
            break
        name = features[name].parent
    return name, pseudo


def _without_sure_gene(doubtful: list[Transcript], sure: list[Transcript]) -> list[Transcript]:
    """Doubtful transcripts that overlap no gene's span: beside a good isoform they say nothing about the place."""
    spans: dict[tuple[str, str], list[Segment]] = defaultdict(list)
    for t in sure:
        spans[t.seqid, t.strand].append((t.start, t.end))
    arrays = {key: np.array(of_key) for key, of_key in spans.items()}
    none = np.empty((0, 2), np.int64)

    def alone(t: Transcript) -> bool:
        starts, ends = arrays.get((t.seqid, t.strand), none).T
        return not np.any((starts < t.end) & (t.start < ends))

    return [t for t in doubtful if alone(t)]


def _gtf_transcripts(rows: Iterable[_Row]) -> list[Transcript]:
    drafts: dict[tuple[str, str], _Draft] = {}
    started: set[tuple[str, str]] = set()
    stop_codons, exons = (defaultdict[tuple[str, str], set[Segment]](set) for _ in range(2))
    for row in rows:
        if row.type not in ("CDS", "exon", "start_codon", "stop_codon"):
            continue
        attributes = _gtf_attributes(row.attributes)
        name = attributes.get("transcript_id") or attributes.get("gene_id") or f"line {row.line}"
        key = (row.seqid, name)
        if row.type == "start_codon":
            started.add(key)
        elif row.type == "stop_codon":
            stop_codons[key].add((row.start, row.end))
        elif row.type == "exon":
            exons[key].add((row.start, row.end))
        else:
            if key not in drafts:
                drafts[key] = _Draft(row.seqid, row.strand, attributes.get("gene_id", name), name)
            drafts[key].add(row, attributes)
    # a file that marks start and stop codons marks its partial genes by leaving them out
    for marked in (started, stop_codons.keys()):
        if 2 * sum(key in marked for key in drafts) > len(drafts):
            for key, draft in drafts.items():
                draft.partial |= key not in marked
    for key, draft in drafts.items():
        draft.stop_codons, draft.exons = stop_codons.get(key, set()), exons.get(key, set())
    return [draft.finish() for draft in drafts.values()]
