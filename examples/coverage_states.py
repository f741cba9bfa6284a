"""Coverage states from Python: python examples/coverage_states.py reads.bam 3."""

import sys

from lstmhmm_bio.runtime import configure

configure(device="cpu")  # before anything uses JAX

from lstmhmm_bio.hmm.densities import NegativeBinomial  # noqa: E402
from lstmhmm_bio.io.coverage import read_signals  # noqa: E402
from lstmhmm_bio.states import CountTrack, learn, partition, sample  # noqa: E402

signals = read_signals([sys.argv[1]], 100, min_mapq=10)
tracks = [CountTrack(track) for track in signals.tracks]
learned = learn(sample(tracks), NegativeBinomial(), [int(sys.argv[2])], restarts=2)
for track, segments in partition(learned.model, tracks):
    for s in segments:
        print(track.id, s.start, s.end, learned.model.graph.states[s.state], f"{s.posterior:.3f}", sep="\t")
