"""Features of a genome's windows, and which two are most alike: python examples/embed_api.py examples/genome.fa."""

import sys

import numpy as np

from lstmhmm_bio.runtime import configure

configure(device="cpu")  # before anything uses JAX

from lstmhmm_bio.embed import Embedder  # noqa: E402
from lstmhmm_bio.io import read_records  # noqa: E402
from lstmhmm_bio.model import load_model  # noqa: E402

embedder = Embedder(load_model("bacteria"), genetic_code=11)
chunks = list(embedder.embed(read_records(sys.argv[1]), None, per="window", window=2000))
features = np.concatenate([chunk.features for chunk in chunks])
places = [f"{c.seqid}:{a + 1}-{b}" for c in chunks for a, b in zip(c.starts, c.ends, strict=True)]
distances = np.linalg.norm(features[:, None] - features, axis=2) + 1e9 * np.eye(len(features))
first, second = divmod(int(distances.argmin()), len(features))
print(f"{features.shape[0]} windows of {features.shape[1]} features; most alike: {places[first]} and {places[second]}")
