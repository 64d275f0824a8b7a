"""The recurrence ``h_t = a_t h_{t-1} + b_t`` of single numbers, in parallel over time."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_scan(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """All states of ``h_t = a_t h_{t-1} + b_t``, elementwise, in log T passes.

    Each pass doubles the stretch that a coefficient and a sum are over (Hillis & Steele, 1986)::

        b_t <- b_t + a_t b_{t-d},   a_t <- a_t a_{t-d},   d = 1, 2, 4, ...

    With |a| <= 1 nothing grows, so that no logarithm is needed.

    Args:
        a: coefficients, of the shape of ``b``.
        b: what is added, real or complex.
        h: the state before the first step.

    Shape:
        a and b ``(T, B, H)``, h ``(B, H)``; the states ``(T, B, H)``.
    """
    b = torch.cat([b[:1] + a[:1] * h, b[1:]])
    stretch = 1
    while stretch < len(b):
        b = torch.cat([b[:stretch], b[stretch:] + a[stretch:] * b[:-stretch]])
        a = torch.cat([a[:stretch], a[stretch:] * a[:-stretch]])
        stretch *= 2
    return b
