"""lstmhmm: gene annotation and segmentation of biological sequences by an LSTM-HMM hybrid in JAX."""

__version__ = "0.1.0"
