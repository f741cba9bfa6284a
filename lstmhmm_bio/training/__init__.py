"""Training: labelled genomes, losses, the loop."""
