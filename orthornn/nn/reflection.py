"""ReflectionRNN: products of reflections whose vectors come from a real input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from orthornn._validation import check_ranges, check_type

from . import precision
from .precision import cast
from .transitions import Map, Read, TransitionRNN


class ReflectionRNN(TransitionRNN):
    """A recurrent network whose input turns the state by Householder reflections.

    ``h_t = H(v_k) ... H(v_1) h_{t-1}`` with ``H(v) = I - 2vvᵀ`` and
    ``v_i = (A_i x_t + c_i) / ‖A_i x_t + c_i‖``: orthogonal by construction, for inputs that are no
    tokens. Every optimizer may train it. :class:`orthornn.SwitchedOrthoRNN` says what such
    networks can do; with ``reflections`` it is this one over one-hot inputs.

    With all options, ``h_t = g (H(v_k) ... H(v_1) h_{t-1} + V x_t) + (1 - g) (R x_t + r)``, where g
    is exactly 1 if ``a·x_t + b > 0``, else 0.

    Args:
        input_size: I, features of the input.
        hidden_size: H, features of the state.
        reflections: k, from 1; the determinant of each step is (-1)^k, and H of them can be any
            orthogonal matrix.
        batch_first: whether input and output are (B, T, ·) instead of (T, B, ·).
        device, dtype: of the parameters.
        additive: whether V x_t is added. V starts from 0.
        resets: whether there is a gate, and a state to go to where it is shut. It starts open.
        backend: as for :class:`orthornn.SwitchedOrthoRNN`.

    Attributes:
        vectors: the linear map to k H numbers.
        initial_state: h_0, (H,), learned, from a uniform direction.
        shift, gate, reset: the linear maps V, ``a·x + b`` and ``R x + r``, where asked for.

    Shape:
        input ``(T, B, I)``, ``(B, T, I)`` if batch_first, ``(T, I)``, or a ``PackedSequence``;
        hx ``(1, B, H)`` or ``(1, H)``, ``initial_state`` if None;
        output ``(T, B, H)``, ``(B, T, H)``, ``(T, H)`` or packed; h_n like hx.

    Raises:
        ValueError: for an option out of its range, naming the choices; for an input with another
            number of axes or another dtype.
        TypeError: for an argument of another type.
        RuntimeError: for an input or hx of another shape, or hx of another dtype; for an input of
            another dtype under autocast, as from ``torch.nn.RNN``.
        torch.fx.proxy.TraceError: where ``torch.fx`` traces the module itself, not one around it.

    References:
        Siems et al., "DeltaProduct", NeurIPS 2025, of which this is the case β = 2.
    """

    feature_axes = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reflections: int = 1,
        batch_first: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        additive: bool = False,
        resets: bool = False,
        backend: str | None = None,
    ) -> None:
        check_type(int, input_size=input_size, hidden_size=hidden_size)
        check_ranges(input_size=input_size, hidden_size=hidden_size)
        if reflections is None:
            raise ValueError("reflections must be an int of at least 1, got None")
        factory = {"device": device, "dtype": dtype}

        def linear(features: int) -> nn.Linear:
            return nn.Linear(input_size, features, **factory)  # type: ignore[arg-type]

        super().__init__(
            linear, hidden_size, batch_first, additive, resets, reflections, backend, factory
        )
        self.input_size = input_size
        self.reset_parameters()

    def extra_repr(self) -> str:
        names = ("additive", "resets", "batch_first", "backend")
        shown = (f"{name}={getattr(self, name)}" for name in names if getattr(self, name))
        sizes = f"{self.input_size}, {self.hidden_size}, reflections={self.reflections}"
        return ", ".join((sizes, *shown))

    def _check_input(self, rows: Tensor) -> None:
        dtype, device = self.initial_state.dtype, self.initial_state.device
        if not precision.accepts_dtype(dtype, rows):
            error = ValueError if precision.autocast_dtype(rows) is None else RuntimeError
            raise error(
                f"RNN input dtype ({rows.dtype}) does not match weight dtype ({dtype}). "
                f"Convert input: input.to({dtype}), or convert model: model.to({rows.dtype})"
            )
        if rows.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {rows.shape[-1]}"
            )
        if rows.device != device:
            raise RuntimeError(
                f"Input and parameter tensors are not at the same device, found input tensor at "
                f"{rows.device} and parameter tensor at {device}"
            )

    def _example(self, rows: Tensor) -> Tensor:
        return rows

    def _reader(self, rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Read]:
        x = cast(rows.flatten(0, -2), dtype)

        def read(map: Map) -> Tensor:
            assert isinstance(map, nn.Linear)
            return functional.linear(x, cast(map.weight, dtype), cast(map.bias, dtype))

        tokens = torch.arange(x.shape[0], device=x.device).view(rows.shape[:-1])
        return tokens, read

    def _weight(self, read: Read) -> Tensor:
        return self._unit_vectors(read)
