"""The most anomalous windows of a genome: python examples/score_api.py examples/genome.fa."""

import sys

from lstmhmm_bio.runtime import configure

configure(device="cpu")  # before anything uses JAX

from lstmhmm_bio.anomaly import Detector  # noqa: E402
from lstmhmm_bio.io import read_records  # noqa: E402
from lstmhmm_bio.model import load_model  # noqa: E402
from lstmhmm_bio.outliers import anomalies  # noqa: E402

detector = Detector(load_model("bacteria").prior, window=5000)
genome = detector.learn(read_records(sys.argv[1]))
scores = list(detector.score(read_records(sys.argv[1]), genome))
for record in scores:
    for n in record.bits.argsort()[-3:][::-1]:
        print(record.seqid, record.edges[n], record.edges[n + 1], f"{record.bits[n]:.4f}", sep="\t")
print(len(anomalies(scores, detector.step)), "anomalous regions")
