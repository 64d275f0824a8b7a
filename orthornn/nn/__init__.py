"""Recurrent modules: one whose weights are orthogonal and stay so, its cell, and its plain base."""

from .cell import OrthoRNNCell
from .elman import ElmanRNN
from .rnn import OrthoRNN

__all__ = ["ElmanRNN", "OrthoRNN", "OrthoRNNCell"]
