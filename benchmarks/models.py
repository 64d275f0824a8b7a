"""The compared models: one recurrent core each under the same readout, and their sizes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn

from orthornn import OrthoRNN


class SequenceModel(nn.Module):
    """``output_t = A h_t + c`` over the states of a recurrent core.

    Args:
        core: ``(T, B, I) -> ((T, B, H), state)``.
        hidden_size: H.
        output_size: features of the readout, Kaiming normal with zero bias for every model.

    Shape:
        ``(T, B, I)`` to ``(T, B, output_size)``.
    """

    def __init__(self, core: nn.Module, hidden_size: int, output_size: int) -> None:
        super().__init__()
        self.core = core
        self.hidden_size = hidden_size
        self.readout = nn.Linear(hidden_size, output_size)
        nn.init.kaiming_normal_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.readout(self.core(x)[0])
        return output


def ortho(
    input_size: int,
    output_size: int,
    hidden_size: int,
    nonlinearity: str = "modrelu",
    bias: bool = False,
    init: str = "henaff",
    retraction: str = "polar",
    backend: str | None = None,
) -> SequenceModel:
    """OrthoRNN; without the pre-activation biases, as in expRNN."""
    if not isinstance(bias, bool):
        raise TypeError(f"bias must be true or false, got {bias!r}")
    core = OrthoRNN(
        input_size,
        hidden_size,
        nonlinearity=nonlinearity,
        bias=bias,
        init=init,
        retraction=retraction,
        backend=backend,
    )
    return SequenceModel(core, hidden_size, output_size)


def rnn(
    input_size: int, output_size: int, hidden_size: int, nonlinearity: str = "tanh"
) -> SequenceModel:
    """``torch.nn.RNN`` with its own initialisation."""
    return SequenceModel(
        nn.RNN(input_size, hidden_size, nonlinearity=nonlinearity), hidden_size, output_size
    )


def lstm(
    input_size: int, output_size: int, hidden_size: int, forget_bias: float = 1.0
) -> SequenceModel:
    """``torch.nn.LSTM``; the forget gates start at ``forget_bias`` (Jozefowicz et al., 2015)."""
    core = nn.LSTM(input_size, hidden_size)
    with torch.no_grad():
        forget_gate = slice(hidden_size, 2 * hidden_size)
        core.get_parameter("bias_ih_l0")[forget_gate] = forget_bias
        core.get_parameter("bias_hh_l0")[forget_gate] = 0
    return SequenceModel(core, hidden_size, output_size)


def gru(input_size: int, output_size: int, hidden_size: int) -> SequenceModel:
    """``torch.nn.GRU`` with its own initialisation."""
    return SequenceModel(nn.GRU(input_size, hidden_size), hidden_size, output_size)


def count_parameters(model: nn.Module) -> int:
    """Numbers that the model stores and trains; a point of a manifold counts all its entries."""
    return sum(p.numel() for p in model.parameters())


def degrees_of_freedom(model: nn.Module) -> int:
    """The same, but an orthogonal H x H weight counts ``H(H-1)/2``, the dimension of its manifold.

    The papers on orthogonal networks compare models by this count; it allows ours a larger H.
    """
    surplus = sum(
        p.shape[-1] * (p.shape[-1] + 1) // 2 * p.shape[:-2].numel()
        for p in model.parameters()
        if isinstance(p, ManifoldParameter)
    )
    return count_parameters(model) - int(surplus)


def largest_hidden_size(build: Callable[[int], nn.Module], budget: int) -> int:
    """The largest hidden size whose model stores at most ``budget`` parameters.

    Args:
        build: a model of a given hidden size; it is called about 20 times on torch's meta
            device, where nothing is allocated.
        budget: at least the parameters of hidden size 1.

    Raises:
        ValueError: if even hidden size 1 does not fit.
    """

    def fits(size: int) -> bool:
        with torch.device("meta"):
            return count_parameters(build(size)) <= budget

    if not fits(1):
        raise ValueError(f"budget={budget} is too small for this model with one hidden unit")
    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
