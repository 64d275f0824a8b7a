"""Recurrent modules: with one orthogonal weight, with one a token or an input, and plain."""

from .cell import OrthoRNNCell
from .elman import ElmanRNN
from .reduction import Reduction, reduce
from .reflection import ReflectionRNN
from .rnn import OrthoRNN
from .switched import SwitchedOrthoRNN

__all__ = [
    "ElmanRNN",
    "OrthoRNN",
    "OrthoRNNCell",
    "Reduction",
    "ReflectionRNN",
    "SwitchedOrthoRNN",
    "reduce",
]
