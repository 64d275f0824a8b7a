"""Small recurrences that machine code has to run as torch does: dense and packed."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from orthornn.recurrence.self_test import spread_numbers

from .inputs import Inputs, Kind

T, B, I = 5, 19, 2
WIDTHS = (77, 37)  # each with code of its own; no whole number of vectors or tiles, as B is none
BATCH_SIZES = (19, 19, 11, 3)  # of packed rows


def problems(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[Inputs, Kind]]:
    """Of modReLU and, packed, of tanh; no pre-activation lies near modReLU's threshold."""
    for H in WIDTHS:
        shapes = [(T, B, I), (B, H), (H, H), (H, I), (H,), (H,)]
        x, h0, w, v, c, b = (spread_numbers(shape, k) for k, shape in enumerate(shapes))
        tensors = (x, h0, torch.linalg.qr(w)[0], v, c, -b.abs() / 2)
        inputs = Inputs(*(a.to(device, dtype) for a in tensors))
        yield inputs, Kind("modrelu")
        packed = inputs.x.flatten(0, 1)[: sum(BATCH_SIZES)]
        batch_sizes = torch.tensor(BATCH_SIZES, device="cpu")
        yield inputs._replace(x=packed, modrelu_bias=None), Kind("tanh", batch_sizes)
