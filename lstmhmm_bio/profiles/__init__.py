"""Profile hidden Markov models: files, building, calibration, search, alignment and learning."""
