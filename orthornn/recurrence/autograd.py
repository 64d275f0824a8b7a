"""The recurrence under autograd, with the adjoint of an engine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from orthornn._torch_internals import is_batched

from .engines import ENGINES, Engine, fastest
from .reference import see_through


class _ByHand(torch.autograd.Function):
    """An engine's forward pass with its adjoint, or the reference's own derivatives."""

    @staticmethod
    def forward(ctx: Any, engine: Engine, *arguments: Any) -> Tensor:
        *inputs, nonlinearity, batch_sizes = arguments
        states = engine.forward(*arguments)
        ctx.save_for_backward(*inputs, batch_sizes, states)
        ctx.engine, ctx.nonlinearity = engine, nonlinearity
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, batch_sizes, states = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:7]
        if torch.is_grad_enabled() or is_batched(grad):
            found = see_through(grad, inputs, ctx.nonlinearity, batch_sizes, needed)
        else:
            kind = (ctx.nonlinearity, batch_sizes)
            fits = ctx.engine.unfit((*inputs, states, grad), *kind) is None  # it may be special
            engine = ctx.engine if fits else ENGINES["fused"]
            found = engine.backward(grad, inputs, states, *kind, needed)
        return (None, *found, None, None)


def by_hand(
    x: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    w_ih: Tensor,
    bias: Tensor | None,
    threshold: Tensor | None,
    nonlinearity: str,
    batch_sizes: Tensor | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """The states by the engine of that name, or by the fastest that takes these tensors (None).

    A second derivative, and a batch of gradients under vmap, fall back on
    :func:`orthornn.recurrence.reference.reference`. Other arguments as in
    :mod:`orthornn.recurrence.dispatch`.

    Raises:
        ValueError: for tensors that the named engine does not take.
    """
    inputs = (x, h0, w_hh, w_ih, bias, threshold)
    if not x.numel():
        name = "fused"  # nothing to run
    if name is None:
        engine = ENGINES[fastest(inputs, nonlinearity, batch_sizes)]
    else:
        engine = ENGINES[name]
        reason = engine.missing() or engine.unfit(inputs, nonlinearity, batch_sizes)
        if reason is not None:
            raise ValueError(f"backend {name!r} cannot run this: {reason}")
    if not torch.is_grad_enabled():
        return engine.forward(*inputs, nonlinearity, batch_sizes)
    h: Tensor = _ByHand.apply(engine, *inputs, nonlinearity, batch_sizes)  # type: ignore[no-untyped-call]
    return h
