"""Fits the calibration of scores (`lstmhmm_bio/confidence.py`) on genomes that a model was not trained on.

    python recipes/retrain.py bacteria-fold TRAIN -o RUNS
    python benchmarks/fit_scores.py RUNS/bacteria-fold/bacteria-fold.toml TRAIN/prok/GENOME ...

Each GENOME is a folder with ``genome.fa.gz`` and ``annotation.gff3.gz``; every genome has the same weight. Prints
the table for a model's card: coefficients of the constant, the posterior's logit and log(length / 900), and the
expected calibration error before and after, on the same genomes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from calibration import calls_of, figures
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

from lstmhmm_bio import runtime
from lstmhmm_bio.confidence import USUAL_LENGTH, Confidence, logit
from lstmhmm_bio.model import read_card

#: genomes with fewer genes say little
FEWEST = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="path of its card")
    parser.add_argument("genomes", type=Path, nargs="+")
    arguments = parser.parse_args()
    if Confidence.from_card(read_card(arguments.model)):
        parser.error(
            f"{arguments.model}: its scores are calibrated already; this needs the posteriors of a model without"
        )
    runtime.configure(0, "cpu")
    calls = [calls_of(folder, arguments.model) for folder in arguments.genomes]
    calls = [c for c in calls if len(c.right) >= FEWEST]
    print("[confidence]")
    for kind, name in enumerate(("gene", "start")):
        # starts are judged where the stop is right; genes cut by a record's end keep their posteriors
        chosen = [c.whole & (c.right[:, 0] if kind else True) for c in calls]
        found = [c.scores[k, kind] for c, k in zip(calls, chosen, strict=True)]
        right = [c.right[k, kind] for c, k in zip(calls, chosen, strict=True)]
        known = [design(p, c.lengths[k]) for p, c, k in zip(found, calls, chosen, strict=True)]
        fitted = fit(known, right)
        print(f"{name} = {[round(float(x), 3) for x in fitted]}")
        after = [1 / (1 + np.exp(-x @ fitted)) for x in known]
        errors = [np.mean([figures(p, r)[3] for p, r in zip(ps, right, strict=True)]) for ps in (found, after)]
        print("{}: expected calibration error {:.4f}, calibrated {:.4f}".format(name, *errors), file=sys.stderr)


def design(posteriors: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """[genes, 3]: what the coefficients belong to."""
    logits = [logit(p) for p in posteriors.tolist()]
    return np.stack([np.ones(len(lengths)), logits, np.log(lengths / USUAL_LENGTH)], axis=1)


def fit(known: list[NDArray[np.float64]], right: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Coefficients of the likeliest logistic regression; all genomes have the same weight."""
    weights = np.concatenate([np.full(len(r), 1 / len(r) / len(right)) for r in right])
    x, y = np.concatenate(known), np.concatenate(right).astype(float)

    def loss(b: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = x @ b
        return float(weights @ (np.logaddexp(0, z) - y * z)), x.T @ (weights * (1 / (1 + np.exp(-z)) - y))

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x


if __name__ == "__main__":
    main()
