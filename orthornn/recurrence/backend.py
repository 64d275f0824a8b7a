"""What a backend is: what it runs, what it returns, and what it says of itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from orthornn._torch_internals import (
    dispatch_mode_active,
    is_ordinary_tensor,
    is_traced_or_transformed,
)

Tensors = Sequence[Tensor | None]


class Backend(Protocol):
    """A module, or an object, that runs one recurrence and its adjoint.

    ``inputs`` are the tensors of the recurrence, ``kind`` is which one of its forms runs over them,
    ``needed`` says which of the tensors need a gradient: tuples of the same fields as
    :class:`orthornn.recurrence.recurrence.Recurrence` names them. Any adjoint takes the states of
    any forward pass.
    """

    def forward(self, inputs: Any, kind: Any, /) -> Tensor:
        """The states, (T, B, H) or packed (N, H), outside autograd."""

    def backward(
        self, grad: Tensor, inputs: Any, states: Tensor, kind: Any, needed: Any, /
    ) -> tuple[Tensor | None, ...]:
        """The gradients, where ``grad`` is that of the states, of their shape."""

    def unavailable(self) -> str | None:
        """Why this machine cannot run it; None if it can."""

    def unsupported(self, tensors: Tensors, kind: Any, /) -> str | None:
        """Why it does not take these tensors, inputs and results; None if it does.

        To be asked where it is available. Without tensors it speaks of the kind alone.
        """

    def is_faster(self, inputs: Any, kind: Any, /) -> bool:
        """Whether it is faster for these than the backends that follow it in the table."""


def unsupported_by_machine_code(tensors: Tensors, device: str) -> str | None:
    """Why machine code for a type of device, which reads memory, does not take these tensors."""
    if not tensors:
        return None
    if dispatch_mode_active() or is_traced_or_transformed():
        return "a mode, a transform or a tracer of torch watches every operation"
    dtype = next(a.dtype for a in tensors if a is not None and a.is_floating_point())
    for a in tensors:
        if a is None:
            continue
        is_wrong = a.is_floating_point() and (
            a.dtype != dtype or dtype not in (torch.float32, torch.float64)
        )
        if a.device.type != device or is_wrong:
            return (
                f"it takes one dtype, float32 or float64, on {device}, got {a.dtype} on {a.device}"
            )
        if not is_ordinary_tensor(a) or not a.numel():
            return f"it takes plain tensors with entries, got {type(a).__name__} {tuple(a.shape)}"
    return None


def unsupported_nonlinearity(nonlinearity: str, choices: Collection[str]) -> str | None:
    """Why a backend with these nonlinearities does not run this one; None if it does."""
    if nonlinearity in choices:
        return None
    return f"nonlinearity must be one of {sorted(choices)}, got {nonlinearity!r}"
