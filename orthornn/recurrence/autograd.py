"""The recurrence as one function under autograd, whichever backend runs it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from orthornn._torch_internals import disable_dynamo, is_batched

from . import custom_op, eager
from .backend import Backend, Inputs, Kind, Needed
from .dispatch import BACKENDS, choose
from .reference import differentiable_backward, reference


def run_recurrence(inputs: Inputs, kind: Kind, backend: str | None = None) -> Tensor:
    """The states ``h_t = s(W h_{t-1} + V x_t + c)``, differentiable in every input.

    Args:
        inputs: the tensors.
        kind: the nonlinearity, and the batch sizes of packed rows.
        backend: a name of :func:`orthornn.backends`; None for the fastest that fits.

    Returns:
        h, (T, B, H) or packed (N, H).

    Raises:
        ValueError: for an unknown name, or a backend that cannot run these.
    """
    if torch.compiler.is_compiling() and backend in BACKENDS:
        return _run_uncompiled(inputs, kind, backend)
    return _run(inputs, kind, backend)


def _run(inputs: Inputs, kind: Kind, backend: str | None) -> Tensor:
    name = choose(backend, inputs, kind)
    if name == "autograd":
        return reference(inputs, kind)
    h: Tensor
    if name == "custom_op":
        h = custom_op.recurrence(*inputs, *kind)
    elif not torch.is_grad_enabled():
        h = BACKENDS[name].forward(inputs, kind)
    else:
        h = _Recurrence.apply(*inputs, kind, BACKENDS[name])  # type: ignore[no-untyped-call]
    return h


# a compiler would trace the self-test, the loading of libraries and the loop over time
_run_uncompiled = disable_dynamo(_run)


class _Recurrence(torch.autograd.Function):
    """A backend's forward pass with its adjoint.

    A second derivative, and a batch of gradients under vmap, are those of the reference.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, kind, backend = arguments
        states: Tensor = backend.forward(Inputs(*tensors), kind)
        ctx.save_for_backward(*tensors, states)
        ctx.kind, ctx.backend = kind, backend
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, states = ctx.saved_tensors
        *needs_grad, _, _ = ctx.needs_input_grad
        inputs, kind, needed = Inputs(*tensors), ctx.kind, Needed(*needs_grad)
        if torch.is_grad_enabled() or is_batched(grad):
            return *differentiable_backward(grad, inputs, kind, needed), None, None
        backend: Backend = ctx.backend
        if backend.unsupported((*inputs, states, grad), kind) is not None:
            backend = eager  # grad may be special
        return *backend.backward(grad, inputs, states, kind, needed), None, None
