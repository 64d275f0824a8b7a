"""The linear recurrence with its steps in parallel: chunks of time as one larger batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul

from . import fused
from .cpu import engine as cpu

LEAST = 64  # steps, on a GPU
LONG, LONG_COMPILED, NARROW = 500, 10_000, 256  # where one sequence gains on a thread of a CPU

# Note [Chunks as a batch]
# h_t = W h_{t-1} + z_t is linear: the state after a chunk of C steps is W^C times the state before
# it plus what the chunk makes of a zero state. So all chunks run side by side from zero, in C
# products with T/C times the rows; the states between chunks follow by T/C products with W^C; then
# all chunks run side by side again, each from its own state. That is twice the operations, in
# 2 C + T/C products instead of T: faster wherever a product with few rows leaves the machine idle.
# The adjoint is the same with time and W turned round; what reaches a chunk from later ones is
# added to the gradient of its last state. W^C is as orthogonal as W, so nothing grows.


def unfit(
    tensors: Sequence[Tensor | None], nonlinearity: str, batch_sizes: Tensor | None
) -> str | None:
    """Why a scan cannot run this; None if it can."""
    if nonlinearity != "identity":
        return f"it takes the nonlinearity 'identity', got {nonlinearity!r}"
    if batch_sizes is not None:
        return "it takes no packed sequences"
    for a in tensors:
        if a is not None and (not a.numel() or a.is_neg() or a.device.type == "mps"):
            return "it takes no empty tensors, no negated views, and no device without float64"
    return None


def pays(tensors: Sequence[Tensor | None], nonlinearity: str, batch_sizes: Tensor | None) -> bool:
    """Whether the machine has room for the second pass beside the first."""
    x, h0 = tensors[:2]
    if x is None or h0 is None or nonlinearity != "identity" or batch_sizes is not None:
        return False
    if x.is_cuda:
        return len(x) >= LEAST
    if not x.is_cpu or x.shape[1] > 1 or len(x) < LONG or h0.shape[-1] > NARROW:
        return False
    return len(x) >= LONG_COMPILED or cpu.missing() is not None


@full_precision_matmul()
def run_forward(
    x: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    w_ih: Tensor,
    bias: Tensor | None,
    threshold: Tensor | None,
    nonlinearity: str,
    batch_sizes: Tensor | None = None,
) -> Tensor:
    """The states (T, B, H); see :mod:`orthornn.recurrence` for the arguments."""
    chunk, tail = _cut(len(x))
    head = len(x) - tail
    side_by_side = _side_by_side(x[:head], chunk)
    count = head // chunk
    start = h0.new_zeros(count, *h0.shape)
    start[0] = h0
    weights = (w_hh, w_ih, bias, None, nonlinearity)
    run = _engine(side_by_side, start)[0]
    after = run(side_by_side, start.flatten(0, 1), *weights)[-1].view_as(start)
    power, between = _power(w_hh, chunk), after[0].double()
    for k in range(1, count):  # start[k] is to hold the state before chunk k
        start[k] = between
        between = torch.addmm(after[k].double(), between, power.t())
    states = run(side_by_side, start.flatten(0, 1), *weights)
    states = _in_a_row(states, count)
    if not tail:
        return states
    return torch.cat([states, run(x[head:], states[-1], *weights)])


@full_precision_matmul()
def run_backward(
    grad: Tensor,
    inputs: Sequence[Tensor | None],
    states: Tensor,
    nonlinearity: str,
    batch_sizes: Tensor | None,
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of ``(x, h0, w_hh, w_ih, bias, threshold)``, None where not needed."""
    x, h0, w_hh, w_ih = (a for a in inputs[:4] if a is not None)
    bias = inputs[4]
    chunk, tail = _cut(len(x))
    head = len(x) - tail
    count = head // chunk
    weights = (w_hh, w_ih, bias, None)
    before = torch.cat([h0.unsqueeze(0), states[chunk - 1 : head - 1 : chunk]])
    g = _side_by_side(grad[:head], chunk).clone()
    x_side, h_side = _side_by_side(x[:head], chunk), _side_by_side(states[:head], chunk)
    run = _engine(x_side, before)[1]
    kind = (nonlinearity, None)
    found: list[Any] = [None] * 6
    last = g[-1].view(count, *h0.shape)
    arriving = torch.zeros_like(h0)
    if tail:  # the steps after the last whole chunk, one after the other
        given = (x[head:], states[head - 1], *weights)
        found = run(grad[head:], given, states[head:], *kind, [needed[0], True, *needed[2:]])
        arriving = found[1]
    sides = (x_side, before.flatten(0, 1), *weights)
    only_h0 = [False, True, False, False, False, False]
    leaving = run(g, sides, h_side, *kind, only_h0)[1].view_as(last)
    power, between = _power(w_hh, chunk), arriving.double()
    for k in reversed(range(count)):
        last[k] += between
        between = torch.addmm(leaving[k].double(), between, power)
    parts: list[Tensor | None] = run(g, sides, h_side, *kind, needed)
    if parts[0] is not None:
        dx = _in_a_row(parts[0], count)
        parts[0] = dx if found[0] is None else torch.cat([dx, found[0]])
    if parts[1] is not None:
        parts[1] = parts[1][: len(h0)].clone()
    for i in (2, 3, 4):
        if parts[i] is not None and found[i] is not None:
            parts[i] += found[i]
    return parts


def _engine(x: Tensor, h: Tensor) -> tuple[Callable[..., Tensor], Callable[..., Any]]:
    tensors, kind = (x, h.flatten(0, 1)), ("identity", None)
    fits = cpu.pays(tensors, *kind) and cpu.unfit(tensors, *kind) is None
    engine = cpu if fits else fused
    return engine.run_forward, engine.run_backward


def _power(w: Tensor, chunk: int) -> Tensor:
    """``w ** chunk`` in double precision: its error would be raised to the power T/C."""
    power: Tensor = torch.linalg.matrix_power(w.double(), chunk)
    return power


def _cut(steps: int) -> tuple[int, int]:
    """The length of a chunk, about where 2 C + T/C is least, and the steps that are left over."""
    chunk = max(1, math.isqrt(steps // 2))
    return chunk, steps % chunk


def _side_by_side(a: Tensor, chunk: int) -> Tensor:
    """(T, B, ·) as (C, T/C · B, ·)."""
    return a.reshape(-1, chunk, *a.shape[1:]).transpose(0, 1).flatten(1, 2)


def _in_a_row(a: Tensor, count: int) -> Tensor:
    """The way back."""
    return a.reshape(len(a), count, -1, a.shape[-1]).transpose(0, 1).flatten(0, 1)
