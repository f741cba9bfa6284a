"""Domains of predicted genes: their proteins searched with profiles, the matches placed on the genome.

E-values are those of hmmscan: the expected number of profiles of the file that match one random protein so well, so
that they depend neither on the number of genes nor on how a run is divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..features import Annotation, Gene, ProteinDomain
from ..io.derived import protein, stretch
from .hits import QueryResult, Thresholds, check
from .hmmfile import ProfileFile
from .profile import AMINO, Profile
from .sequences import Sequence as Target

if TYPE_CHECKING:
    from .domains import Domain

#: largest E-value of a hit by a profile without gathering scores
EVALUE = 1e-5
#: annotations are searched together once they hold so many residues, or bases
_RESIDUES, _BASES = 1 << 20, 1 << 23


class DomainSearch:
    """Finds domains in the proteins of genes.

    Args:
        profiles: calibrated, of proteins: a list or a `ProfileFile`, which is gone through for every batch of genes.
        evalue: largest E-value of a protein, and largest conditional E-value of a domain in it. None for the gathering
            scores of each profile, and `EVALUE` where a profile has none.

    Raises:
        UsageError: a profile is of nucleotides, or not calibrated.
    """

    def __init__(self, profiles: Sequence[Profile] | ProfileFile, evalue: float | None = None) -> None:
        self._profiles, self._gather = profiles, evalue is None
        number = 0
        for one in profiles.headings() if isinstance(profiles, ProfileFile) else profiles:
            number += 1
            if one.alphabet is not AMINO:
                raise UsageError(
                    f"profile {one.name} is of {one.alphabet.name}, but genes are searched as proteins; give protein "
                    "profiles, or search the genome with `lstmhmm profile search`"
                )
            check([one], Thresholds())
        # one protein is what a domain's conditional E-value refers to: that in which it lies
        limit = EVALUE if evalue is None else evalue
        self._thresholds = Thresholds(evalue=limit, domain_evalue=limit, targets=number, significant=1)

    def domains(self, genes: Sequence[Gene], proteins: Sequence[str]) -> list[tuple[ProteinDomain, ...]]:
        """The domains of each gene, from the first residue on.

        Args:
            genes: predicted.
            proteins: of these genes, without a letter for the stop codon.
        """
        from .search import groups

        targets = [Target(str(i), "", AMINO.encode(letters)) for i, letters in enumerate(proteins)]
        found: list[list[ProteinDomain]] = [[] for _ in genes]
        for group in groups(self._profiles) if targets else ():
            for result in self._search(group, targets):
                for hit in result.hits:
                    number = int(hit.target)
                    for _, d in hit.reported_domains:
                        found[number].append(
                            place(genes[number], result.profile, d.domain, d.score, d.independent_evalue)
                        )
        return [tuple(sorted(domains, key=lambda d: (d.start, d.end, d.evalue, d.name))) for domains in found]

    def _search(self, group: list[Profile], targets: list[Target]) -> Iterator[QueryResult]:
        """What profiles find by the thresholds of each."""
        from .search import search_proteins

        gathered = [p for p in group if self._gather and "GA" in p.cutoffs]
        others = [p for p in group if not (self._gather and "GA" in p.cutoffs)]
        yield from search_proteins(gathered, targets, replace(self._thresholds, cutoff="GA"))
        yield from search_proteins(others, targets, self._thresholds)

    def annotate(self, annotations: Iterable[Annotation]) -> Iterator[Annotation]:
        """The annotations in their order, their genes with their domains; some are read ahead."""
        for batch in _batches(annotations):
            genes = [gene for annotation, _ in batch for gene in annotation.genes]
            found = iter(self.domains(genes, [letters for _, proteins in batch for letters in proteins]))
            for annotation, _ in batch:
                yield replace(annotation, genes=tuple(replace(gene, domains=next(found)) for gene in annotation.genes))


def _batches(annotations: Iterable[Annotation]) -> Iterator[list[tuple[Annotation, list[str]]]]:
    """Consecutive annotations and their proteins."""
    batch: list[tuple[Annotation, list[str]]] = []
    residues = bases = 0
    for annotation in annotations:
        proteins = [protein(annotation.record, gene) for gene in annotation.genes]
        batch.append((annotation, proteins))
        residues += sum(map(len, proteins))
        bases += len(annotation.record)
        if residues >= _RESIDUES or bases >= _BASES:
            yield batch
            batch, residues, bases = [], 0, 0
    if batch:
        yield batch


def place(gene: Gene, profile: Profile, domain: Domain, score: float, evalue: float) -> ProteinDomain:
    """A match in a gene's protein as a match of the gene, with its place on the genome.

    Args:
        gene: whose protein it is.
        profile: that matches.
        domain: where.
        score: bits.
        evalue: as in `ProteinDomain`.
    """
    spans = stretch(gene.segments, gene.strand, 3 * domain.start, 3 * domain.end)
    parts, read = [], 0
    for start, end in spans if gene.strand == "+" else reversed(spans):
        # a codon that an intron cuts counts on both of its sides
        first, last = read // 3, (read + end - start - 1) // 3
        parts.append((start, end, int(domain.node[first]) - 1, int(domain.node[last])))
        read += end - start
    return ProteinDomain(
        profile.name,
        profile.accession,
        profile.description,
        domain.start,
        domain.end,
        tuple(parts if gene.strand == "+" else parts[::-1]),
        score,
        evalue,
    )
