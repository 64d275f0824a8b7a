"""A trial of machine code before it is trusted: a small recurrence, there and back, against torch.

A compiler, a driver or a chip that nobody has tried yet costs speed then, and no wrong number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import fused

T, B, I, H = 5, 19, 2, 77  # more than one vector or tile, and no whole number of them


def trial(
    forward: Callable[..., Tensor], backward: Callable[..., Any], device: torch.device
) -> str | None:
    """None if both give in float32 what torch's operations give, else what happened, in a line."""
    inputs: Any = [a.to(device) for a in _problem()]
    rest = ("modrelu", None, [True] * 6)
    run: Callable[..., Tensor] = fused.run_forward
    try:
        states = run(*inputs, "modrelu")
        expected = states, *fused.run_backward(states, inputs, states, *rest)
        found = forward(*inputs, "modrelu"), *backward(states, inputs, states, *rest)
        agreed = [_near(a, b) for a, b in zip(found, expected, strict=True)]
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        return f"it failed in a trial: {type(error).__name__}: {said}"
    return None if all(agreed) else "it gave other numbers than torch in a trial"


def _problem() -> list[Tensor]:
    """Inputs without a random draw; no pre-activation lies near modReLU's threshold."""
    sizes = [(T, B, I), (B, H), (H, H), (H, I), (H,), (H,)]
    x, h0, w, v, c, b = (
        torch.arange(1.0, 1 + torch.Size(size).numel()).mul(k + 1.3).sin().view(size)
        for k, size in enumerate(sizes)
    )
    return [x, h0, torch.linalg.qr(w)[0], v, c, -b.abs() / 2]


def _near(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and bool((a - b).norm() <= 1e-4 * b.norm())
