"""One Elman network for every way of keeping a recurrent weight orthogonal but the manifold's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orthornn.linalg import gram_error
from orthornn.nn import ElmanRNN
from orthornn.recurrence.elman.nonlinearity import MODRELU_BIAS

from .checks import MAX_MAGNITUDE, check_bool, check_number
from .torch_cores import dropout_between_layers


class UnconstrainedRNN(ElmanRNN):
    """ElmanRNN without biases, with a scaled start and a penalty; W is any matrix.

    The kernel, the names of the parameters and their draws are those of :class:`orthornn.OrthoRNN`.
    With a ``strength`` λ > 0, an attribute that is 0 at first, :meth:`penalty` is
    ``λ Σ ‖WᵀW - I‖²`` (Frobenius) over layers and directions.

    Args:
        input_size, hidden_size, num_layers, bidirectional, dropout, nonlinearity, bias, init,
        backend: as for :class:`orthornn.OrthoRNN`; there is dropout with several layers only.
        input_scale: what multiplies the first layer's V as it is drawn.
        modrelu_bias: where modReLU's biases start; None for uniform on ±0.01. Below 0 every step
            takes as much off every state, so that the network starts by forgetting.

    Shape:
        x ``(T, B, I)``; state ``(D·L, B, H)``, zero if None; output ``(T, B, D·H)``.

    Raises:
        ValueError: for an option out of its range, naming the choices.
        TypeError: for a bias that is no bool.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        *,
        nonlinearity: str = "modrelu",
        bias: bool = False,
        init: str = "henaff",
        input_scale: float = 1.0,
        modrelu_bias: float | None = None,
        backend: str | None = None,
    ) -> None:
        check_bool("bias", bias)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity,
            bias,
            dropout=dropout_between_layers(dropout, num_layers),
            bidirectional=bidirectional,
            init=init,
            backend=backend,
        )
        self.strength = 0.0
        scale_input_(self, input_scale)
        fill_modrelu_bias_(self, modrelu_bias)

    def penalty(self) -> Tensor | None:
        """``λ Σ ‖WᵀW - I‖²``, differentiable; None where λ is 0."""
        if self.strength == 0:
            return None
        errors = [gram_error(getattr(self, name)).square().sum() for name in recurrent_names(self)]
        return self.strength * torch.stack(errors).sum()


def recurrent_names(core: ElmanRNN) -> list[str]:
    """The names of the recurrent weights, by layer and then direction."""
    return [f"weight_hh{suffix}" for suffix in core.suffixes]


@torch.no_grad()
def scale_input_(core: nn.Module, input_scale: float) -> None:
    """Multiply the first layer's input weights, of every direction, by ``input_scale``."""
    check_number("input_scale", input_scale, 0, MAX_MAGNITUDE, above=True)
    for name, p in core.named_parameters():
        if name in ("weight_ih_l0", "weight_ih_l0_reverse"):
            p.mul_(input_scale)


@torch.no_grad()
def fill_modrelu_bias_(core: nn.Module, modrelu_bias: float | None) -> None:
    """Start modReLU's biases, if there are any, from one value; None leaves them as drawn."""
    if modrelu_bias is None:
        return
    check_number("modrelu_bias", modrelu_bias, -MAX_MAGNITUDE, MAX_MAGNITUDE)
    for name, p in core.named_parameters():
        if MODRELU_BIAS.fullmatch(name):
            p.fill_(modrelu_bias)
