"""The recurrence as one operator of torch, ``orthornn::recurrence``, for its compilers.

A compiler that traced the loop over time would unroll it: minutes for a thousand steps. An
operator it takes as it is, whatever the length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .engines import ENGINES, Engine, fastest
from .reference import see_through

_ARGUMENTS = (
    "Tensor x, Tensor h0, Tensor w_hh, Tensor w_ih, Tensor? bias, Tensor? threshold, "
    "str nonlinearity, Tensor? batch_sizes"
)


def _engine(
    x: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    w_ih: Tensor,
    bias: Tensor | None,
    threshold: Tensor | None,
    nonlinearity: str,
    batch_sizes: Tensor | None = None,  # an operator is handed no argument that has its default
) -> Engine:
    inputs = (x, h0, w_hh, w_ih, bias, threshold)
    return ENGINES[fastest(inputs, nonlinearity, batch_sizes)]


@torch.library.custom_op(
    "orthornn::recurrence", mutates_args=(), schema=f"({_ARGUMENTS}=None) -> Tensor"
)
def recurrence(*arguments: Any) -> Tensor:
    """See :mod:`orthornn.recurrence` for the arguments."""
    return _engine(*arguments).forward(*arguments)


@torch.library.custom_op(
    "orthornn::recurrence_backward",
    mutates_args=(),
    schema=f"(Tensor grad, Tensor states, bool[] needed, {_ARGUMENTS}) -> Tensor[]",
)
def recurrence_backward(
    grad: Tensor, states: Tensor, needed: list[bool], *arguments: Any
) -> list[Tensor]:
    """The needed gradients of the first six arguments, in their order."""
    *inputs, nonlinearity, batch_sizes = (*arguments, None)[:8]  # see _engine
    found = _engine(*arguments).backward(grad, inputs, states, nonlinearity, batch_sizes, needed)
    return [a for a in found if a is not None]


@recurrence.register_fake
def _(*arguments: Any) -> Tensor:
    x, h0 = arguments[:2]
    return x.new_empty(*x.shape[:-1], h0.shape[-1])  # type: ignore[no-any-return]


@recurrence_backward.register_fake
def _(grad: Tensor, states: Tensor, needed: list[bool], *arguments: Any) -> list[Tensor]:
    return [a.new_empty(a.shape) for a, asked in zip(arguments, needed, strict=False) if asked]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, nonlinearity, batch_sizes = inputs
    ctx.save_for_backward(*tensors, batch_sizes, output)
    ctx.nonlinearity = nonlinearity


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, batch_sizes, states = ctx.saved_tensors
    needed = ctx.needs_input_grad[:6]
    if torch.is_grad_enabled():
        found = see_through(grad, inputs, ctx.nonlinearity, batch_sizes, needed)
    else:
        made = iter(
            recurrence_backward(grad, states, needed, *inputs, ctx.nonlinearity, batch_sizes)
        )
        found = [next(made) if asked else None for asked in needed]
    return (*found, None, None)


recurrence.register_autograd(_backward, setup_context=_setup_context)
