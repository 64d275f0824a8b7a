"""Self-test of machine code: forward and backward of small problems must match torch.

A compiler, a driver or a chip that nobody has tried yet costs speed then, and no wrong number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from orthornn._torch_internals import no_dispatch_modes

from .backend import Backend

Problem = tuple[Any, Any]  # inputs and kind of a recurrence

RELATIVE_ERROR = 1e-4


def self_test(
    backend: Backend, fallback: Backend, needed: Callable[..., Any], problems: Iterable[Problem]
) -> str | None:
    """None if the backend gives what torch's operations give, else what happened, in a line.

    Whatever modes and defaults of torch are set.

    Args:
        backend: which is tested.
        fallback: what gives the right numbers, by torch's operations.
        needed: makes the flags of the gradients, from one for each input.
        problems: inputs and kinds, made while they are asked for.
    """
    try:
        with no_dispatch_modes():
            agreed = [
                _close(a, b)
                for inputs, kind in problems
                for a, b in zip(
                    _run(backend, fallback, needed, inputs, kind),
                    _run(fallback, fallback, needed, inputs, kind),
                    strict=True,
                )
            ]
    except Exception as error:
        message = str(error).strip().partition("\n")[0]
        return f"its self-test failed: {type(error).__name__}: {message[:200]}"
    return None if all(agreed) else "its self-test gave other numbers than torch"


def spread_numbers(shape: tuple[int, ...], k: int) -> Tensor:
    """Numbers in (-1, 1) without a random draw, float64 on the CPU; ``k`` tells tensors apart."""
    numbers = torch.arange(1, 1 + math.prod(shape), dtype=torch.float64, device="cpu")
    return numbers.mul(k + 1.3).sin().view(shape)


def _run(
    backend: Backend, fallback: Backend, needed: Callable[..., Any], inputs: Any, kind: Any
) -> tuple[Tensor | None, ...]:
    """The backend's states, and its gradients at those of torch."""
    states = fallback.forward(inputs, kind)
    flags = needed(*(a is not None and a.is_floating_point() for a in inputs))
    gradients = backend.backward(states, inputs, states, kind, flags)
    return backend.forward(inputs, kind), *gradients


def _close(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return bool((a - b).norm() <= RELATIVE_ERROR * b.norm())
