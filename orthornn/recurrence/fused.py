"""The recurrence and its adjoint by hand: states stored once, one product per step each way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul

from .nonlinearity import NONLINEARITIES, Nonlinearity

CHUNK_BYTES = 1 << 19  # one block of states stays in a core's cache while all its passes are made
SHORTEST = 8  # steps of a block, where the batch does not change

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
    """Cut (T, B, ·) or packed (N, ·) rows as in Note [Blocks], about CHUNK_BYTES of states each."""
    if batch_sizes is None:
        runs = [(x.shape[1], x.shape[0])]
    else:
        grouped = itertools.groupby(batch_sizes.tolist())
        runs = [(batch, sum(1 for _ in run)) for batch, run in grouped]
    step = row = 0
    for batch, count in runs:
        length = max(SHORTEST, CHUNK_BYTES // max(1, batch * bytes_per_row))
        end = step + count
        while step < end:
            stop = min(step + length, end)
            rows = slice(row, row + (stop - step) * batch)
            yield Block(slice(step, stop), rows, batch)
            step, row = stop, rows.stop


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
    """The states, (T, B, H) or packed (N, H); see :mod:`orthornn.recurrence` for the arguments."""
    s = NONLINEARITIES[nonlinearity]
    learned = () if threshold is None else (threshold,)
    states = x.new_empty(*x.shape[:-1], h0.shape[-1])
    h, w_t, v_t = h0, w_hh.t(), w_ih.t()
    for block in blocks(x, batch_sizes, _row_bytes(h0)):
        z = torch.matmul(block.of(x), v_t, out=block.of(states))
        if bias is not None:
            z.add_(bias)
        if block.batch < len(h):
            h = h[: block.batch]
        for h_next in z.unbind(0):
            h = s.apply_(torch.addmm(h_next, h, w_t, out=h_next), *learned)
    return states


@full_precision_matmul()
def run_backward(
    grad: Tensor,
    inputs: Sequence[Tensor | None],
    states: Tensor,
    nonlinearity: str,
    batch_sizes: Tensor | None,
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of ``(x, h0, w_hh, w_ih, bias, threshold)``, None where not needed.

    Args:
        grad: of the states, of the same shape.
        inputs: the six tensors that :func:`run_forward` took.
        states: what it returned.
        nonlinearity: as there.
        batch_sizes: as there.
        needed: which of the six gradients are asked for.
    """
    x, h0, w_hh, w_ih = (a for a in inputs[:4] if a is not None)
    dx, dh0, dw, dv, dc, db = (
        a.new_zeros(a.shape) if a is not None and wanted else None
        for a, wanted in zip(inputs, needed, strict=True)
    )
    s = NONLINEARITIES[nonlinearity]
    flat = states.flatten(0, -2)
    parts = list(blocks(x, batch_sizes, _row_bytes(h0)))
    largest = max((part.rows.stop - part.rows.start for part in parts), default=0)
    buffer, carry = states.new_empty(largest, h0.shape[-1]), torch.empty_like(h0)
    later: Tensor | None = None  # δ of the step after the block, a copy: the buffer is used again
    for i in reversed(range(len(parts))):
        part, rows = parts[i], parts[i].rows
        h, ours = part.of(states), buffer[: rows.stop - rows.start]
        delta = ours.view(h.shape)
        _run_back(part.of(grad), h, delta, later, w_hh, s)
        later = carry[: part.batch].copy_(delta[0])
        if dw is not None:
            # the state before the first step of the block need not lie just before its rows
            joined = i > 0 and parts[i - 1].batch == part.batch
            skip = 0 if joined else part.batch
            before = flat[rows.start + skip - part.batch : rows.stop - part.batch]
            torch.addmm(dw, ours[skip:].t(), before, out=dw)
            if not joined:
                h_before = h0 if i == 0 else parts[i - 1].of(states)[-1]
                torch.addmm(dw, later.t(), h_before[: part.batch], out=dw)
        dx_part = None if dx is None else part.of(dx).flatten(0, 1)
        add_products_((dx_part, dv, dc, db), ours, flat[rows], part.of(x).flatten(0, 1), w_ih)
    if dh0 is not None and later is not None:
        torch.mm(later, w_hh, out=dh0)
    return [dx, dh0, dw, dv, dc, db]


def add_products_(
    gradients: Sequence[Tensor | None], delta: Tensor, h: Tensor, x: Tensor, w_ih: Tensor
) -> None:
    """Add the part of the rows δ, h (n, H) and x (n, I) in those gradients that need no other row.

    Args:
        gradients: of x, written, and of w_ih, bias and threshold, added to; None where not needed.
        delta: δ as in Note [The adjoint].
        h: the states of the same rows.
        x: the inputs of the same rows.
        w_ih: V.
    """
    dx, dv, dc, db = gradients
    if dv is not None:
        torch.addmm(dv, delta.t(), x, out=dv)
    if dx is not None:
        torch.mm(delta, w_ih, out=dx)
    if dc is not None:
        dc.add_(delta.sum(0))
    if db is not None:
        db.add_((delta * h.sign()).sum(0))


def _run_back(
    grad: Tensor, h: Tensor, delta: Tensor, later: Tensor | None, w_hh: Tensor, s: Nonlinearity
) -> None:
    """Fill ``delta`` with ``δ_t = D_t (g_t + Wᵀ δ_{t+1})`` from the last step to the first."""
    steps = zip(grad.unbind(0), h.unbind(0), delta.unbind(0), strict=True)
    for g_t, h_t, delta_t in reversed(list(steps)):
        if later is None:
            delta_t.copy_(g_t)
        elif len(later) == len(delta_t):
            torch.addmm(g_t, later, w_hh, out=delta_t)
        else:  # some sequences end here
            ongoing = delta_t.copy_(g_t)[: len(later)]
            torch.addmm(ongoing, later, w_hh, out=ongoing)
        later = s.mask_(delta_t, h_t)


def _row_bytes(h: Tensor) -> int:
    return h.shape[-1] * h.element_size()
