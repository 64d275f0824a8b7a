"""Benchmarks that compare OrthoRNN with RNN, LSTM and GRU; run as ``python -m benchmarks.copy``."""
