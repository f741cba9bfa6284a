"""A genome cut into intergenic and coding regions, from Python: python examples/segment_api.py examples/genome.fa."""

import sys

from lstmhmm_bio.annotate import Annotator
from lstmhmm_bio.io import read_records
from lstmhmm_bio.model import load_model
from lstmhmm_bio.parts import by_record
from lstmhmm_bio.runtime import configure
from lstmhmm_bio.segment import regions, runs_of_parts

configure(device="cpu")  # before anything uses JAX
annotator = Annotator(load_model("bacteria"))
genome = list(read_records(sys.argv[1]))
decoded = annotator.decode(genome, annotator.calibrate(genome))
for record, found in by_record(runs_of_parts(decoded)):
    for r in regions(runs for _, runs in found):
        print(record.id, r.start, r.end, r.name, f"{r.posterior:.3f}", sep="\t")
