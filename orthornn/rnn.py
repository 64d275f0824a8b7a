"""OrthoRNN and OrthoRNNCell: the contract of ``torch.nn.RNN`` around one orthogonal recurrence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .init import INITIALIZERS
from .manifold import Stiefel
from .nonlinearity import NONLINEARITIES
from .parameters import check_choice, check_dropout, check_sizes, register, reset, total_bias
from .recurrence import choose, recurrence_step


class OrthoRNN(nn.Module):
    """A drop-in for ``torch.nn.RNN`` whose recurrent weights are orthogonal and stay so.

    ``h_t = s(W h_{t-1} + V x_t + b_ih + b_hh)`` with ``WᵀW = I``: every singular value of the
    linear part of the Jacobian is 1, so a gradient neither explodes nor vanishes through it.

    Arguments, shapes, and the names and order of the parameters are those of ``torch.nn.RNN``
    (2.13); with tanh or relu the state dict is one of ``torch.nn.RNN``. The differences:

    * each ``weight_hh_l*`` is a ``geoopt.ManifoldParameter`` on :class:`orthornn.Stiefel` and has
      to be trained by a Riemannian optimizer (:func:`orthornn.param_groups` and
      :class:`orthornn.RiemannianRMSprop`, or geoopt's); a plain one would leave the manifold;
    * the default nonlinearity is modReLU, which adds ``modrelu_bias_l*`` (also with
      ``bias=False``: without it modReLU is the identity);
    * weights start from ``init`` and Kaiming-normal input weights, biases from zero and modReLU's
      from U(-0.01, 0.01), as in expRNN (Lezcano-Casado & Martínez-Rubio, 2019);
    * ``load_state_dict`` refuses a recurrent weight that is not orthogonal, and ``assign=True``
      where it would lose the manifold;
    * the output is kept for the backward pass: writing into it, as ``nn.ReLU(inplace=True)`` would,
      raises then; clone it first;
    * packed sequences are not supported yet and raise TypeError.

    Args:
        input_size: features I of the input.
        hidden_size: features H of the state.
        num_layers: stacked layers L.
        nonlinearity: ``"modrelu"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` or ``"identity"``.
        bias: whether to use ``b_ih`` and ``b_hh``.
        batch_first: whether input and output are (B, T, ·) instead of (T, B, ·).
        dropout: probability of zeroing an output of every layer but the last, in training.
        bidirectional: whether to run a second recurrence from the end (D = 2).
        device, dtype: of the parameters.
        init: start of the recurrent weights, ``"henaff"``, ``"cayley"``, ``"haar"`` or
            ``"identity"``; see :mod:`orthornn.init` for which suits which task.
        retraction: of the manifold, ``"polar"``, ``"qr"``, ``"cayley"`` or ``"exp"``.
        backend: implementation of the recurrence; None picks the fastest, ``"reference"`` is the
            plain autograd loop, which transforms such as ``torch.func.grad`` need.

    Shape:
        input ``(T, B, I)``, ``(B, T, I)`` if batch_first, or ``(T, I)``;
        h0 ``(D·L, B, H)`` or ``(D·L, H)``, zero if None;
        output ``(T, B, D·H)``, ``(B, T, D·H)`` or ``(T, D·H)``; h_n like h0.

    Raises:
        ValueError: for an option out of its range, naming the choices.
        TypeError: for an argument of another type.

    Example:
        >>> rnn = OrthoRNN(10, 190)
        >>> output, h_n = rnn(torch.randn(1000, 128, 10))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "modrelu",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: str = "henaff",
        retraction: str = "polar",
        backend: str | None = None,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        check_choice("init", init, INITIALIZERS)
        check_dropout(dropout, num_layers)
        choose(backend)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.nonlinearity = nonlinearity
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.init = init
        self.retraction = retraction
        self.backend = backend
        manifold = Stiefel(retraction)
        width = hidden_size * (2 if bidirectional else 1)
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                features = input_size if layer == 0 else width
                register(
                    self,
                    suffix,
                    features,
                    hidden_size,
                    nonlinearity,
                    bias,
                    manifold,
                    device,
                    dtype,
                )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew; the recurrent weights are points of the manifold."""
        reset(self, self.init)

    def flatten_parameters(self) -> None:
        """Nothing: torch.nn.RNN's parameters share one buffer on a GPU, these do not."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run the network over ``input`` from ``hx``; returns ``(output, h_n)``."""
        if isinstance(input, PackedSequence):
            raise TypeError("OrthoRNN does not support PackedSequence yet; pad the batch instead")
        if input.dim() not in (2, 3):
            raise ValueError(f"OrthoRNN: expected input to be 2D or 3D, got {input.dim()}D tensor")
        batched = input.dim() == 3
        x = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        h0 = self._initial_state(x, hx, batched)

        finals: list[Tensor] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = nn.functional.dropout(x, self.dropout, self.training)
            outputs = []
            for suffix in self._suffixes(layer):
                reverse = suffix.endswith("_reverse")
                h = self._run(x.flip(0) if reverse else x, h0[len(finals)], suffix)
                finals.append(h[-1])
                outputs.append(h.flip(0) if reverse else h)
            x = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]

        h_n = torch.stack(finals)
        if not batched:
            return x.squeeze(1), h_n.squeeze(1)
        return (x.transpose(0, 1) if self.batch_first else x), h_n

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        shown: dict[str, object] = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "backend": None,
        }
        for name, default in shown.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        for name in ("nonlinearity", "init", "retraction"):
            text += f", {name}={getattr(self, name)}"
        return text

    def _suffixes(self, layer: int) -> list[str]:
        forward = f"_l{layer}"
        return [forward, f"{forward}_reverse"] if self.bidirectional else [forward]

    def _run(self, x: Tensor, h0: Tensor, suffix: str) -> Tensor:
        return choose(self.backend)(
            x,
            h0,
            getattr(self, f"weight_hh{suffix}"),
            getattr(self, f"weight_ih{suffix}"),
            total_bias(self, suffix),
            getattr(self, f"modrelu_bias{suffix}", None),
            self.nonlinearity,
        )

    def _initial_state(self, x: Tensor, hx: Tensor | None, batched: bool) -> Tensor:
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {x.shape[-1]}"
            )
        if x.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        dtype = self.weight_ih_l0.dtype
        if x.dtype != dtype:
            raise ValueError(f"input must have the type {dtype}, got type {x.dtype}")
        rows = self.num_layers * (2 if self.bidirectional else 1)
        shape = (rows, x.shape[1], self.hidden_size)
        if hx is None:
            return x.new_zeros(shape)
        if hx.dim() != (3 if batched else 2):
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx should also be {3 if batched else 2}-D "
                f"but got {hx.dim()}-D tensor"
            )
        hx = hx if batched else hx.unsqueeze(1)
        if hx.shape != shape:
            raise RuntimeError(f"Expected hidden size {shape}, got {tuple(hx.shape)}")
        if hx.dtype != dtype:
            raise RuntimeError(f"hx must have the type {dtype}, got type {hx.dtype}")
        return hx


class OrthoRNNCell(nn.Module):
    """A drop-in for ``torch.nn.RNNCell`` with an orthogonal recurrent weight.

    ``h' = s(W h + V x + b_ih + b_hh)`` with ``WᵀW = I``; the differences from torch's cell are
    those of :class:`OrthoRNN`.

    Args:
        input_size: features I of the input.
        hidden_size: features H of the state.
        bias: whether to use ``b_ih`` and ``b_hh``.
        nonlinearity, device, dtype, init, retraction: as for :class:`OrthoRNN`.

    Shape:
        input ``(B, I)`` or ``(I,)``; h ``(B, H)`` or ``(H,)``, zero if None; the same for h'.

    Raises:
        ValueError: for an option out of its range, naming the choices.
        TypeError: for an argument of another type.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "modrelu",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: str = "henaff",
        retraction: str = "polar",
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        check_choice("init", init, INITIALIZERS)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.nonlinearity = nonlinearity
        self.init = init
        self.retraction = retraction
        manifold = Stiefel(retraction)
        register(self, "", input_size, hidden_size, nonlinearity, bias, manifold, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew; the recurrent weight is a point of the manifold."""
        reset(self, self.init)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """One step from ``hx``; returns the next state."""
        if input.dim() not in (1, 2):
            raise ValueError(f"OrthoRNNCell: Expected input to be 1D or 2D, got {input.dim()}D")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.shape[-1]} "
                f"expected {self.input_size}"
            )
        shape = (*input.shape[:-1], self.hidden_size)
        if hx is None:
            hx = input.new_zeros(shape)
        elif hx.dim() not in (1, 2):
            raise ValueError(f"OrthoRNNCell: Expected hidden to be 1D or 2D, got {hx.dim()}D")
        elif hx.shape != shape:
            raise RuntimeError(f"Expected hidden shape {shape}, got {tuple(hx.shape)}")
        w_hh, w_ih = self.get_parameter("weight_hh"), self.get_parameter("weight_ih")
        z = nn.functional.linear(input, w_ih, total_bias(self, ""))
        threshold = getattr(self, "modrelu_bias", None)
        return recurrence_step(z, hx, w_hh, threshold, self.nonlinearity)

    def extra_repr(self) -> str:
        return (
            f"{self.input_size}, {self.hidden_size}, bias={self.bias}, "
            f"nonlinearity={self.nonlinearity}, init={self.init}, retraction={self.retraction}"
        )
