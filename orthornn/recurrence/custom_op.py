"""The recurrence as one operator of torch, ``orthornn::recurrence``, for its compilers.

A compiler that traced the loop over time would unroll it: minutes for a thousand steps. An
operator it takes as it is, whatever the length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .backend import Inputs, Kind, Needed
from .dispatch import BACKENDS, fastest
from .reference import differentiable_backward

# of an operator, which takes tensors and strings alone: the fields of Inputs and of Kind
_ARGUMENTS = (
    "Tensor x, Tensor h0, Tensor w_hh, Tensor w_ih, Tensor? bias, Tensor? modrelu_bias, "
    "str nonlinearity, Tensor? batch_sizes"
)

TENSORS = len(Inputs._fields)


def _grouped(arguments: tuple[Any, ...]) -> tuple[Inputs, Kind]:
    """The arguments again; an operator is not handed the last one where it is the default."""
    return Inputs(*arguments[:TENSORS]), Kind(*arguments[TENSORS:])


@torch.library.custom_op(
    "orthornn::recurrence", mutates_args=(), schema=f"({_ARGUMENTS}=None) -> Tensor"
)
def recurrence(*arguments: Any) -> Tensor:
    """The states, by the fastest backend."""
    inputs, kind = _grouped(arguments)
    return BACKENDS[fastest(inputs, kind)].forward(inputs, kind)


@torch.library.custom_op(
    "orthornn::recurrence_backward",
    mutates_args=(),
    schema=f"(Tensor grad, Tensor states, bool[] needed, {_ARGUMENTS}) -> Tensor[]",
)
def recurrence_backward(
    grad: Tensor, states: Tensor, needed: list[bool], *arguments: Any
) -> list[Tensor]:
    """The needed gradients, in the order of the inputs."""
    inputs, kind = _grouped(arguments)
    backend = BACKENDS[fastest(inputs, kind)]
    gradients = backend.backward(grad, inputs, states, kind, Needed(*needed))
    return [a for a in gradients if a is not None]


@recurrence.register_fake
def _(*arguments: Any) -> Tensor:
    inputs, _ = _grouped(arguments)
    return inputs.x.new_empty(*inputs.x.shape[:-1], inputs.h0.shape[-1])


@recurrence_backward.register_fake
def _(grad: Tensor, states: Tensor, needed: list[bool], *arguments: Any) -> list[Tensor]:
    inputs, _ = _grouped(arguments)
    return [
        a.new_empty(a.shape)
        for a, asked in zip(inputs, needed, strict=True)
        if asked and a is not None
    ]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, nonlinearity, batch_sizes = inputs
    ctx.save_for_backward(*tensors, batch_sizes, output)
    ctx.nonlinearity = nonlinearity


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, batch_sizes, states = ctx.saved_tensors
    needed = ctx.needs_input_grad[:TENSORS]
    inputs, kind = Inputs(*tensors), Kind(ctx.nonlinearity, batch_sizes)
    if torch.is_grad_enabled():
        return *differentiable_backward(grad, inputs, kind, Needed(*needed)), None, None
    gradients = iter(recurrence_backward(grad, states, needed, *inputs, *kind))
    return *(next(gradients) if asked else None for asked in needed), None, None


recurrence.register_autograd(_backward, setup_context=_setup_context)
