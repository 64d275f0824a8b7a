"""Torch's operations, the adjoint by hand: states stored once, one product per step each way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul
from orthornn.recurrence.backend import Tensors

from .inputs import Gradients, Inputs, Kind, Needed
from .nonlinearity import NONLINEARITIES, Nonlinearity

BLOCK_BYTES = 1 << 19  # of states, in a core's cache while all passes over them are made
MIN_BLOCK_STEPS = 8  # where the batch does not change

# Note [The adjoint]
# With D_t = diag s'(z_t), which every nonlinearity here gives in terms of h_t, and g_t the
# gradient that reaches h_t from outside the recurrence:
#     δ_t = D_t (g_t + Wᵀ δ_{t+1}),   dW = Σ δ_t h_{t-1}ᵀ,   dV = Σ δ_t x_tᵀ,
#     dc  = Σ δ_t,   db = Σ δ_t sign(h_t),   dx_t = Vᵀ δ_t,   dh_0 = Wᵀ δ_1.
# States are rows here, so Wᵀδ is written δ @ w. One product per step runs back through time; the
# weight gradients are one large product per block, made while the block is in cache.

# Note [Blocks]
# The rows of a packed batch are ordered by time, longest sequence first: step t has the b_t
# sequences that last so long, and its state continues the first b_t rows of the one before. Cut
# into blocks of steps with equal b_t, it is a chain of dense batches; a dense batch is such a
# chain with one b. So both run through the same loops, and no sequence is treated on its own.


class Block(NamedTuple):
    """Neighbouring steps with the same number of sequences."""

    steps: slice
    rows: slice
    """Where they are when the steps are laid end to end."""
    batch: int

    def of(self, a: Tensor) -> Tensor:
        """Its part of ``a``, (T, B, ·) or packed (N, ·), as (steps, batch, ·)."""
        if a.dim() == 3:
            return a[self.steps]
        return a[self.rows].view(self.steps.stop - self.steps.start, self.batch, a.shape[-1])


def blocks(x: Tensor, batch_sizes: Tensor | None, bytes_per_row: int) -> Iterator[Block]:
    """Cut (T, B, ·) or packed (N, ·) rows as in Note [Blocks], about BLOCK_BYTES of states each."""
    if batch_sizes is None:
        runs = [(x.shape[1], x.shape[0])]
    else:
        grouped = itertools.groupby(batch_sizes.tolist())
        runs = [(batch, sum(1 for _ in run)) for batch, run in grouped]
    step = row = 0
    for batch, count in runs:
        length = max(MIN_BLOCK_STEPS, BLOCK_BYTES // max(1, batch * bytes_per_row))
        end = step + count
        while step < end:
            stop = min(step + length, end)
            rows = slice(row, row + (stop - step) * batch)
            yield Block(slice(step, stop), rows, batch)
            step, row = stop, rows.stop


def unavailable() -> None:
    """It runs wherever torch does."""


def unsupported(tensors: Tensors, kind: Kind) -> None:
    """It takes whatever torch's operations take."""


def is_faster(inputs: Inputs, kind: Kind) -> bool:
    """It is the last of the table."""
    return True


@full_precision_matmul()
def forward(inputs: Inputs, kind: Kind) -> Tensor:
    """The states; see :class:`orthornn.recurrence.backend.Backend`."""
    x, h, w_hh, w_ih, bias, modrelu_bias = inputs
    s = NONLINEARITIES[kind.nonlinearity]
    learned = () if modrelu_bias is None else (modrelu_bias,)
    states = x.new_empty(*x.shape[:-1], h.shape[-1])
    w_t, v_t = w_hh.t(), w_ih.t()
    for block in blocks(x, kind.batch_sizes, _row_bytes(h)):
        z = torch.matmul(block.of(x), v_t, out=block.of(states))
        if bias is not None:
            z.add_(bias)
        if block.batch < len(h):
            h = h[: block.batch]
        for h_next in z.unbind(0):
            h = s.apply_(torch.addmm(h_next, h, w_t, out=h_next), *learned)
    return states


@full_precision_matmul()
def backward(grad: Tensor, inputs: Inputs, states: Tensor, kind: Kind, needed: Needed) -> Gradients:
    """The gradients; see :class:`orthornn.recurrence.backend.Backend`."""
    x, h0, w_hh, w_ih = inputs[:4]
    gradients = Gradients.zeros(inputs, needed)
    dw = gradients.w_hh
    s = NONLINEARITIES[kind.nonlinearity]
    flat = states.flatten(0, -2)
    parts = list(blocks(x, kind.batch_sizes, _row_bytes(h0)))
    most_rows = max((part.rows.stop - part.rows.start for part in parts), default=0)
    buffer, carry = states.new_empty(most_rows, h0.shape[-1]), torch.empty_like(h0)
    delta_next: Tensor | None = None  # of the step after the block, a copy: the buffer is reused
    for i in reversed(range(len(parts))):
        part, rows = parts[i], parts[i].rows
        h, delta_rows = part.of(states), buffer[: rows.stop - rows.start]
        delta = delta_rows.view(h.shape)
        _fill_delta(part.of(grad), h, delta, delta_next, w_hh, s)
        delta_next = carry[: part.batch].copy_(delta[0])
        if dw is not None:
            # the state before the first step of the block need not lie just before its rows
            joined = i > 0 and parts[i - 1].batch == part.batch
            skip = 0 if joined else part.batch
            before = flat[rows.start + skip - part.batch : rows.stop - part.batch]
            torch.addmm(dw, delta_rows[skip:].t(), before, out=dw)
            if not joined:
                h_before = h0 if i == 0 else parts[i - 1].of(states)[-1]
                torch.addmm(dw, delta_next.t(), h_before[: part.batch], out=dw)
        dx = None if gradients.x is None else part.of(gradients.x).flatten(0, 1)
        x_rows = part.of(x).flatten(0, 1)
        add_products_(gradients, dx, delta_rows, flat[rows], x_rows, w_ih)
    if gradients.h0 is not None and delta_next is not None:
        torch.mm(delta_next, w_hh, out=gradients.h0)
    return gradients


def add_products_(
    gradients: Gradients, dx: Tensor | None, delta: Tensor, h: Tensor, x: Tensor, w_ih: Tensor
) -> None:
    """Add the part of the rows δ, h (n, H) and x (n, I) in the gradients that need no other row.

    Args:
        gradients: those of w_ih, bias and modrelu_bias are added to.
        dx: that of the rows of x, written.
        delta: δ as in Note [The adjoint].
        h: the states of the same rows.
        x: the inputs of the same rows.
        w_ih: V.
    """
    if gradients.w_ih is not None:
        torch.addmm(gradients.w_ih, delta.t(), x, out=gradients.w_ih)
    if dx is not None:
        torch.mm(delta, w_ih, out=dx)
    if gradients.bias is not None:
        gradients.bias.add_(delta.sum(0))
    if gradients.modrelu_bias is not None:
        gradients.modrelu_bias.add_((delta * h.sign()).sum(0))


def _fill_delta(
    grad: Tensor, h: Tensor, delta: Tensor, delta_next: Tensor | None, w_hh: Tensor, s: Nonlinearity
) -> None:
    """Fill ``delta`` with ``δ_t = D_t (g_t + Wᵀ δ_{t+1})`` from the last step to the first."""
    steps = zip(grad.unbind(0), h.unbind(0), delta.unbind(0), strict=True)
    for g_t, h_t, delta_t in reversed(list(steps)):
        if delta_next is None:
            delta_t.copy_(g_t)
        elif len(delta_next) == len(delta_t):
            torch.addmm(g_t, delta_next, w_hh, out=delta_t)
        else:  # some sequences end here
            ongoing = delta_t.copy_(g_t)[: len(delta_next)]
            torch.addmm(ongoing, delta_next, w_hh, out=ongoing)
        delta_next = s.mask_(delta_t, h_t)


def _row_bytes(h: Tensor) -> int:
    return h.shape[-1] * h.element_size()
