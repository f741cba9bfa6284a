"""Trains the network of residues and their context, which `lstmhmm align --context` uses.

    python recipes/residues.py DATA -o FOLDER [--share 0.1]

DATA holds training sets as SET/genome.fa.gz and SET/annotation.gff3.gz; the proteins of the prokaryotes among them are
used. First the network learns to tell a residue from what is around it. Then phmmer (of pyhmmer) finds homologs of
some of the proteins among others, and the network learns what stands there in the place of each residue. Families with
known alignments are never seen. To bundle the result, copy both its files to lstmhmm_bio/profiles.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyhmmer
from numpy.typing import NDArray

from lstmhmm_bio.io import read_records
from lstmhmm_bio.io.reference import read_reference
from lstmhmm_bio.model import BACTERIAL_CODE, flatten, write_weights
from lstmhmm_bio.nn.residues import RESIDUES, UNKNOWN, ResidueParams, init_residues, log_replacements
from lstmhmm_bio.profiles.context import FORMAT
from lstmhmm_bio.profiles.profile import AMINO, Codes
from lstmhmm_bio.profiles.progressive import related_odds
from lstmhmm_bio.runtime import configure
from lstmhmm_bio.sequence import GeneticCode, reverse_complement

HIDDEN, UNITS = 96, 64
#: proteins at once, and residues of each
BATCH, TIME = 64, 160
#: steps and learning rates of the two stages
AROUND, REPLACED = (3000, 4e-3), (1500, 2e-3)
#: proteins that homologs are looked for among, and those they are looked for
DATABASE, QUERIES = 28_000, 1_700
#: of each protein, no more homologs than this; alignments of fewer residues or more alike than this tell nothing
HOMOLOGS, SHORTEST, ALIKE = 30, 40, 0.8


class Homolog(NamedTuple):
    """What another protein has in the places of one: its number, places and residues there."""

    protein: int
    places: NDArray[np.intp]
    residues: Codes


#: codes [BATCH, TIME], and what is to be told in their places, `UNKNOWN` where nothing
Batch = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def main() -> None:
    """Reads the arguments, trains, says where the network lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, proteins and queries (default: all)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    configure()
    share, rng = arguments.share, np.random.default_rng(arguments.seed)
    found = [p for folder in sorted((arguments.data / "prok").iterdir()) for p in proteins(folder)]
    order = rng.permutation(len(found))
    params = init_residues(np.random.default_rng(arguments.seed), HIDDEN, UNITS)

    def around() -> Batch:
        chosen = [found[i] for i in rng.integers(0, len(found), BATCH)]
        codes = windows(chosen, [int(rng.integers(max(1, len(p) - TIME + 1))) for p in chosen])
        return codes, codes

    params = train(params, around, round(share * AROUND[0]), AROUND[1], hidden=True)
    database = order[: round(share * DATABASE)]
    queries = [int(i) for i in order[len(database) :] if 60 <= len(found[i]) <= 800]
    related = homologs(found, database, queries[: round(share * QUERIES)])
    of_protein = list(related.values())

    def replaced() -> Batch:
        groups = [of_protein[i] for i in rng.integers(0, len(of_protein), BATCH)]
        return aligned_windows(found, [group[rng.integers(len(group))] for group in groups], rng)

    params = train(with_substitutions(params), replaced, round(share * REPLACED[0]), REPLACED[1], hidden=False)
    card = {
        "name": "residues",
        "format": FORMAT,
        "version": "1",
        "description": "What stands in homologous proteins in the place of a residue, from its context",
        "hidden": HIDDEN,
        "units": UNITS,
        "trained_on": f"{len(found):,} proteins, homologs of {len(related):,} of them",
    }
    print(f"wrote {write_weights(arguments.output / 'residues.toml', card, flatten(params))}")


def proteins(folder: Path) -> list[Codes]:
    """The whole proteins of an annotated genome, without their stop codons."""
    records = {record.id: record for record in read_records(folder / "genome.fa.gz")}
    result = []
    for transcript in read_reference(folder / "annotation.gff3.gz").transcripts:
        if transcript.pseudo or transcript.partial or transcript.unsure or transcript.odd:
            continue
        bases = np.concatenate([records[transcript.seqid].codes[a:b] for a, b in transcript.segments])
        code = GeneticCode.from_number(transcript.genetic_code or BACTERIAL_CODE)
        protein = code.translate(bases if transcript.strand == "+" else reverse_complement(bases))
        if len(bases) % 3 == 0 and len(protein) > SHORTEST and "*" not in protein[:-1]:
            result.append(AMINO.encode(protein.removesuffix("*")))
    return result


def homologs(found: Sequence[Codes], database: NDArray[np.intp], queries: Sequence[int]) -> dict[int, list[Homolog]]:
    """What phmmer aligns to some proteins, by their number."""
    alphabet = pyhmmer.easel.Alphabet.amino()
    letter = {x: code for code, x in enumerate(AMINO.letters)}

    def digital(i: int) -> pyhmmer.easel.DigitalSequence:
        text = AMINO.decode(found[i])
        return pyhmmer.easel.TextSequence(name=str(i).encode(), sequence=text).digitize(alphabet)

    block = pyhmmer.easel.DigitalSequenceBlock(alphabet, map(digital, database))
    result: dict[int, list[Homolog]] = defaultdict(list)
    hits_of_all = pyhmmer.hmmer.phmmer(map(digital, queries), block, E=1e-5)
    for number, hits in zip(queries, hits_of_all, strict=True):
        domains = (d.alignment for hit in hits.included for d in hit.domains.included)
        kept = (h for h in (_homolog(number, a, letter) for a in domains) if h)
        if several := list(islice(kept, HOMOLOGS)):
            result[number] = several
    return result


def _homolog(number: int, alignment: pyhmmer.plan7.Alignment, letter: dict[str, int]) -> Homolog | None:
    """An alignment's residues in the places of the query; None if it tells too little."""
    pairs = [(q, t) for q, t in zip(alignment.hmm_sequence, alignment.target_sequence, strict=True) if q != "."]
    there = np.array([t in letter for _, t in pairs])
    same = sum(q.upper() == t for q, t in pairs)
    if there.sum() < SHORTEST or same > ALIKE * there.sum():
        return None
    residues = np.array([letter[t] for _, t in pairs if t in letter], np.uint8)
    return Homolog(number, alignment.hmm_from - 1 + np.flatnonzero(there), residues)


def windows(chosen: Sequence[Codes], starts: Sequence[int]) -> NDArray[np.uint8]:
    """Pieces of proteins, [BATCH, TIME]."""
    codes = np.full((BATCH, TIME), UNKNOWN, np.uint8)
    for row, protein, start in zip(codes, chosen, starts, strict=True):
        piece = protein[start : start + TIME]
        row[: len(piece)] = np.minimum(piece, UNKNOWN)
    return codes


def aligned_windows(found: Sequence[Codes], chosen: Sequence[Homolog], rng: np.random.Generator) -> Batch:
    """Pieces of proteins around a place that has a homolog, and what stands there."""
    last = [max(len(found[h.protein]) - TIME, 0) for h in chosen]
    middle = [int(rng.integers(h.places[0], h.places[-1] + 1)) - TIME // 2 for h in chosen]
    starts = [min(max(m, 0), end) for m, end in zip(middle, last, strict=True)]
    target = np.full((BATCH, TIME), UNKNOWN, np.uint8)
    for row, homolog, start in zip(target, chosen, starts, strict=True):
        inside = (homolog.places >= start) & (homolog.places < start + TIME)
        row[homolog.places[inside] - start] = homolog.residues[inside]
    return windows([found[h.protein] for h in chosen], starts), target


def with_substitutions(params: ResidueParams) -> ResidueParams:
    """The network with BLOSUM62 for what a residue itself tells, to begin with."""
    joint = related_odds(AMINO) * AMINO.background
    conditional = joint / joint.sum(axis=1, keepdims=True)
    table = np.vstack([np.log(conditional / AMINO.background), np.zeros(RESIDUES)])
    return params._replace(substitution=jnp.asarray(table, jnp.float32))


def train(params: ResidueParams, batch: Callable[[], Batch], steps: int, rate: float, *, hidden: bool) -> ResidueParams:
    """Adam down the mean cross-entropy of what is to be told; the learning rate falls to 0 as a cosine."""
    optimiser = optax.adamw(optax.cosine_decay_schedule(rate, steps), weight_decay=0.0 if hidden else 1e-4)
    state = optimiser.init(params)
    full = jnp.full(BATCH, TIME)

    def loss(params: ResidueParams, codes: jax.Array, target: jax.Array) -> jax.Array:
        told = log_replacements(params, codes, full, hidden=hidden)
        known = target < UNKNOWN
        right = jnp.take_along_axis(told, jnp.where(known, target, 0)[..., None], axis=-1)[..., 0]
        return -jnp.sum(jnp.where(known, right, 0.0)) / jnp.sum(known)

    @jax.jit
    def step(
        params: ResidueParams, state: optax.OptState, codes: jax.Array, target: jax.Array
    ) -> tuple[ResidueParams, optax.OptState, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params, codes, target)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    begun, values = time.monotonic(), []
    for number in range(1, steps + 1):
        params, state, value = step(params, state, *(x.astype(np.int32) for x in batch()))
        values.append(value)
        if number % 100 == 0 or number == steps:
            print(
                f"step {number}  loss {np.mean(values):.4f}  minutes {(time.monotonic() - begun) / 60:.1f}", flush=True
            )
            values = []
    return jax.tree.map(np.asarray, params)


if __name__ == "__main__":
    main()
