"""Self-test of machine code: forward and backward of small recurrences must match torch.

A compiler, a driver or a chip that nobody has tried yet costs speed then, and no wrong number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from orthornn._torch_internals import no_dispatch_modes

from . import eager
from .backend import Backend, Inputs, Kind, Needed

T, B, I = 5, 19, 2
WIDTHS = (77, 37)  # each with code of its own; no whole number of vectors or tiles, as B is none
BATCH_SIZES = (19, 19, 11, 3)  # of packed rows
RELATIVE_ERROR = 1e-4


def self_test(
    backend: Backend, device: torch.device, dtype: torch.dtype = torch.float32
) -> str | None:
    """None if the backend gives what torch's operations give, else what happened, in a line.

    Dense and packed, modReLU and tanh; whatever modes and defaults of torch are set.
    """
    try:
        with no_dispatch_modes():
            agreed = [
                _close(a, b)
                for inputs, kind in _problems(device, dtype)
                for a, b in zip(_run(backend, inputs, kind), _run(eager, inputs, kind), strict=True)
            ]
    except Exception as error:
        message = str(error).strip().partition("\n")[0]
        return f"its self-test failed: {type(error).__name__}: {message[:200]}"
    return None if all(agreed) else "its self-test gave other numbers than torch"


def _run(backend: Backend, inputs: Inputs, kind: Kind) -> tuple[Tensor | None, ...]:
    """The backend's states, and its gradients at those of torch."""
    states = eager.forward(inputs, kind)
    needed = Needed(*(a is not None for a in inputs))
    gradients = backend.backward(states, inputs, states, kind, needed)
    return backend.forward(inputs, kind), *gradients


def _problems(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[Inputs, Kind]]:
    """Inputs without a random draw; no pre-activation lies near modReLU's threshold."""
    for H in WIDTHS:
        shapes = [(T, B, I), (B, H), (H, H), (H, I), (H,), (H,)]
        x, h0, w, v, c, b = (
            torch.arange(1, 1 + math.prod(shape), dtype=torch.float64, device="cpu")
            .mul(k + 1.3)
            .sin()
            .view(shape)
            for k, shape in enumerate(shapes)
        )
        tensors = (x, h0, torch.linalg.qr(w)[0], v, c, -b.abs() / 2)
        inputs = Inputs(*(a.to(device, dtype) for a in tensors))
        yield inputs, Kind("modrelu")
        packed = inputs.x.flatten(0, 1)[: sum(BATCH_SIZES)]
        batch_sizes = torch.tensor(BATCH_SIZES, device="cpu")
        yield inputs._replace(x=packed, modrelu_bias=None), Kind("tanh", batch_sizes)


def _close(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return bool((a - b).norm() <= RELATIVE_ERROR * b.norm())
