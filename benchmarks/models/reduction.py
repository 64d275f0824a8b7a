"""A trained model on the subspace that its states use."""

from __future__ import annotations

import copy

from torch import Tensor

from orthornn import SwitchedOrthoRNN, reduce

from .sequence_model import SequenceModel


def reduce_model(model: SequenceModel, words: Tensor) -> SequenceModel:
    """The model around a core that :func:`orthornn.reduce` made smaller, the readout folded.

    Args:
        model: one with a :class:`orthornn.SwitchedOrthoRNN`.
        words: sample tokens, ``(T, B)``.

    Raises:
        TypeError: for a model with another core.
        ValueError: where the states use no subspace, with the spectrum.
    """
    if not isinstance(model.core, SwitchedOrthoRNN):
        raise TypeError(f"expected a SwitchedOrthoRNN to reduce, got {type(model.core).__name__}")
    reduction = reduce(model.core, words)
    smaller = copy.deepcopy(model)
    smaller.core, smaller.readout = reduction.module, reduction.fold(model.readout)
    smaller.hidden_size = smaller.features = reduction.module.hidden_size
    return smaller
