"""One Elman network for every way of keeping a recurrent weight orthogonal but the manifold's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orthornn._validation import check_choice, check_ranges
from orthornn.init import INITIALIZERS
from orthornn.linalg import gram_error
from orthornn.nn.parameters import add_threshold, start, total_bias
from orthornn.recurrence.dispatch import check_backend, choose
from orthornn.recurrence.nonlinearity import MODRELU_BIAS, NONLINEARITIES

from .checks import LARGEST, check_bool, check_number


class ElmanRNN(nn.Module):
    """``h_t = s(W h_{t-1} + V x_t + b_ih + b_hh)`` with plain weights, on OrthoRNN's recurrence.

    It computes what :class:`orthornn.OrthoRNN` computes, by the same kernel, from parameters of
    the same names and the same start, drawn in the same order. W is an ordinary parameter; it is
    read once in a forward pass, so that a parametrization (``torch.nn.utils.parametrize``) of it
    costs one evaluation, whatever the length.

    With a ``strength`` λ > 0, an attribute that is 0 at first, :meth:`penalty` is
    ``λ Σ ‖WᵀW - I‖²`` (Frobenius) over layers and directions.

    Args:
        input_size: features I of the input.
        hidden_size: features H of the state.
        num_layers: stacked layers L.
        bidirectional: whether to run a second recurrence from the end (D = 2).
        dropout: probability of zeroing an output of every layer but the last, in training.
        nonlinearity: a key of :data:`orthornn.recurrence.nonlinearity.NONLINEARITIES`.
        bias: whether to use ``b_ih`` and ``b_hh``.
        init: start of W, a key of :data:`orthornn.init.INITIALIZERS`.
        input_scale: what multiplies the first layer's V as it is drawn.
        modrelu_bias: where modReLU's biases start; None for uniform on ±0.01. Below 0 every step
            takes as much off every state, so that the network starts by forgetting.
        backend: implementation of the recurrence; None picks the fastest that fits.

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
        super().__init__()
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        check_choice("init", init, INITIALIZERS)
        check_ranges(dropout, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_bool("bias", bias)
        check_backend(backend, nonlinearity)
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.nonlinearity = nonlinearity
        self.backend = backend
        self.strength = 0.0
        directions = ("", "_reverse") if bidirectional else ("",)
        self.suffixes = [f"_l{k}{end}" for k in range(num_layers) for end in directions]
        features = [input_size] + [len(directions) * hidden_size] * (num_layers - 1)
        for k, suffix in enumerate(self.suffixes):
            shapes = {
                "weight_ih": (hidden_size, features[k // len(directions)]),
                "weight_hh": (hidden_size, hidden_size),
                **({"bias_ih": (hidden_size,), "bias_hh": (hidden_size,)} if bias else {}),
            }
            for name, shape in shapes.items():
                p = nn.Parameter(torch.empty(shape))
                start(f"{name}{suffix}", p, init)
                self.register_parameter(f"{name}{suffix}", p)
        if NONLINEARITIES[nonlinearity].has_bias:
            for suffix in self.suffixes:
                add_threshold(self, suffix, like=self.get_parameter(f"weight_ih{suffix}"))
        scale_input_(self, input_scale)
        fill_modrelu_bias_(self, modrelu_bias)

    @property
    def recurrent(self) -> list[str]:
        """The names of the recurrent weights, by layer and then direction."""
        return [f"weight_hh{suffix}" for suffix in self.suffixes]

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run the network over ``x`` from ``state``; returns ``(output, h_n)``."""
        finals: list[Tensor] = []
        suffixes = iter(self.suffixes)
        for layer in range(self.num_layers):
            if layer > 0 and self.training and self.dropout != 0:
                x = torch.dropout(x, self.dropout, True)
            outputs = []
            for reverse in (False, True) if self.bidirectional else (False,):
                h0 = None if state is None else state[len(finals)]
                h = self._run(x.flip(0) if reverse else x, h0, next(suffixes))
                finals.append(h[-1])
                outputs.append(h.flip(0) if reverse else h)
            x = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
        return x, torch.stack(finals)

    def penalty(self) -> Tensor | None:
        """``λ Σ ‖WᵀW - I‖²``, differentiable; None where λ is 0."""
        if self.strength == 0:
            return None
        errors = [gram_error(getattr(self, name)).square().sum() for name in self.recurrent]
        return self.strength * torch.stack(errors).sum()

    def _run(self, x: Tensor, h0: Tensor | None, suffix: str) -> Tensor:
        h0 = x.new_zeros(x.shape[1], self.hidden_size) if h0 is None else h0
        return choose(self.backend)(
            x,
            h0,
            getattr(self, f"weight_hh{suffix}"),
            getattr(self, f"weight_ih{suffix}"),
            total_bias(self, suffix),
            getattr(self, f"modrelu_bias{suffix}", None),
            self.nonlinearity,
        )


@torch.no_grad()
def scale_input_(core: nn.Module, input_scale: float) -> None:
    """Multiply the first layer's input weights, of every direction, by ``input_scale``."""
    check_number("input_scale", input_scale, 0, LARGEST, above=True)
    for name, p in core.named_parameters():
        if name in ("weight_ih_l0", "weight_ih_l0_reverse"):
            p.mul_(input_scale)


@torch.no_grad()
def fill_modrelu_bias_(core: nn.Module, modrelu_bias: float | None) -> None:
    """Start modReLU's biases, if there are any, from one value; None leaves them as drawn."""
    if modrelu_bias is None:
        return
    check_number("modrelu_bias", modrelu_bias, -LARGEST, LARGEST)
    for name, p in core.named_parameters():
        if MODRELU_BIAS.fullmatch(name):
            p.fill_(modrelu_bias)
