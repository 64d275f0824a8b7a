"""A recurrence as one operator of torch, ``orthornn::NAME``, for its compilers.

A compiler that traced the loop over time would unroll it: minutes for a thousand steps. An
operator it takes as it is, whatever the length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .autograd import differentiable_backward

Operator = Callable[..., Tensor]


def define_operator(recurrence: Any) -> Operator:
    """The operator of a :class:`orthornn.recurrence.recurrence.Recurrence`, and its adjoint.

    Its arguments are the fields of the inputs and of the kind; it runs the fastest backend.
    """
    name, arguments = f"orthornn::{recurrence.name}", _arguments(recurrence)
    count = len(recurrence.inputs._fields)

    def grouped(values: tuple[Any, ...]) -> tuple[Any, Any]:
        """The tuples again; an operator is not handed the last argument where it is the default."""
        return recurrence.inputs(*values[:count]), recurrence.kind(*values[count:])

    @torch.library.custom_op(name, mutates_args=(), schema=f"({arguments}=None) -> Tensor")
    def operator(*values: Any) -> Tensor:
        inputs, kind = grouped(values)
        backend = recurrence.backends[recurrence.fastest(inputs, kind)]
        states: Tensor = backend.forward(inputs, kind)
        return states

    @torch.library.custom_op(
        f"{name}_backward",
        mutates_args=(),
        schema=f"(Tensor grad, Tensor states, bool[] needed, {arguments}) -> Tensor[]",
    )
    def adjoint(grad: Tensor, states: Tensor, needed: list[bool], *values: Any) -> list[Tensor]:
        inputs, kind = grouped(values)
        backend = recurrence.backends[recurrence.fastest(inputs, kind)]
        gradients = backend.backward(grad, inputs, states, kind, recurrence.needed(*needed))
        return [a for a in gradients if a is not None]

    @operator.register_fake
    def _(*values: Any) -> Tensor:
        inputs, _ = grouped(values)
        states: Tensor = inputs.h0.new_empty(inputs.states_shape)
        return states

    @adjoint.register_fake
    def _(grad: Tensor, states: Tensor, needed: list[bool], *values: Any) -> list[Tensor]:
        inputs, _ = grouped(values)
        return [
            a.new_empty(a.shape)
            for a, asked in zip(inputs, needed, strict=True)
            if asked and a is not None
        ]

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *values, batch_sizes = inputs
        ctx.save_for_backward(*values[:count], batch_sizes, output)
        ctx.options = values[count:]

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, batch_sizes, states = ctx.saved_tensors
        needed = ctx.needs_input_grad[:count]
        kind = recurrence.kind(*ctx.options, batch_sizes)
        rest = (None,) * len(kind)
        if torch.is_grad_enabled():
            gradients = differentiable_backward(
                recurrence.reference,
                grad,
                recurrence.inputs(*tensors),
                kind,
                recurrence.needed(*needed),
            )
            return *gradients, *rest
        made = iter(adjoint(grad, states, list(needed), *tensors, *kind))
        return *(next(made) if asked else None for asked in needed), *rest

    operator.register_autograd(backward, setup_context=setup_context)
    return operator


def _arguments(recurrence: Any) -> str:
    """Those of the operator's schema: tensors, strings, and in the end the batch sizes."""
    optional = recurrence.inputs._field_defaults
    tensors = [f"Tensor{'?' * (name in optional)} {name}" for name in recurrence.inputs._fields]
    *options, batch_sizes = recurrence.kind._fields
    return ", ".join([*tensors, *(f"str {name}" for name in options), f"Tensor? {batch_sizes}"])
