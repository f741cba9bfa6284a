"""Hidden Markov models on `jax.lax`: state graphs, the recursions over them, decoding and sampling."""
