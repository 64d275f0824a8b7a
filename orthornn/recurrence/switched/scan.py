"""The switched recurrence with its steps in parallel: chunks of time side by side."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul
from orthornn.recurrence.backend import Tensors

from .eager import table_gradients
from .inputs import REFLECTIONS, Gradients, Inputs, Kind, Needed
from .reference import product_of_reflections

SEGMENT_BYTES = 1 << 26  # of the matrices of a segment of time, which are held at once
MIN_STEPS = 64
MAX_WIDTH_CPU = 32  # of the states; beyond, H³ operations a step instead of H² are too many

# Note [Prefix products]
# h_t = A_t h_{t-1} + b_t is affine: in a chunk of S steps h_t = P_t h + q_t, with h the state
# before the chunk, P_t = A_t P_{t-1} and q_t = A_t q_{t-1} + b_t. All chunks make their P and q
# side by side, S products of matrices; the states between chunks follow in a row; then one
# batched product gives all states. With S = √T that is 2 √T sequential steps instead of T. The
# adjoint λ_t = g_t + A_{t+1}ᵀ λ_{t+1} is the same with time turned round. Each A is orthogonal, or
# 0 where an exact gate is shut, so that no product grows.


def unavailable() -> None:
    """It runs wherever torch does."""


def unsupported(tensors: Tensors, kind: Kind) -> str | None:
    """Why a scan cannot run this; None if it can."""
    if kind.batch_sizes is not None:
        return "it takes no packed sequences"
    if any(a is not None and not a.numel() for a in tensors):
        return "it takes no empty tensors"
    return None


def is_faster(inputs: Inputs, kind: Kind) -> bool:
    """Whether there are steps enough, and the machine has room for more operations in each."""
    if kind.batch_sizes is not None or len(inputs.tokens) < MIN_STEPS:
        return False
    return not inputs.h0.is_cpu or inputs.h0.shape[-1] <= MAX_WIDTH_CPU


@full_precision_matmul()
def forward(inputs: Inputs, kind: Kind) -> Tensor:
    """The states; see :class:`orthornn.recurrence.backend.Backend`."""
    h, states = inputs.h0, []
    for x in torch.split(inputs.tokens, _segment_steps(inputs)):
        b = h.new_zeros(1, 1, 1) if inputs.shift is None else inputs.shift[x]
        part = affine_scan(_matrices(inputs, x, kind), b.expand(*x.shape, h.shape[-1]), h)
        h = part[-1]
        states.append(part)
    return torch.cat(states)


@full_precision_matmul()
def backward(grad: Tensor, inputs: Inputs, states: Tensor, kind: Kind, needed: Needed) -> Gradients:
    """The gradients; see :class:`orthornn.recurrence.backend.Backend`."""
    lambdas = torch.empty_like(states)
    carry = torch.zeros_like(inputs.h0)
    length = _segment_steps(inputs)
    parts = (torch.split(a, length) for a in (inputs.tokens, grad, lambdas))
    for x, g, out in reversed(list(zip(*parts, strict=True))):
        a = _matrices(inputs, x, kind).mT
        g_last = (g[-1] + carry).unsqueeze(0)
        later = affine_scan(a[1:].flip(0), g[:-1].flip(0), g_last[0])
        out.copy_(torch.cat([later.flip(0), g_last]))
        carry = (a[0] @ out[0].unsqueeze(-1)).squeeze(-1)
    gradients = table_gradients(lambdas, inputs, states, kind, needed)
    return gradients._replace(h0=carry) if needed.h0 else gradients


def affine_scan(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """``h_t = A_t h_{t-1} + b_t`` for all t, by Note [Prefix products].

    Args:
        a: (T, B, H, H).
        b: (T, B, H).
        h: the state before the first step, (B, H).

    Returns:
        (T, B, H).
    """
    steps = max(1, math.isqrt(len(a)))
    number = len(a) // steps
    end = steps * number
    sides_a = a[:end].reshape(number, steps, *a.shape[1:]).transpose(0, 1)  # (S, T/S, B, H, H)
    sides_b = b[:end].reshape(number, steps, *b.shape[1:]).transpose(0, 1).unsqueeze(-1)
    states = [h.new_empty(0, *h.shape)]
    if number:
        p, q = sides_a[0], sides_b[0]
        prefixes, offsets = [p], [q]
        for a_s, b_s in zip(sides_a[1:], sides_b[1:], strict=True):
            p, q = a_s @ p, a_s @ q + b_s
            prefixes.append(p)
            offsets.append(q)
        before = [h]
        for p_last, q_last in zip(p, q, strict=True):
            before.append((p_last @ before[-1].unsqueeze(-1) + q_last).squeeze(-1))
        h = before.pop()
        inside = torch.stack(prefixes) @ torch.stack(before).unsqueeze(-1) + torch.stack(offsets)
        states.append(inside.squeeze(-1).transpose(0, 1).flatten(0, 1))
    for a_t, b_t in zip(a[end:], b[end:], strict=True):  # what is left over
        h = (a_t @ h.unsqueeze(-1)).squeeze(-1) + b_t
        states.append(h.unsqueeze(0))
    return torch.cat(states)


def _matrices(inputs: Inputs, x: Tensor, kind: Kind) -> Tensor:
    """``a(x) M(x)`` as matrices, x (T, B) to (T, B, H, H)."""
    m = inputs.weight[x]
    if kind.transition == REFLECTIONS:
        m = product_of_reflections(m)
    return m if inputs.gate is None else inputs.gate[x][..., None, None] * m


def _segment_steps(inputs: Inputs) -> int:
    """The steps of a segment of time."""
    H = inputs.h0.shape[-1]
    return max(1, SEGMENT_BYTES // (inputs.tokens.shape[1] * H * H * inputs.h0.element_size()))
