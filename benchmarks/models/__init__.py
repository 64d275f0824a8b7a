"""The compared models: recurrent cores, one model around any of them, and their sizes."""

from collections.abc import Callable

from torch.nn import Module

from .elman import UnconstrainedRNN
from .linear_recurrences import lru, mingru
from .orthogonal import dtriv, exprnn, householder, ortho, ortho_free, ortho_soft, scornn
from .reduction import reduce_model
from .sequence_model import Network, SequenceModel, assemble
from .sizes import (
    count_parameters,
    degrees_of_freedom,
    largest_hidden_size,
    orthogonal_parameters,
    orthogonal_weights,
    orthogonality_error,
)
from .switched import (
    SwitchedRNN,
    reflections,
    switched,
    switched_free,
    switched_normalized,
    switched_resets,
)
from .torch_cores import gru, irnn, lstm, rnn

# by the names under which best.pt keeps them; a row of your own makes your class loadable too
MODELS: dict[str, Callable[..., Module]] = {
    make.__name__: make
    for make in (
        dtriv,
        exprnn,
        gru,
        householder,
        irnn,
        lru,
        lstm,
        mingru,
        ortho,
        ortho_free,
        ortho_soft,
        reflections,
        rnn,
        scornn,
        switched,
        switched_free,
        switched_normalized,
        switched_resets,
    )
}

__all__ = [
    "MODELS",
    "Network",
    "SequenceModel",
    "SwitchedRNN",
    "UnconstrainedRNN",
    "assemble",
    "count_parameters",
    "degrees_of_freedom",
    "dtriv",
    "exprnn",
    "gru",
    "householder",
    "irnn",
    "largest_hidden_size",
    "lru",
    "lstm",
    "mingru",
    "ortho",
    "ortho_free",
    "ortho_soft",
    "orthogonal_parameters",
    "orthogonal_weights",
    "orthogonality_error",
    "reduce_model",
    "reflections",
    "rnn",
    "scornn",
    "switched",
    "switched_free",
    "switched_normalized",
    "switched_resets",
]
