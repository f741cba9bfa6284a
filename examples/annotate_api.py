"""Genes of a genome from Python: python examples/annotate_api.py examples/genome.fa."""

import sys

from lstmhmm_bio.annotate import Annotator
from lstmhmm_bio.io import read_records
from lstmhmm_bio.model import load_model
from lstmhmm_bio.runtime import configure

configure(device="cpu")  # before anything uses JAX
annotator = Annotator(load_model("bacteria"), genetic_code=11, min_score=0.99)
genome = list(read_records(sys.argv[1]))
calibration = annotator.calibrate(genome)
for annotation in annotator.annotate(genome, calibration):
    for gene in annotation.genes:
        print(gene.seqid, gene.start, gene.end, gene.strand, gene.start_codon, f"{gene.score:.3f}", sep="\t")
