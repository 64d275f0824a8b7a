"""The recurrence on a GPU by Triton: the loop over time in one launch, large products by torch.

torch makes z = V x + c and the sums over time of the gradients; a kernel of
:mod:`orthornn.recurrence.elman.triton.kernels` runs through all steps of its part of the batch.
Triton is loaded by the first call. With ``TRITON_INTERPRET=1`` in the environment before that, its
interpreter runs the same kernels on the CPU, very slowly.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul
from orthornn._validation import short_repr
from orthornn.recurrence.backend import (
    Tensors,
    unsupported_by_machine_code,
    unsupported_nonlinearity,
)
from orthornn.recurrence.elman.eager import add_products_
from orthornn.recurrence.elman.inputs import Gradients, Inputs, Kind, Needed

from .launch import launch_config

NONLINEARITIES = ("identity", "leaky_relu", "modrelu", "relu", "tanh")  # of elementwise.py
CHUNK_BYTES = 1 << 26  # of δ that are kept at a time, or of an input that has to be copied


@functools.cache
def unavailable() -> str | None:
    """Why Triton cannot run here, in a sentence; None if it can. Found out once in a process."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (extra 'gpu')"
    try:
        kernels = _kernels()
        if _interpreted():
            return None
        if not torch.cuda.is_available():
            return "torch finds no GPU"
        kernels.triton.runtime.driver.active.get_current_target()
    except Exception as error:  # a broken installation, driver or C compiler, which Triton needs
        return f"triton cannot be used: {short_repr(error)}"
    return None


def unsupported(tensors: Tensors, kind: Kind) -> str | None:
    """Why the kernels do not take these; None if they do. They take any size, dense or packed."""
    device = "cpu" if _interpreted() else "cuda"
    reason = unsupported_nonlinearity(kind.nonlinearity, NONLINEARITIES)
    return reason or unsupported_by_machine_code(tensors, device)


def is_faster(inputs: Inputs, kind: Kind) -> bool:
    """On a GPU, while W stays on the chip."""
    h0 = inputs.h0
    return h0.is_cuda and h0.shape[-1] <= (192 if h0.dtype == torch.float32 else 128)


@full_precision_matmul()
def forward(inputs: Inputs, kind: Kind) -> Tensor:
    """The states; see :class:`orthornn.recurrence.backend.Backend`."""
    x, h0, w_hh, w_ih, bias, modrelu_bias = inputs
    states = x.new_empty(*x.shape[:-1], h0.shape[-1])
    flat, v_t = states.flatten(0, -2), w_ih.t()
    step_bytes = x[0].numel() * x.element_size() if len(x) else 0
    length = max(1, CHUNK_BYTES // max(1, step_bytes))
    for x_part, part in zip(torch.split(x, length), torch.split(states, length), strict=True):
        rows, z = x_part.flatten(0, -2), part.flatten(0, -2)
        if bias is None:
            torch.mm(rows, v_t, out=z)
        else:
            torch.addmm(bias, rows, v_t, out=z)
    m = _padded(w_hh.t())
    for all_steps in _cut(x, kind.batch_sizes, max(1, len(x))):
        _run(all_steps, flat, flat, flat, h0, m, modrelu_bias, kind.nonlinearity)
    return states


@full_precision_matmul()
def backward(grad: Tensor, inputs: Inputs, states: Tensor, kind: Kind, needed: Needed) -> Gradients:
    """The gradients; see :class:`orthornn.recurrence.backend.Backend`."""
    x, h0, w_hh, w_ih = inputs[:4]
    gradients = Gradients.zeros(inputs, needed)
    dw, (B, H) = gradients.w_hh, h0.shape
    flat, m = states.flatten(0, -2), _padded(w_hh)
    length = max(1, CHUNK_BYTES // max(1, B * H * x.element_size()))
    chunks = list(_cut(x, kind.batch_sizes, length))
    carry = torch.zeros_like(h0, memory_format=torch.contiguous_format)
    for chunk in reversed(chunks):
        n, h, g = chunk.rows.stop - chunk.rows.start, chunk.of(states), chunk.of(grad)
        delta = torch.empty_like(h)
        _run(chunk, g.contiguous(), h, delta, carry, m, None, kind.nonlinearity)
        carry[: chunk.batch] = delta[: chunk.batch]
        if dw is not None:
            first = h0 if chunk.before is None else flat[chunk.before :]
            torch.addmm(dw, delta[: chunk.batch].t(), first[: chunk.batch], out=dw)
            before = h[: n - chunk.batch] if kind.batch_sizes is None else h[chunk.earlier()]
            torch.addmm(dw, delta[chunk.batch :].t(), before, out=dw)
        dx = None if gradients.x is None else chunk.of(gradients.x)
        add_products_(gradients, dx, delta, h, chunk.of(x), w_ih)
    if gradients.h0 is not None:
        torch.mm(carry, w_hh, out=gradients.h0)
    return gradients


class _Chunk(NamedTuple):
    """Neighbouring steps, dense or packed; rows are the steps laid end to end."""

    steps: slice
    rows: slice
    batch: int
    """Sequences at its first step."""
    before: int | None
    """The row at which the step before it begins."""
    starts: Tensor
    """The row at which each step begins and the last one ends, counted from the chunk's first."""
    lengths: Tensor
    """Steps that each sequence of the batch has in it, shape (B,)."""

    def of(self, a: Tensor) -> Tensor:
        """Its rows of ``a``, (T, B, ·) or packed (N, ·)."""
        return a[self.steps].flatten(0, 1) if a.dim() == 3 else a[self.rows]

    def earlier(self) -> Tensor:
        """Where, in the chunk, the state before each row is; of the rows after its first step."""
        sizes = self.starts.diff()
        n = self.rows.stop - self.rows.start
        rows = torch.arange(self.batch, n, device=sizes.device)
        return rows - sizes[:-1].repeat_interleave(sizes[1:], output_size=n - self.batch)


def _cut(x: Tensor, batch_sizes: Tensor | None, length: int) -> Iterator[_Chunk]:
    """Chunks of ``length`` steps."""
    if batch_sizes is None:
        T, B = x.shape[:2]
        first = [t * B for t in range(T + 1)]
        starts = torch.arange(T + 1, device=x.device) * B
        lengths = torch.full((B,), T, device=x.device)
    else:
        T, B = len(batch_sizes), int(batch_sizes[0])
        sizes = batch_sizes.cpu()
        ends = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        first, starts = ends.tolist(), ends.to(x.device)
        shorter = torch.searchsorted(
            sizes.flip(0), torch.arange(B, device=sizes.device), right=True
        )
        lengths = (T - shorter).to(x.device)
    for t in range(0, T, length):
        stop = min(t + length, T)
        yield _Chunk(
            slice(t, stop),
            slice(first[t], first[stop]),
            first[t + 1] - first[t],
            first[t - 1] if t else None,
            starts[t : stop + 1] - first[t],
            (lengths - t).clamp(0, stop - t),
        )


def _run(
    chunk: _Chunk,
    addend: Tensor,
    states: Tensor,
    out: Tensor,
    before: Tensor,
    m: Tensor,
    modrelu_bias: Tensor | None,
    nonlinearity: str,
) -> None:
    """Launch Note [One loop for both directions]: forward where ``out`` is ``addend``."""
    B, H = before.shape
    launch = launch_config(B, H, out.dtype, _multiprocessors(out.device))
    kernel = getattr(_kernels(), launch.kernel)
    back = out is not addend
    before = before.contiguous()
    b = before if modrelu_bias is None else modrelu_bias.contiguous()
    with torch.cuda.device_of(out):  # type: ignore[no-untyped-call]
        kernel[(-(-B // launch.rows),)](
            *(addend, states, out, before, m, b, chunk.starts, chunk.lengths, B, H, len(m)),
            KIND=nonlinearity,
            BACK=back,
            **launch.constants,
            num_warps=launch.num_warps,
            num_stages=1,
        )


def _padded(w: Tensor) -> Tensor:
    """M row by row, with zeros up to a multiple of 16."""
    more = -len(w) % 16
    return torch.nn.functional.pad(w, (0, more, 0, more)).contiguous()


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return 4  # of the interpreter, whose batches are small
    utils = _kernels().triton.runtime.driver.active.utils
    count: int = utils.get_device_properties(device.index)["multiprocessor_count"]
    return count


def _kernels() -> Any:
    """Triton's kernels; their import settles who runs them."""
    from . import kernels

    return kernels


def _interpreted() -> bool:
    from .elementwise import COMPILED

    return not COMPILED.value
