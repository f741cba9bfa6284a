"""Aligning members of a family to a profile of a few of them, with the residues' context and without.

    python benchmarks/context.py FAMILIES > table.md

FAMILIES is the folder of `families.py`. Of each reference alignment of EGF, Bowman, rhv and balifam100, some sequences,
drawn at random, make a profile in the columns of the reference, and all are aligned to it as by `align --profile`. Sums
of pairs are means over families and draws.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from families import families, sum_of_pairs

from lstmhmm_bio.profiles.align import align_paths, lay_out
from lstmhmm_bio.profiles.build import build_profile, digitise
from lstmhmm_bio.profiles.context import load_context
from lstmhmm_bio.profiles.msa import Alignment, read_alignments
from lstmhmm_bio.profiles.profile import AMINO
from lstmhmm_bio.profiles.sequences import Sequence
from lstmhmm_bio.profiles.weights import MISSING
from lstmhmm_bio.runtime import configure

MEMBERS, DRAWS, FEWEST = (1, 3, 10), 4, 4


def both(reference: Alignment, members: int, draw: int) -> tuple[float, float]:
    """Sums of pairs of all sequences, aligned to a profile of some: without context, and with it."""
    codes = digitise(reference, AMINO)
    chosen = np.random.default_rng(draw).permutation(len(codes))[: max(1, min(members, len(codes) // 2))]
    columns = reference.is_residue[chosen].any(axis=0)
    some = Alignment(tuple(reference.names[i] for i in chosen), reference.rows[chosen][:, columns])
    profile = build_profile(some, "some", alphabet=AMINO, fragthresh=0.0)
    sequences = [row[row < MISSING] for row in codes]
    records = [Sequence(name, "", row) for name, row in zip(reference.names, sequences, strict=True)]

    def score(mixtures: list | None) -> float:
        return sum_of_pairs(reference, lay_out(profile, records, align_paths(profile, sequences, mixtures=mixtures)))

    return score(None), score(load_context().mixtures(sequences))


def main() -> None:
    """Reads the arguments and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    configure()
    paths = [path for *_, path in families(folder, ["egf", "bowman", "rhv", "balifam100"], 0)]
    references = [next(read_alignments(str(path))) for path in paths]
    print("| profile made of | plain | --context | families better, worse |\n|---|---:|---:|---:|")
    for members in MEMBERS:
        found = np.array(
            [both(ref, members, draw) for draw in range(DRAWS) for ref in references if len(ref.names) >= FEWEST]
        )
        plain, context = found.mean(axis=0)
        gain = found[:, 1] - found[:, 0]
        print(f"| {members} | {plain:.3f} | {context:.3f} | {(gain > 0).sum()}, {(gain < 0).sum()} |", flush=True)


if __name__ == "__main__":
    main()
