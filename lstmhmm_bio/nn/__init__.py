"""The network: LSTM layers, what they read and what is made of their outputs."""
