"""A trial of machine code before it is trusted: a small recurrence, there and back, against torch.

A compiler, a driver or a chip that nobody has tried yet costs speed then, and no wrong number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from orthornn._torch_internals import no_dispatch_modes

from . import fused

T, B, I, H = 5, 19, 2, 77  # more than one vector or tile, and no whole number of them
SIZES = (19, 19, 11, 3)  # of a packed batch
MODRELU = "modrelu"


def trial(
    forward: Callable[..., Tensor],
    backward: Callable[..., Any],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> str | None:
    """None if both give what torch's operations give, else what happened, in a line.

    Dense and packed, modReLU and tanh; whatever modes and defaults of torch are set.
    """
    try:
        with no_dispatch_modes():
            agreed = [
                near
                for kind in ((MODRELU, None), ("tanh", SIZES))
                for near in _compare(forward, backward, device, dtype, *kind)
            ]
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        return f"it failed in a trial: {type(error).__name__}: {said[:200]}"
    return None if all(agreed) else "it gave other numbers than torch in a trial"


def _compare(
    forward: Callable[..., Tensor],
    backward: Callable[..., Any],
    device: torch.device,
    dtype: torch.dtype,
    nonlinearity: str,
    sizes: tuple[int, ...] | None,
) -> Iterator[bool]:
    run: Callable[..., Tensor] = fused.run_forward
    inputs = [a.to(device, dtype) for a in _problem()]
    needed = [True] * 5 + [nonlinearity == MODRELU]
    given: list[Tensor | None] = [*inputs] if needed[5] else [*inputs[:5], None]
    packing = None if sizes is None else torch.tensor(sizes, device="cpu")
    if packing is not None:
        given[0] = inputs[0].flatten(0, 1)[: sum(SIZES)]
    states = run(*given, nonlinearity, packing)
    rest = (nonlinearity, packing, needed)
    expected = states, *fused.run_backward(states, given, states, *rest)
    found = forward(*given, nonlinearity, packing), *backward(states, given, states, *rest)
    for a, b in zip(found, expected, strict=True):
        yield _near(a, b)


def _problem() -> list[Tensor]:
    """Inputs without a random draw; no pre-activation lies near modReLU's threshold."""
    sizes = [(T, B, I), (B, H), (H, H), (H, I), (H,), (H,)]
    x, h0, w, v, c, b = (
        torch.arange(1, 1 + math.prod(size), dtype=torch.float64, device="cpu")
        .mul(k + 1.3)
        .sin()
        .view(size)
        for k, size in enumerate(sizes)
    )
    return [x, h0, torch.linalg.qr(w)[0], v, c, -b.abs() / 2]


def _near(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return bool((a - b).norm() <= 1e-4 * b.norm())
