"""What a backend is: the tensors that it takes, what it returns, and what it says of itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from orthornn._torch_internals import (
    dispatch_mode_active,
    is_ordinary_tensor,
    is_traced_or_transformed,
)

Tensors = Sequence[Tensor | None]


class Inputs(NamedTuple):
    """The tensors of ``h_t = s(W h_{t-1} + V x_t + c)``, all of one dtype.

    Attributes:
        x: the inputs, (T, B, I), or packed (N, I).
        h0: the state before the first step, (B, H).
        w_hh: W, (H, H).
        w_ih: V, (H, I).
        bias: c, (H,), or None.
        modrelu_bias: the b of modReLU, (H,), or None for another nonlinearity.
    """

    x: Tensor
    h0: Tensor
    w_hh: Tensor
    w_ih: Tensor
    bias: Tensor | None = None
    modrelu_bias: Tensor | None = None


class Kind(NamedTuple):
    """Which recurrence runs over the tensors.

    Attributes:
        nonlinearity: s, a key of :data:`orthornn.recurrence.nonlinearity.NONLINEARITIES`.
        batch_sizes: None, or for packed rows, as in ``torch.nn.utils.rnn.PackedSequence``, the
            falling numbers of sequences at each step: (T,), N in all, B at the first.
    """

    nonlinearity: str
    batch_sizes: Tensor | None = None


class Needed(NamedTuple):
    """Which of the :class:`Inputs` need a gradient."""

    x: bool = False
    h0: bool = False
    w_hh: bool = False
    w_ih: bool = False
    bias: bool = False
    modrelu_bias: bool = False


class Gradients(NamedTuple):
    """The gradients of the :class:`Inputs`, None where not needed."""

    x: Tensor | None = None
    h0: Tensor | None = None
    w_hh: Tensor | None = None
    w_ih: Tensor | None = None
    bias: Tensor | None = None
    modrelu_bias: Tensor | None = None

    @classmethod
    def zeros(cls, inputs: Inputs, needed: Needed) -> Gradients:
        """Zeros for the inputs that need a gradient."""
        pairs = zip(inputs, needed, strict=True)
        return cls(
            *(a.new_zeros(a.shape) if a is not None and asked else None for a, asked in pairs)
        )


class Backend(Protocol):
    """A module, or an object, that runs the recurrence and its adjoint.

    Any adjoint takes the states of any forward pass.
    """

    def forward(self, inputs: Inputs, kind: Kind, /) -> Tensor:
        """The states, (T, B, H) or packed (N, H), outside autograd."""

    def backward(
        self, grad: Tensor, inputs: Inputs, states: Tensor, kind: Kind, needed: Needed, /
    ) -> Gradients:
        """The gradients, where ``grad`` is that of the states, of their shape."""

    def unavailable(self) -> str | None:
        """Why this machine cannot run it; None if it can."""

    def unsupported(self, tensors: Tensors, kind: Kind, /) -> str | None:
        """Why it does not take these tensors, inputs and results; None if it does.

        To be asked where it is available. Without tensors it speaks of the nonlinearity alone.
        """

    def is_faster(self, inputs: Inputs, kind: Kind, /) -> bool:
        """Whether it is faster for these than the backends that follow it in the table."""


def unsupported_by_machine_code(
    tensors: Tensors, kind: Kind, nonlinearities: Collection[str], device: str
) -> str | None:
    """Why machine code for a type of device, which reads memory, does not take these tensors."""
    if kind.nonlinearity not in nonlinearities:
        return f"nonlinearity must be one of {sorted(nonlinearities)}, got {kind.nonlinearity!r}"
    if not tensors:
        return None
    if dispatch_mode_active() or is_traced_or_transformed():
        return "a mode, a transform or a tracer of torch watches every operation"
    dtype = next(a.dtype for a in tensors if a is not None)
    for a in tensors:
        if a is None:
            continue
        if (
            a.device.type != device
            or a.dtype != dtype
            or dtype not in (torch.float32, torch.float64)
        ):
            return (
                f"it takes one dtype, float32 or float64, on {device}, got {a.dtype} on {a.device}"
            )
        if not is_ordinary_tensor(a) or not a.numel():
            return f"it takes plain tensors with entries, got {type(a).__name__} {tuple(a.shape)}"
    return None
