"""OrthoRNNCell: the contract of ``torch.nn.RNNCell`` around one orthogonal step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orthornn._validation import check_choice
from orthornn.init import INITIALIZERS
from orthornn.manifolds.retractions import RETRACTIONS
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES
from orthornn.recurrence.elman.reference import recurrence_step

from . import precision
from .fx import call_in_graph, is_proxy
from .parameters import add_gain, add_modrelu_bias, check_gain, init_parameters, total_bias
from .precision import cast
from .recurrent_weight import OrthogonalWeights


class OrthoRNNCell(OrthogonalWeights, nn.RNNCellBase):
    """A drop-in for ``torch.nn.RNNCell`` with an orthogonal recurrent weight.

    ``h' = s(W h + V x + b_ih + b_hh)`` with ``WᵀW = I``; the differences from torch's cell are
    those of :class:`orthornn.OrthoRNN`, and an unknown nonlinearity is refused at construction.

    Args:
        input_size: features I of the input.
        hidden_size: features H of the state.
        bias: whether to use ``b_ih`` and ``b_hh``.
        nonlinearity, device, dtype, init, retraction, gain, learn_gain: as for
            :class:`orthornn.OrthoRNN`.

    Shape:
        input ``(B, I)`` or ``(I,)``; h ``(B, H)`` or ``(H,)``, zero if None; the same for h'.

    Raises:
        ValueError: for an option out of its range, naming the choices; an input or state with
            another number of axes.
        TypeError: for an argument of another type.
        RuntimeError: for an input or state of another size or dtype.
        torch.fx.proxy.TraceError: as for :class:`orthornn.OrthoRNN`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "modrelu",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: str = "henaff",
        retraction: str = "polar",
        gain: float = 1.0,
        learn_gain: bool = False,
    ) -> None:
        # begins as torch.nn.RNN's own error does
        check_choice("Unknown nonlinearity: nonlinearity", nonlinearity, NONLINEARITIES)
        check_choice("init", init, INITIALIZERS)
        check_choice("retraction", retraction, RETRACTIONS)
        check_gain(gain, learn_gain)
        self.init = init
        self.retraction, self.gain, self.learn_gain = retraction, float(gain), learn_gain
        super().__init__(input_size, hidden_size, bias, num_chunks=1, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity
        if NONLINEARITIES[nonlinearity].has_bias:
            add_modrelu_bias(self, "", like=self.weight_ih)
        if learn_gain:
            add_gain(self, "", gain, like=self.weight_ih)

    def reset_parameters(self) -> None:
        """Draw every parameter anew; the recurrent weight is a point of the manifold."""
        init_parameters(self, self.init)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """One step from ``hx``; returns the next state."""
        if is_proxy(input, hx):
            return call_in_graph(self, input, hx)  # type: ignore[no-any-return]
        if input.dim() not in (1, 2):
            raise ValueError(
                f"OrthoRNNCell: Expected input to be 1D or 2D, got {input.dim()}D instead"
            )
        if hx is not None and hx.dim() not in (1, 2):
            raise ValueError(
                f"OrthoRNNCell: Expected hidden to be 1D or 2D, got {hx.dim()}D instead"
            )
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        h = hx if batched or hx is None else hx.unsqueeze(0)
        self._check(x, h)
        w_hh = self._read_weight("weight_hh")
        dtype = precision.at_least_float32(w_hh.dtype)
        with precision.in_weight_precision(x) as out:
            if h is None:
                h = x.new_zeros(len(x), self.hidden_size)
            bias = cast(total_bias(self, ""), dtype)
            z = nn.functional.linear(cast(x, dtype), cast(self.weight_ih, dtype), bias)
            h = recurrence_step(
                z,
                cast(h, dtype),
                cast(w_hh, dtype),
                cast(getattr(self, "modrelu_bias", None), dtype),
                self.nonlinearity,
            )
            h = cast(h, out)
        return h if batched else h.squeeze(0)

    def extra_repr(self) -> str:
        bias = "" if self.bias is True else f", bias={self.bias}"
        return (
            f"{self.input_size}, {self.hidden_size}{bias}, nonlinearity={self.nonlinearity}, "
            f"init={self.init}, retraction={self.retraction}"
            f"{self._gain_text()}"
        )

    def _check(self, input: Tensor, hx: Tensor | None) -> None:
        """Refuse what torch.nn.RNNCell refuses, before anything is computed."""
        if input.shape[1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.shape[1]} expected "
                f"{self.input_size}"
            )
        if hx is not None and hx.dim() != 2:
            raise RuntimeError(
                f"Expected hidden to have as many axes as input, got hidden0 of shape "
                f"{tuple(hx.shape)} for input of shape {tuple(input.shape)}, with the batch first"
            )
        if hx is not None and len(hx) != len(input):
            raise RuntimeError(
                f"Input batch size {len(input)} doesn't match hidden0 batch size {len(hx)}"
            )
        if hx is not None and hx.shape[-1] != self.hidden_size:
            raise RuntimeError(
                f"hidden0 has inconsistent hidden_size: got {hx.shape[-1]}, expected "
                f"{self.hidden_size}"
            )
        expected = self.weight_ih.dtype
        for name, a in (("input", input), ("hx", hx)):
            if a is not None and not precision.accepts_dtype(expected, a):
                raise RuntimeError(f"{name} must have the type {expected}, got type {a.dtype}")
