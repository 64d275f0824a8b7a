"""The recurrence and its adjoint on the CPU, compiled from ``recurrence.c``.

All of a step (product, input, bias, nonlinearity) happens while its numbers are in the nearest
cache, W is laid out once a call instead of once a product, and threads share out the batch, so that
none waits for another before the end. On processors with AMX a float32 product is made of six
bfloat16 ones (``amx_product.h``): to float32's own accuracy, at more than twice the rate.

:func:`run_forward` and :func:`run_backward` have the meaning of those in
:mod:`orthornn.recurrence.fused`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from orthornn._torch_internals import (
    dispatch_mode_active,
    is_ordinary_tensor,
    is_traced_or_transformed,
)
from orthornn.recurrence.self_test import trial

from .compiler import CannotCompile
from .library import AMX, TYPES, VECTOR, Library, library

CODES = {"identity": 0, "relu": 1, "leaky_relu": 2, "modrelu": 3, "tanh": 4}
FEW, NARROW = 12, 64  # rows and columns with which AMX's tiles of 16 are too empty to win
CHUNK_BYTES = 1 << 20  # of what a sum of weight gradients reads, in a core's cache
WORTH_A_THREAD = 1e7  # operations


@functools.cache
def missing(dtype: torch.dtype = torch.float32) -> str | None:
    """Why nothing that is compiled here can be used for a dtype; None if it can."""
    cpu = torch.device("cpu")
    try:
        codes = {library(dtype), library(dtype, VECTOR)}
    except CannotCompile as error:
        return str(error)
    found = (
        trial(partial(run_forward, code=code), partial(run_backward, code=code), cpu, dtype)
        for code in codes
    )
    return next((reason for reason in found if reason is not None), None)


def unfit(
    tensors: Sequence[Tensor | None], nonlinearity: str, batch_sizes: Tensor | None
) -> str | None:
    """Why these tensors are not for this code; None if they are."""
    if nonlinearity not in CODES:
        return f"nonlinearity must be one of {sorted(CODES)}, got {nonlinearity!r}"
    if not tensors:
        return None
    if dispatch_mode_active() or is_traced_or_transformed():
        return "a mode, a transform or a tracer of torch watches every operation"
    dtype = next(a.dtype for a in tensors if a is not None)
    for a in tensors:
        if a is None:
            continue
        if not a.is_cpu or a.dtype != dtype or dtype not in TYPES:
            return f"it takes float32 or float64 on the CPU, got {a.dtype} on {a.device}"
        if not is_ordinary_tensor(a) or not a.numel():
            return f"it takes plain tensors with entries, got {type(a).__name__} {tuple(a.shape)}"
    return missing(dtype)


def pays(tensors: Sequence[Tensor | None], nonlinearity: str, batch_sizes: Tensor | None) -> bool:
    """Whether laying out W is made good by the steps and the sequences that use it."""
    x, h0 = tensors[:2]
    if x is None or h0 is None or not x.is_cpu:
        return False
    steps, (batch, hidden) = len(x if batch_sizes is None else batch_sizes), h0.shape
    return steps >= max(4, min(8, hidden // 16)) and (hidden <= 256 or batch >= 12 or steps >= 32)


def run_forward(
    x: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    w_ih: Tensor,
    bias: Tensor | None,
    threshold: Tensor | None,
    nonlinearity: str,
    batch_sizes: Tensor | None = None,
    *,
    code: Library | None = None,
) -> Tensor:
    """The states, (T, B, H) or packed (N, H); see :mod:`orthornn.recurrence` for the arguments."""
    code = code or _fitting(h0)
    inputs, hidden = w_ih.shape[1], len(w_hh)
    after, depth = _layout(code, inputs, hidden)
    factor = x.new_zeros(depth, hidden)  # rows [Wᵀ, 0, Vᵀ, c, 0]
    factor[:hidden] = w_hh.t()
    factor[after : after + inputs] = w_ih.t()
    if bias is not None:
        factor[after + inputs] = bias
    states = x.new_empty(*x.shape[:-1], hidden)
    x, h0, threshold = _rows(x), h0.contiguous(), _contiguous(threshold)
    shape, held = _shape(x, h0, nonlinearity, batch_sizes)
    given = {**shape, **held, "x": x, "h0": h0, "threshold": threshold, "factor": factor}
    code.run("forward", **given, states=states)
    if code.product == AMX and not _finite(states[-1] if batch_sizes is None else states):
        library(x.dtype, VECTOR).run("forward", **given, states=states)
    return states


def run_backward(
    grad: Tensor,
    inputs: Sequence[Tensor | None],
    states: Tensor,
    nonlinearity: str,
    batch_sizes: Tensor | None,
    needed: Sequence[bool],
    *,
    code: Library | None = None,
) -> list[Tensor | None]:
    """Gradients of ``(x, h0, w_hh, w_ih, bias, threshold)``, None where not needed."""
    x, h0, w_hh, w_ih = (a for a in inputs[:4] if a is not None)
    code = code or _fitting(h0)
    features, hidden = w_ih.shape[1], len(w_hh)
    after, depth = _layout(code, features, hidden)
    panel = 2 * code.lanes
    dx = x.new_empty(x.shape) if needed[0] else None
    factor = w_hh.contiguous() if dx is None else torch.cat([w_hh, w_ih], 1)
    if not any(grad.stride()):  # one number for all, as from sum()
        grad = grad[(0,) * (grad.dim() - 1)].contiguous().expand(grad.shape)
    elif grad.stride(-1) != 1:
        grad = grad.contiguous()
    x, h0, states = _rows(x), h0.contiguous(), states.contiguous()
    shape, held = _shape(x, h0, nonlinearity, batch_sizes)
    threads, p = shape["threads"], _up(hidden, panel)
    carry = x.new_zeros(len(h0), _up(hidden + features, panel))
    dw = x.new_zeros(threads, p, depth) if any(needed[2:5]) else None
    db = x.new_zeros(threads, p) if needed[5] else None
    chunk = max(128, CHUNK_BYTES // (6 * (p + depth)) // 32 * 32)
    steps = {"grad_time": grad.stride(0), "grad_row": grad.stride(-2)}
    given = {
        **shape, **held, **steps, "x": x, "h0": h0, "states": states, "factor": factor,
        "grad": grad, "carry": carry, "dx": dx, "dw": dw, "db": db, "chunk": chunk,
    }  # fmt: skip
    code.run("backward", **given)
    if code.product == AMX and not all(_finite(a) for a in (carry, dw, db) if a is not None):
        for a in (carry, dw, db):
            if a is not None:
                a.zero_()
        library(x.dtype, VECTOR).run("backward", **given)
    found: list[Tensor | None] = [dx, _copy(carry[:, :hidden]) if needed[1] else None]
    if dw is None:
        found += [None, None, None]
    else:
        total = dw[0] if threads == 1 else dw.sum(0)
        parts = total[:hidden].split_with_sizes([after, features, depth - after - features], 1)
        columns = (parts[0][:, :hidden], parts[1], parts[2][:, 0])
        found += [_copy(a) if b else None for a, b in zip(columns, needed[2:5], strict=True)]
    return [*found, None if db is None else db.sum(0)[:hidden]]


# Note [What is not finite]
# An infinity, or what rounds to one in bfloat16, has no three finite parts: infinity less itself is
# NaN. So on AMX's tiles a row that meets one is NaN from there to its end, where vectors might say
# infinity, and so are the sums over it. The pass is then made again, by vectors, and says what
# torch says.


def _finite(a: Tensor) -> bool:
    return math.isfinite(a.sum().item())


def _fitting(h0: Tensor) -> Library:
    """The faster of the libraries for a state (B, H)."""
    small = h0.dtype == torch.float32 and (len(h0) < FEW or h0.shape[1] < NARROW)
    return library(h0.dtype, VECTOR) if small else library(h0.dtype)


def _up(a: int, b: int) -> int:
    return -(-a // b) * b


def _layout(code: Library, inputs: int, hidden: int) -> tuple[int, int]:
    """Where x begins in the rows [h, 0, x, 1, 0], and how long they are."""
    after = _up(hidden, code.lanes)
    return after, _up(after + inputs + 1, 2 * code.lanes)


def _rows(a: Tensor) -> Tensor:
    return a if a.stride(-1) == 1 or a.shape[-1] == 1 else a.contiguous()


def _copy(a: Tensor) -> Tensor:
    """Its entries alone, sharing no memory with the other gradients."""
    return a.clone(memory_format=torch.contiguous_format)


def _contiguous(a: Tensor | None) -> Tensor | None:
    return None if a is None else a.contiguous()


def _shape(
    x: Tensor, h0: Tensor, nonlinearity: str, batch_sizes: Tensor | None
) -> tuple[dict[str, int], dict[str, Tensor]]:
    """The numbers of a call, and the tensors of a packed one."""
    batch, hidden = h0.shape
    rows = x.numel() // x.shape[-1] if x.dim() == 2 else x.shape[0] * x.shape[1]
    operations = 2.0 * rows * hidden * (hidden + x.shape[-1])
    threads = min(torch.get_num_threads(), max(1, int(operations / WORTH_A_THREAD)), batch)
    shape = {
        "time": len(x), "batch": batch, "inputs": x.shape[-1], "hidden": hidden,
        "threads": threads, "nonlinearity": CODES[nonlinearity],
        "x_time": x.stride(0), "x_row": x.stride(-2),
    }  # fmt: skip
    if batch_sizes is None:
        return shape, {}
    batch_sizes = batch_sizes.to(torch.int64)
    starts = torch.cat([batch_sizes.new_zeros(1), batch_sizes.cumsum(0)])
    return {**shape, "time": len(batch_sizes)}, {
        "sizes": batch_sizes.contiguous(),
        "starts": starts,
    }
