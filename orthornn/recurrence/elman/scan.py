"""The linear recurrence with its steps in parallel: chunks of time as one larger batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul
from orthornn.recurrence.backend import Tensors

from . import eager
from .inputs import Gradients, Inputs, Kind, Needed

MIN_STEPS_GPU = 64
MIN_STEPS_CPU, MIN_STEPS_COMPILED = 500, 10_000  # of one sequence, beside torch's loop and C's
MAX_WIDTH_CPU = 256  # of its states

# Note [Chunks as a batch]
# h_t = W h_{t-1} + z_t is linear: the state after a chunk of C steps is W^C times the state before
# it plus what the chunk makes of a zero state. So all chunks run side by side from zero, in C
# products with T/C times the rows; the states between chunks follow by T/C products with W^C; then
# all chunks run side by side again, each from its own state. That is twice the operations, in
# 2 C + T/C products instead of T: faster wherever a product with few rows leaves the machine idle.
# The adjoint is the same with time and W turned round; what reaches a chunk from later ones is
# added to the gradient of its last state. W^C is as orthogonal as W, so nothing grows.


class Scan:
    """The backend that runs a linear recurrence in chunks.

    Args:
        choose_loop: the backend that runs the chunks, from their inputs.
    """

    def __init__(self, choose_loop: Callable[[Inputs, Kind], Any]) -> None:
        self.choose_loop = choose_loop

    def unavailable(self) -> None:
        """It is made of the other backends."""

    def unsupported(self, tensors: Tensors, kind: Kind) -> str | None:
        """Why a scan cannot run this; None if it can."""
        if kind.nonlinearity != "identity":
            return f"it takes the nonlinearity 'identity', got {kind.nonlinearity!r}"
        if kind.batch_sizes is not None:
            return "it takes no packed sequences"
        for a in tensors:
            if a is not None and (not a.numel() or a.is_neg() or a.device.type == "mps"):
                return "it takes no empty tensors, no negated views, and no device without float64"
        return None

    def is_faster(self, inputs: Inputs, kind: Kind) -> bool:
        """Whether the machine has room for twice the operations in fewer sequential steps."""
        x, h0 = inputs.x, inputs.h0
        if kind.nonlinearity != "identity" or kind.batch_sizes is not None:
            return False
        if x.is_cuda:
            return len(x) >= MIN_STEPS_GPU
        if not x.is_cpu or x.shape[1] > 1 or len(x) < MIN_STEPS_CPU or h0.shape[-1] > MAX_WIDTH_CPU:
            return False
        return len(x) >= MIN_STEPS_COMPILED or self.choose_loop(inputs, kind) is eager

    @full_precision_matmul()
    def forward(self, inputs: Inputs, kind: Kind) -> Tensor:
        """The states; see :class:`orthornn.recurrence.backend.Backend`."""
        x, h0 = inputs.x, inputs.h0
        chunks = _Chunks.of(x)
        before = h0.new_zeros(chunks.number, *h0.shape)  # the state before each chunk
        before[0] = h0
        sides = inputs._replace(x=chunks.side_by_side(x), h0=before.flatten(0, 1))
        loop = self.choose_loop(sides, kind)
        after = loop.forward(sides, kind)[-1].view_as(before)
        power, between = _power(inputs.w_hh, chunks.steps), after[0].double()
        for k in range(1, chunks.number):
            before[k] = between
            between = torch.addmm(after[k].double(), between, power.t())
        states = chunks.in_a_row(loop.forward(sides, kind))
        if chunks.end == len(x):
            return states
        rest = inputs._replace(x=x[chunks.end :], h0=states[-1])
        return torch.cat([states, loop.forward(rest, kind)])

    @full_precision_matmul()
    def backward(
        self, grad: Tensor, inputs: Inputs, states: Tensor, kind: Kind, needed: Needed
    ) -> Gradients:
        """The gradients; see :class:`orthornn.recurrence.backend.Backend`."""
        x, h0 = inputs.x, inputs.h0
        chunks = _Chunks.of(x)
        end = chunks.end
        before = torch.cat([h0.unsqueeze(0), states[chunks.steps - 1 : end - 1 : chunks.steps]])
        sides = inputs._replace(x=chunks.side_by_side(x), h0=before.flatten(0, 1))
        loop = self.choose_loop(sides, kind)
        g, h = chunks.side_by_side(grad).clone(), chunks.side_by_side(states)
        last = g[-1].view(chunks.number, *h0.shape)
        tail, between = Gradients(), torch.zeros_like(h0)
        if end < len(x):  # the steps after the last whole chunk, one after the other
            rest = inputs._replace(x=x[end:], h0=states[end - 1])
            tail = loop.backward(grad[end:], rest, states[end:], kind, needed._replace(h0=True))
            between = _of_h0(tail)
        leaving = _of_h0(loop.backward(g, sides, h, kind, Needed(h0=True))).view_as(last)
        power, between = _power(inputs.w_hh, chunks.steps), between.double()
        for k in reversed(range(chunks.number)):
            last[k] += between
            between = torch.addmm(leaving[k].double(), between, power)
        whole: Gradients = loop.backward(g, sides, h, kind, needed)
        dx = None if whole.x is None else chunks.in_a_row(whole.x)
        return Gradients(
            x=dx if dx is None or tail.x is None else torch.cat([dx, tail.x]),
            h0=None if whole.h0 is None else whole.h0[: len(h0)].clone(),
            w_hh=_sum(whole.w_hh, tail.w_hh),
            w_ih=_sum(whole.w_ih, tail.w_ih),
            bias=_sum(whole.bias, tail.bias),
        )


class _Chunks(NamedTuple):
    """Time in a ``number`` of chunks of ``steps`` each, with some steps left over."""

    steps: int
    number: int

    @classmethod
    def of(cls, x: Tensor) -> _Chunks:
        """Those of (T, B, ·): 2 C + T/C is least about there."""
        steps = max(1, math.isqrt(len(x) // 2))
        return cls(steps, len(x) // steps)

    @property
    def end(self) -> int:
        """Where the last whole chunk ends."""
        return self.steps * self.number

    def side_by_side(self, a: Tensor) -> Tensor:
        """(T, B, ·) as (C, T/C · B, ·), less the steps left over."""
        rows = a[: self.end].reshape(self.number, self.steps, *a.shape[1:])
        return rows.transpose(0, 1).flatten(1, 2)

    def in_a_row(self, a: Tensor) -> Tensor:
        """The way back."""
        return a.reshape(self.steps, self.number, -1, a.shape[-1]).transpose(0, 1).flatten(0, 1)


def _power(w: Tensor, chunk: int) -> Tensor:
    """``w ** chunk`` in double precision: its error would be raised to the power T/C."""
    power: Tensor = torch.linalg.matrix_power(w.double(), chunk)
    return power


def _of_h0(gradients: Gradients) -> Tensor:
    """That of h0, where it was asked for."""
    return cast(Tensor, gradients.h0)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if a is None or b is None else a + b
