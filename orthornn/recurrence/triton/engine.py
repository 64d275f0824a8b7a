"""The recurrence on a GPU by Triton: the loop over time in one launch, large products by torch.

torch makes z = V x + c and the sums over time of the gradients; a kernel of
:mod:`orthornn.recurrence.triton.kernels` runs through all steps of its part of the batch. Triton
is loaded by the first call. With ``TRITON_INTERPRET=1`` in the environment before that, its
interpreter runs the same kernels on the CPU, very slowly.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul
from orthornn._validation import short_repr
from orthornn.recurrence.fused import add_products_

from .launch import launch_config

KINDS = ("identity", "leaky_relu", "modrelu", "relu", "tanh")  # that elementwise.py knows
CHUNK_BYTES = 1 << 26  # of δ that are kept at a time, or of an input that has to be copied


@functools.cache
def available() -> str | None:
    """None where Triton can run, else one sentence why not; found out once in a process."""
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


def fits(x: Tensor, h0: Tensor, nonlinearity: str) -> str | None:
    """None where :func:`run_forward` takes these, else one sentence why not.

    It takes any size, dense or packed. To be asked where Triton is :func:`available`.
    """
    if nonlinearity not in KINDS:
        return f"nonlinearity must be one of {list(KINDS)}, got {short_repr(nonlinearity)}"
    if x.dtype not in (torch.float32, torch.float64) or h0.dtype != x.dtype:
        return f"x and h0 must be both float32 or both float64, got {x.dtype} and {h0.dtype}"
    if x.device.type != "cuda" and not _interpreted():
        return f"x must be on a GPU, got {x.device}"
    return None


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
    """The states, (T, B, H) or packed (N, H); see :mod:`orthornn.recurrence` for the arguments.

    Raises:
        ValueError: for what does not fit; see :func:`fits`.
    """
    _check(x, h0, nonlinearity)
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
    m = _factor(w_hh.t())
    for everything in _cut(x, batch_sizes, max(1, len(x))):
        _run(everything, flat, flat, flat, h0, m, threshold, nonlinearity)
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

    Raises:
        ValueError: for what does not fit; see :func:`fits`.
    """
    x, h0, w_hh, w_ih = (a for a in inputs[:4] if a is not None)
    _check(x, h0, nonlinearity)
    dx, dh0, dw, dv, dc, db = (
        a.new_zeros(a.shape) if a is not None and wanted else None
        for a, wanted in zip(inputs, needed, strict=True)
    )
    B, H = h0.shape
    flat, m = states.flatten(0, -2), _factor(w_hh)
    chunks = list(_cut(x, batch_sizes, max(1, CHUNK_BYTES // max(1, B * H * x.element_size()))))
    carry = torch.zeros_like(h0, memory_format=torch.contiguous_format)
    for chunk in reversed(chunks):
        n, h, g = chunk.rows.stop - chunk.rows.start, chunk.of(states), chunk.of(grad)
        delta = torch.empty_like(h)
        _run(chunk, g.contiguous(), h, delta, carry, m, None, nonlinearity)
        carry[: chunk.batch] = delta[: chunk.batch]
        if dw is not None:
            first = h0 if chunk.before is None else flat[chunk.before :]
            torch.addmm(dw, delta[: chunk.batch].t(), first[: chunk.batch], out=dw)
            before = h[: n - chunk.batch] if batch_sizes is None else h[chunk.earlier()]
            torch.addmm(dw, delta[chunk.batch :].t(), before, out=dw)
        dx_part = None if dx is None else chunk.of(dx)
        add_products_((dx_part, dv, dc, db), delta, h, chunk.of(x), w_ih)
    if dh0 is not None:
        torch.mm(carry, w_hh, out=dh0)
    return [dx, dh0, dw, dv, dc, db]


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
        here = torch.arange(self.batch, n, device=sizes.device)
        return here - sizes[:-1].repeat_interleave(sizes[1:], output_size=n - self.batch)


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
        shorter = torch.searchsorted(sizes.flip(0), torch.arange(B), right=True)
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
    given: Tensor,
    states: Tensor,
    out: Tensor,
    before: Tensor,
    m: Tensor,
    threshold: Tensor | None,
    nonlinearity: str,
) -> None:
    """Launch Note [One loop for both directions]: forward where ``out`` is ``given``."""
    B, H = before.shape
    launch = launch_config(B, H, out.dtype, _multiprocessors(out.device))
    kernel = getattr(_kernels(), launch.kernel)
    back = out is not given
    before = before.contiguous()
    b = before if threshold is None else threshold.contiguous()
    with torch.cuda.device_of(out):  # type: ignore[no-untyped-call]
        kernel[(-(-B // launch.rows),)](
            *(given, states, out, before, m, b, chunk.starts, chunk.lengths, B, H, len(m)),
            KIND=nonlinearity,
            BACK=back,
            **launch.constants,
            num_warps=launch.num_warps,
            num_stages=1,
        )


def _factor(w: Tensor) -> Tensor:
    """M row by row, with zeros up to a multiple of 16."""
    more = -len(w) % 16
    return torch.nn.functional.pad(w, (0, more, 0, more)).contiguous()


def _check(x: Tensor, h0: Tensor, nonlinearity: str) -> None:
    refused = available() or fits(x, h0, nonlinearity)
    if refused is not None:
        raise ValueError(refused)


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
