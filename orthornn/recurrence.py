"""``h_t = s(W h_{t-1} + V x_t + c)`` and its adjoint: a reference, a fused form, and the choice.

Every implementation has one signature, :data:`Recurrence`:
``(x, h0, w_hh, w_ih, bias, threshold, nonlinearity) -> h`` with

    x (T, B, I), h0 (B, H), w_hh = W (H, H), w_ih = V (H, I), bias = c (H,) or None,
    threshold = modReLU's b (H,) or None, h (T, B, H).

A new implementation is one row of :data:`BACKENDS`; :func:`choose` is the only place that picks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .nonlinearity import NONLINEARITIES, Nonlinearity

Recurrence = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None, str], Tensor]

CHUNK_BYTES = 1 << 19  # one chunk of states stays in a core's cache while all its passes are made

# Note [The adjoint]
# With D_t = diag s'(z_t), which every nonlinearity here gives in terms of h_t, and g_t the
# gradient that reaches h_t from outside the recurrence:
#     δ_t = D_t (g_t + Wᵀ δ_{t+1}),   dW = Σ δ_t h_{t-1}ᵀ,   dV = Σ δ_t x_tᵀ,
#     dc  = Σ δ_t,   db = Σ δ_t sign(h_t),   dx_t = Vᵀ δ_t,   dh_0 = Wᵀ δ_1.
# States are rows here, so Wᵀδ is written δ @ w. One product per step runs back through time; the
# weight gradients are one large product per chunk of time, made while the chunk is in cache.


def recurrence_step(
    z: Tensor, h: Tensor, w_hh: Tensor, threshold: Tensor | None, nonlinearity: str
) -> Tensor:
    """One step ``s(W h + z)`` under autograd; ``z`` and ``h`` of shape ``(B, H)``."""
    s = NONLINEARITIES[nonlinearity]
    return s.apply(h @ w_hh.t() + z, *_given(threshold))


def reference(
    x: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    w_ih: Tensor,
    bias: Tensor | None,
    threshold: Tensor | None,
    nonlinearity: str,
) -> Tensor:
    """The recurrence as a loop under autograd: differentiable any number of times."""
    h, states = h0, []
    for z in torch.nn.functional.linear(x, w_ih, bias).unbind(0):  # z[t] would cost O(T²) back
        h = recurrence_step(z, h, w_hh, threshold, nonlinearity)
        states.append(h)
    return torch.stack(states)


class _Fused(torch.autograd.Function):
    """The recurrence with a hand-written adjoint; see Note [The adjoint]."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h0: Tensor,
        w_hh: Tensor,
        w_ih: Tensor,
        bias: Tensor | None,
        threshold: Tensor | None,
        nonlinearity: str,
    ) -> Tensor:
        s = NONLINEARITIES[nonlinearity]
        states = x.new_empty(x.shape[0], *h0.shape)
        h, w_t, v_t = h0, w_hh.t(), w_ih.t()
        for chunk in _chunks(states):
            z = torch.matmul(x[chunk], v_t, out=states[chunk])
            if bias is not None:
                z.add_(bias)
            for h_next in z.unbind(0):
                h = s.apply_(h_next.addmm_(h, w_t), *_given(threshold))
        ctx.save_for_backward(x, h0, w_hh, w_ih, bias, threshold, states)
        ctx.nonlinearity = nonlinearity
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, states = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: differentiate the reference instead
            return (*_differentiable_gradients(inputs, ctx, grad), None)
        x, h0, w_hh, w_ih, _, _ = inputs
        dx, dh0, dw, dv, dc, db = (
            a.new_zeros(a.shape) if needed else None
            for a, needed in zip(inputs, ctx.needs_input_grad, strict=False)
        )
        s = NONLINEARITIES[ctx.nonlinearity]
        chunks = _chunks(states)
        longest = max(chunk.stop - chunk.start for chunk in chunks)
        buffer = states.new_empty(longest, *h0.shape)
        later: Tensor | None = None  # δ of the step after the one being computed
        for chunk in reversed(chunks):
            h, delta = states[chunk], buffer[: chunk.stop - chunk.start]
            # `later` is buffer[0], read before it is written: only one chunk can have one step
            later = _run_back(grad[chunk], h, delta, later, w_hh, s)
            rows = delta.flatten(0, 1)
            if dw is not None:
                first = max(chunk.start, 1)  # the step whose state before is h0 comes last
                before = states[first - 1 : chunk.stop - 1]
                dw.addmm_(delta[first - chunk.start :].flatten(0, 1).t(), before.flatten(0, 1))
            if dv is not None:
                dv.addmm_(rows.t(), x[chunk].flatten(0, 1))
            if dx is not None:
                torch.matmul(delta, w_ih, out=dx[chunk])
            if dc is not None:
                dc.add_(rows.sum(0))
            if db is not None:
                db.add_((delta * h.sign()).sum((0, 1)))
        assert later is not None  # δ of the first step; there is one
        if dw is not None:
            dw.addmm_(later.t(), h0)
        if dh0 is not None:
            torch.mm(later, w_hh, out=dh0)
        return dx, dh0, dw, dv, dc, db, None


def _run_back(
    grad: Tensor, h: Tensor, delta: Tensor, later: Tensor | None, w_hh: Tensor, s: Nonlinearity
) -> Tensor:
    """Fill ``delta`` with ``δ_t = D_t (g_t + Wᵀ δ_{t+1})`` from the last step to the first."""
    steps = zip(grad.unbind(0), h.unbind(0), delta.unbind(0), strict=True)
    for g_t, h_t, delta_t in reversed(list(steps)):
        if later is None:
            delta_t.copy_(g_t)
        else:
            torch.addmm(g_t, later, w_hh, out=delta_t)
        later = s.mask_(delta_t, h_t)
    assert later is not None
    return later


def fused(
    x: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    w_ih: Tensor,
    bias: Tensor | None,
    threshold: Tensor | None,
    nonlinearity: str,
) -> Tensor:
    """The recurrence with states stored once and one matrix product per step in each direction.

    Works through time in chunks that fit a core's cache. A second derivative falls back on
    :func:`reference`.
    """
    h: Tensor = _Fused.apply(x, h0, w_hh, w_ih, bias, threshold, nonlinearity)  # type: ignore[no-untyped-call]
    return h


BACKENDS: dict[str, Recurrence] = {"reference": reference, "fused": fused}


def choose(backend: str | None) -> Recurrence:
    """The implementation to run: the one named, or the fastest that is exact (None).

    Raises:
        ValueError: for an unknown name.
    """
    if backend is None:
        return fused
    if backend not in BACKENDS:
        raise ValueError(f"backend must be None or one of {sorted(BACKENDS)}, got {backend!r}")
    return BACKENDS[backend]


def _given(threshold: Tensor | None) -> tuple[Tensor, ...]:
    return () if threshold is None else (threshold,)


def _chunks(states: Tensor) -> list[slice]:
    """Slices of time whose states take about CHUNK_BYTES; ``states`` has shape (T, B, H)."""
    steps = states.shape[0]
    bytes_per_step = max(1, states[0].numel() * states.element_size())
    length = max(8, CHUNK_BYTES // bytes_per_step)
    return [slice(t, min(t + length, steps)) for t in range(0, steps, length)]


def _differentiable_gradients(
    inputs: list[Tensor | None], ctx: Any, grad: Tensor
) -> list[Tensor | None]:
    wanted = [i for i, needed in enumerate(ctx.needs_input_grad[:6]) if needed]
    # views, so that an input that depends on another one (or is it) keeps its own gradient
    inputs = [None if a is None else a.view_as(a) for a in inputs]
    h = reference(*inputs, ctx.nonlinearity)  # type: ignore[arg-type, call-arg]
    found = torch.autograd.grad(h, [inputs[i] for i in wanted], grad, create_graph=True)  # type: ignore[arg-type]
    return [found[wanted.index(i)] if i in wanted else None for i in range(6)]
