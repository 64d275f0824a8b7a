"""Small switched recurrences that machine code has to run as torch does: dense and packed."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from orthornn.recurrence.self_test import spread_numbers

from .inputs import MATRIX, REFLECTIONS, Inputs, Kind

T, B, V, K = 5, 19, 7, 3
WIDTHS = (3, 8, 37)  # each with code of its own
BATCH_SIZES = (19, 19, 11, 3)  # of packed rows


def problems(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[Inputs, Kind]]:
    """Of matrices, gated and shifted; of reflections and, packed, of both without a gate."""
    tokens = torch.arange(T * B, device="cpu").mul(11).remainder(V).view(T, B).to(device)
    packed = tokens.flatten()[: sum(BATCH_SIZES)]
    batch_sizes = torch.tensor(BATCH_SIZES, device="cpu")
    for H in WIDTHS:
        shapes = [(B, H), (V, H, H), (V, K, H), (V,), (V, H)]
        h0, w, v, a, b = (spread_numbers(shape, k) for k, shape in enumerate(shapes))
        v = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        a = a.masked_fill(a.abs() < 0.5, 0)  # some gates are shut
        tensors = (h0, torch.linalg.qr(w)[0], v, a, b)
        h0, w, v, a, b = (tensor.to(device, dtype) for tensor in tensors)
        yield Inputs(tokens, h0, w, a, b), Kind(MATRIX)
        yield Inputs(tokens, h0, v, a, b), Kind(REFLECTIONS)
        yield Inputs(packed, h0, w), Kind(MATRIX, batch_sizes)
        yield Inputs(packed, h0, v), Kind(REFLECTIONS, batch_sizes)
