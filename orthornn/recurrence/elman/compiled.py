"""The recurrence and its adjoint on the CPU, compiled from ``elman.c``.

All of a step (product, input, bias, nonlinearity) happens while its numbers are in the nearest
cache, W is laid out once a call instead of once a product, and threads share out the batch, so that
none waits for another before the end. On processors with AMX a float32 product is made of six
bfloat16 ones (``amx_product.h``): to float32's own accuracy, at more than twice the rate.

The functions are those of :class:`orthornn.recurrence.backend.Backend`.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from orthornn.recurrence.backend import (
    Tensors,
    unsupported_by_machine_code,
    unsupported_nonlinearity,
)
from orthornn.recurrence.cpu.kernel import why_unavailable

from .inputs import Gradients, Inputs, Kind, Needed
from .kernel import AMX, VECTOR, CompiledKernel, load_kernel

CODES = {"identity": 0, "relu": 1, "leaky_relu": 2, "modrelu": 3, "tanh": 4}
MIN_ROWS_AMX, MIN_COLUMNS_AMX = 12, 64  # with fewer, AMX's tiles of 16 are too empty to win
CHUNK_BYTES = 1 << 20  # of what a sum of weight gradients reads, in a core's cache
OPERATIONS_PER_THREAD = 1e7  # at the least


@functools.cache
def unavailable() -> str | None:
    """Why nothing can be compiled here; None if it can."""
    return why_unavailable(load_kernel)


def unsupported(tensors: Tensors, kind: Kind) -> str | None:
    """Why these tensors are not for this code; None if they are."""
    reason = unsupported_nonlinearity(kind.nonlinearity, CODES)
    return reason or unsupported_by_machine_code(tensors, "cpu")


def is_faster(inputs: Inputs, kind: Kind) -> bool:
    """Whether enough steps and sequences use W to make up for laying it out."""
    x, h0 = inputs.x, inputs.h0
    if not h0.is_cpu:
        return False
    steps, (batch, hidden) = len(x if kind.batch_sizes is None else kind.batch_sizes), h0.shape
    return steps >= max(4, min(8, hidden // 16)) and (hidden <= 256 or batch >= 12 or steps >= 32)


def forward(inputs: Inputs, kind: Kind) -> Tensor:
    """The states; see :class:`orthornn.recurrence.backend.Backend`."""
    x, h0, w_hh, w_ih, bias, modrelu_bias = inputs
    kernel = choose_kernel(h0)
    hidden, features = w_ih.shape
    after, depth = _layout(kernel, features, hidden)
    factor = x.new_zeros(depth, hidden)  # rows [Wᵀ, 0, Vᵀ, c, 0]
    factor[:hidden] = w_hh.t()
    factor[after : after + features] = w_ih.t()
    if bias is not None:
        factor[after + features] = bias
    states = x.new_empty(*x.shape[:-1], hidden)
    x, h0 = _rows(x), h0.contiguous()
    sizes, packing = _call_fields(x, h0, kind)
    fields = {
        **sizes, **packing, "x": x, "h0": h0, "modrelu_bias": _contiguous(modrelu_bias),
        "factor": factor, "states": states,
    }  # fmt: skip
    kernel.run("forward", **fields)
    if kernel.product == AMX and not _finite(states[-1] if kind.batch_sizes is None else states):
        load_kernel(x.dtype, VECTOR).run("forward", **fields)
    return states


def backward(grad: Tensor, inputs: Inputs, states: Tensor, kind: Kind, needed: Needed) -> Gradients:
    """The gradients; see :class:`orthornn.recurrence.backend.Backend`."""
    x, h0, w_hh, w_ih = inputs[:4]
    kernel = choose_kernel(h0)
    hidden, features = w_ih.shape
    after, depth = _layout(kernel, features, hidden)
    panel = 2 * kernel.lanes
    dx = x.new_empty(x.shape) if needed.x else None
    factor = w_hh.contiguous() if dx is None else torch.cat([w_hh, w_ih], 1)
    if not any(grad.stride()):  # one number for all, as from sum()
        grad = grad[(0,) * (grad.dim() - 1)].contiguous().expand(grad.shape)
    elif grad.stride(-1) != 1:
        grad = grad.contiguous()
    x, h0, states = _rows(x), h0.contiguous(), states.contiguous()
    sizes, packing = _call_fields(x, h0, kind)
    threads, p = sizes["threads"], _round_up(hidden, panel)
    carry = x.new_zeros(len(h0), _round_up(hidden + features, panel))
    needs_sums = needed.w_hh or needed.w_ih or needed.bias
    dw = x.new_zeros(threads, p, depth) if needs_sums else None
    db = x.new_zeros(threads, p) if needed.modrelu_bias else None
    chunk = max(128, CHUNK_BYTES // (6 * (p + depth)) // 32 * 32)
    fields = {
        **sizes, **packing, "grad_time": grad.stride(0), "grad_row": grad.stride(-2), "x": x,
        "h0": h0, "states": states, "factor": factor, "grad": grad, "carry": carry, "dx": dx,
        "dw": dw, "db": db, "chunk": chunk,
    }  # fmt: skip
    kernel.run("backward", **fields)
    if kernel.product == AMX and not all(_finite(a) for a in (carry, dw, db) if a is not None):
        for a in (carry, dw, db):
            if a is not None:
                a.zero_()
        load_kernel(x.dtype, VECTOR).run("backward", **fields)
    sums = None if dw is None else dw[0] if threads == 1 else dw.sum(0)
    return Gradients(
        x=dx,
        h0=_copy(carry[:, :hidden]) if needed.h0 else None,
        w_hh=_copy(sums[:hidden, :hidden]) if needed.w_hh and sums is not None else None,
        w_ih=_copy(sums[:hidden, after : after + features])
        if needed.w_ih and sums is not None
        else None,
        bias=_copy(sums[:hidden, after + features]) if needed.bias and sums is not None else None,
        modrelu_bias=None if db is None else db.sum(0)[:hidden],
    )


# Note [What is not finite]
# An infinity, or what rounds to one in bfloat16, has no three finite parts: infinity less itself is
# NaN. So on AMX's tiles a row that meets one is NaN from there to its end, where vectors might say
# infinity, and so are the sums over it. The pass is then made again, by vectors, and says what
# torch says.


def _finite(a: Tensor) -> bool:
    return math.isfinite(a.sum().item())


def choose_kernel(h0: Tensor) -> CompiledKernel:
    """The faster of the kernels for a state (B, H)."""
    is_small = len(h0) < MIN_ROWS_AMX or h0.shape[1] < MIN_COLUMNS_AMX
    return load_kernel(h0.dtype, VECTOR if is_small else None)


def _round_up(a: int, b: int) -> int:
    return -(-a // b) * b


def _layout(kernel: CompiledKernel, features: int, hidden: int) -> tuple[int, int]:
    """Where x begins in the rows [h, 0, x, 1, 0], and how long they are."""
    after = _round_up(hidden, kernel.lanes)
    return after, _round_up(after + features + 1, 2 * kernel.lanes)


def _rows(a: Tensor) -> Tensor:
    return a if a.stride(-1) == 1 or a.shape[-1] == 1 else a.contiguous()


def _copy(a: Tensor) -> Tensor:
    """Its entries alone, sharing no memory with the other gradients."""
    return a.clone(memory_format=torch.contiguous_format)


def _contiguous(a: Tensor | None) -> Tensor | None:
    return None if a is None else a.contiguous()


def _call_fields(x: Tensor, h0: Tensor, kind: Kind) -> tuple[dict[str, int], dict[str, Tensor]]:
    """The numbers of a call, and the tensors of a packed one."""
    batch, hidden = h0.shape
    rows = x.numel() // x.shape[-1] if x.dim() == 2 else x.shape[0] * x.shape[1]
    operations = 2.0 * rows * hidden * (hidden + x.shape[-1])
    threads = min(torch.get_num_threads(), max(1, int(operations / OPERATIONS_PER_THREAD)), batch)
    sizes = {
        "time": len(x), "batch": batch, "inputs": x.shape[-1], "hidden": hidden,
        "threads": threads, "nonlinearity": CODES[kind.nonlinearity],
        "x_time": x.stride(0), "x_row": x.stride(-2),
    }  # fmt: skip
    if kind.batch_sizes is None:
        return sizes, {}
    batch_sizes = kind.batch_sizes.to(torch.int64).contiguous()
    starts = torch.cat([batch_sizes.new_zeros(1), batch_sizes.cumsum(0)])
    return {**sizes, "time": len(batch_sizes)}, {"sizes": batch_sizes, "starts": starts}
