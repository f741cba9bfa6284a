"""A picture of a region: python examples/plot_api.py examples/genome.fa examples/truth.gff3 region.svg."""

import sys
from pathlib import Path

from lstmhmm_bio.io import read_records
from lstmhmm_bio.pictures import picture, read_features, window_gc

genome, annotation, output = sys.argv[1:]
record = next(iter(read_records(genome)))
start, end = 0, min(20_000, len(record))
tracks = [read_features(annotation, record.id, start, end), window_gc(record, start, end)]
Path(output).write_bytes(picture(tracks, record.id, start, end, Path(output).suffix[1:]))
