"""Regions of a model of `lstmhmm train --labels`, from Python: python examples/labels_api.py model/ genome.fa."""

import sys

from lstmhmm_bio.io import read_records
from lstmhmm_bio.labels import Labeller
from lstmhmm_bio.model import load_model
from lstmhmm_bio.runtime import configure

configure(device="cpu")  # before anything uses JAX
labeller = Labeller(load_model(sys.argv[1]))
# labels with codon tables take a calibration of `Annotator(load_model()).calibrate` instead of None
for record, segments in labeller.segments(read_records(sys.argv[2]), None):
    for s in segments:
        print(record.id, s.start, s.end, labeller.labels.names[s.state], s.strand, f"{s.posterior:.3f}", sep="\t")
