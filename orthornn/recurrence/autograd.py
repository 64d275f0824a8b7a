"""A backend as one function under autograd, and derivatives of any order by the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from orthornn._torch_internals import is_batched

from .backend import Backend


def run_backend(recurrence: Any, backend: Backend, inputs: Any, kind: Any) -> Tensor:
    """The states by a backend of a recurrence, differentiable in every input."""
    if not torch.is_grad_enabled():
        return backend.forward(inputs, kind)
    states: Tensor = _Function.apply(*inputs, kind, backend, recurrence)  # type: ignore[no-untyped-call]
    return states


class _Function(torch.autograd.Function):
    """A backend's forward pass with its adjoint.

    A second derivative, and a batch of gradients under vmap, are those of the reference.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, kind, backend, recurrence = arguments
        states: Tensor = backend.forward(recurrence.inputs(*tensors), kind)
        ctx.save_for_backward(*tensors, states)
        ctx.kind, ctx.backend, ctx.recurrence = kind, backend, recurrence
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, states = ctx.saved_tensors
        *needs_grad, _, _, _ = ctx.needs_input_grad
        recurrence, kind = ctx.recurrence, ctx.kind
        inputs, needed = recurrence.inputs(*tensors), recurrence.needed(*needs_grad)
        if torch.is_grad_enabled() or is_batched(grad):
            gradients = differentiable_backward(recurrence.reference, grad, inputs, kind, needed)
            return *gradients, None, None, None
        backend: Backend = ctx.backend
        if backend.unsupported((*inputs, states, grad), kind) is not None:
            backend = recurrence.fallback  # grad may be special
        return *backend.backward(grad, inputs, states, kind, needed), None, None, None


def differentiable_backward(
    reference: Callable[[Any, Any], Tensor], grad: Tensor, inputs: Any, kind: Any, needed: Any
) -> tuple[Tensor | None, ...]:
    """The gradients as differentiable functions, of the reference: ``create_graph``, vmap."""
    names = [name for name, asked in needed._asdict().items() if asked]

    def states(*tensors: Tensor) -> Tensor:
        return reference(inputs._replace(**dict(zip(names, tensors, strict=True))), kind)

    pull = torch.func.vjp(states, *(getattr(inputs, name) for name in names))[1]
    gradients = dict(zip(names, pull(grad), strict=True))
    return tuple(gradients.get(name) for name in needed._fields)
