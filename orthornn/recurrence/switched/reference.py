"""The recurrence ``h_t = a(x_t) M(x_t) h_{t-1} + b(x_t)`` as a loop under autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .inputs import REFLECTIONS, Inputs, Kind


def reference(inputs: Inputs, kind: Kind) -> Tensor:
    """The states in plain operations, for every transform and compiler that looks inside.

    Differentiable any number of times, backward and forward.
    """
    sizes = kind.batch_sizes
    # read at once: the gradient of a row read at each step would fill a whole table each time
    tables = [a[inputs.tokens] for a in inputs[2:] if a is not None]
    steps = zip(*(split_steps(a, sizes) for a in tables), strict=True)
    h, states = inputs.h0, []
    for weight, *others in steps:
        rest = iter(others)
        h = transform(weight, h[: weight.shape[0]], kind.transition)
        if inputs.gate is not None:
            h = next(rest).unsqueeze(-1) * h
        if inputs.shift is not None:
            h = h + next(rest)
        states.append(h)
    return torch.stack(states) if sizes is None else torch.cat(states)


def transform(weight: Tensor, h: Tensor, transition: str) -> Tensor:
    """``M h`` of each row: weight (B, H, H) or (B, k, H), h (B, H)."""
    if transition == REFLECTIONS:
        for v in weight.unbind(1):
            h = reflect(v, h)
        return h
    return (weight @ h.unsqueeze(-1)).squeeze(-1)


def reflect(v: Tensor, h: Tensor) -> Tensor:
    """``(I - 2vvᵀ) h`` of each row, unit vectors v and h of shape (..., H)."""
    return h - 2 * (v * h).sum(-1, keepdim=True) * v


def product_of_reflections(vectors: Tensor) -> Tensor:
    """``H(v_k) ... H(v_1)`` as a matrix, unit vectors (..., k, H) to (..., H, H)."""
    H = vectors.shape[-1]
    rows = torch.eye(H, dtype=vectors.dtype, device=vectors.device)
    rows = rows.expand(*vectors.shape[:-2], H, H)  # row i becomes the image of the unit vector i
    for v in vectors.unbind(-2):
        rows = reflect(v.unsqueeze(-2), rows)
    return rows.mT


def split_steps(a: Tensor, sizes: Tensor | None) -> Sequence[Tensor]:
    """The steps of ``a``, (T, B, ...) or packed (N, ...)."""
    return a.unbind(0) if sizes is None else torch.split(a, sizes.tolist())
