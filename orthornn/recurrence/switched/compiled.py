"""The switched recurrence and its adjoint on the CPU, compiled from ``switched.c``.

A step is a product of the token's matrix and a vector, or a few reflections of it, while the state
is in registers. Threads share out the batch, so that none waits for another before the end. The
gradients of the tables are summed token by token, each in one place and in one order: the result is
the same on any number of threads.

The functions are those of :class:`orthornn.recurrence.backend.Backend`.
"""

from __future__ import annotations

import ctypes
import functools

import torch
from torch import Tensor

from orthornn.recurrence.backend import Tensors, unsupported_by_machine_code
from orthornn.recurrence.cpu.kernel import INTEGER, POINTER, Kernel, why_unavailable

from .inputs import REFLECTIONS, Gradients, Inputs, Kind, Needed

SOURCE = "switched.c"
OPERATIONS_PER_THREAD = 1e7  # at the least


class _Call(ctypes.Structure):
    """``Call`` of switched_call.h, field by field."""

    _fields_ = [
        *(
            (name, INTEGER)
            for name in ("time", "batch", "hidden", "tokens", "reflections", "threads")
        ),
        *(
            (name, POINTER)
            for name in ("sizes", "starts", "x", "h0", "weight", "gate", "shift", "states", "grad")
        ),
        *((name, INTEGER) for name in ("grad_time", "grad_row")),
        *((name, POINTER) for name in ("dh0", "dweight", "dgate", "dshift")),
    ]


@functools.cache
def load_kernel(dtype: torch.dtype) -> Kernel:
    """The code for a dtype.

    Raises:
        CannotCompile: where there is none.
    """
    return Kernel(SOURCE, _Call, dtype)


@functools.cache
def unavailable() -> str | None:
    """Why nothing can be compiled here; None if it can."""
    return why_unavailable(load_kernel)


def unsupported(tensors: Tensors, kind: Kind) -> str | None:
    """Why these tensors are not for this code; None if they are."""
    return unsupported_by_machine_code(tensors, "cpu")


def is_faster(inputs: Inputs, kind: Kind) -> bool:
    """On a CPU it always is."""
    return inputs.h0.is_cpu


def forward(inputs: Inputs, kind: Kind) -> Tensor:
    """The states; see :class:`orthornn.recurrence.backend.Backend`.

    Raises:
        IndexError: for a token without a row in the tables.
        RuntimeError: for tensors whose sizes do not go together.
    """
    inputs = _contiguous(inputs)
    states = inputs.h0.new_empty(inputs.states_shape)
    load_kernel(states.dtype).run("forward", states=states, **_fields(inputs, kind))
    return states


def backward(grad: Tensor, inputs: Inputs, states: Tensor, kind: Kind, needed: Needed) -> Gradients:
    """The gradients; see :class:`orthornn.recurrence.backend.Backend`.

    Raises:
        IndexError: for a token without a row in the tables.
        RuntimeError: for tensors whose sizes do not go together.
    """
    inputs, states = _contiguous(inputs), states.contiguous()
    if not any(grad.stride()):  # one number for all, as from sum()
        grad = grad[(0,) * (grad.dim() - 1)].contiguous().expand(grad.shape)
    elif grad.stride(-1) != 1:
        grad = grad.contiguous()
    gradients = Gradients(
        None,
        *(
            torch.empty_like(a) if a is not None and is_needed else None
            for a, is_needed in zip(inputs[1:], needed[1:], strict=True)
        ),
    )
    load_kernel(states.dtype).run(
        "backward",
        states=states,
        grad=grad,
        grad_time=grad.stride(0),
        grad_row=grad.stride(-2),
        dh0=gradients.h0,
        dweight=gradients.weight,
        dgate=gradients.gate,
        dshift=gradients.shift,
        **_fields(inputs, kind),
    )
    return gradients


def _contiguous(inputs: Inputs) -> Inputs:
    tokens, h0, weight, gate, shift = inputs
    return Inputs(
        tokens.to(torch.int64).contiguous(),
        h0.contiguous(),
        weight.contiguous(),
        None if gate is None else gate.contiguous(),
        None if shift is None else shift.contiguous(),
    )


def _fields(inputs: Inputs, kind: Kind) -> dict[str, int | Tensor | None]:
    """Those of a call that both passes have."""
    tokens, h0, weight, gate, shift = inputs
    _check_shapes(inputs, kind)
    _check_tokens(tokens, len(weight))
    batch, hidden = h0.shape
    reflections = weight.shape[1] if kind.transition == REFLECTIONS else 0
    operations = 2.0 * tokens.numel() * hidden * (2 * reflections or hidden)
    threads = min(torch.get_num_threads(), max(1, int(operations / OPERATIONS_PER_THREAD)), batch)
    sizes = starts = None
    if kind.batch_sizes is not None:
        sizes = kind.batch_sizes.to(torch.int64).contiguous()
        starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    return {
        "time": len(tokens if sizes is None else sizes), "batch": batch, "hidden": hidden,
        "tokens": len(weight), "reflections": reflections, "threads": threads, "sizes": sizes,
        "starts": starts, "x": tokens, "h0": h0, "weight": weight, "gate": gate, "shift": shift,
    }  # fmt: skip


def _check_shapes(inputs: Inputs, kind: Kind) -> None:
    """Refuse sizes that do not go together: the code would read past the end of a tensor."""
    tokens, h0, weight, gate, shift = inputs
    H, sizes = h0.shape[-1], kind.batch_sizes
    rows = weight.shape[1] if kind.transition == REFLECTIONS else H
    expected = {
        "h0": (h0, (tokens.shape[1] if sizes is None else int(sizes[0]), H)),
        "weight": (weight, (len(weight), rows, H)),
        "gate": (gate, (len(weight),)),
        "shift": (shift, (len(weight), H)),
    }
    for name, (a, shape) in expected.items():
        if a is not None and a.shape != shape:
            raise RuntimeError(f"expected {name} of shape {shape}, got {tuple(a.shape)}")


def _check_tokens(tokens: Tensor, number: int) -> None:
    """Refuse what would be read beyond the tables."""
    least, most = (int(a) for a in torch.aminmax(tokens))
    if least < 0 or most >= number:
        raise IndexError(f"tokens must be in [0, {number}), got some in [{least}, {most}]")
