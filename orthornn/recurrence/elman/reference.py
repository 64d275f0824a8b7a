"""The recurrence ``h_t = s(W h_{t-1} + V x_t + c)`` as a loop under autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from .inputs import Inputs, Kind
from .nonlinearity import NONLINEARITIES


def recurrence_step(
    z: Tensor, h: Tensor, w_hh: Tensor, modrelu_bias: Tensor | None, nonlinearity: str
) -> Tensor:
    """One step ``s(W h + z)`` under autograd; ``z`` and ``h`` of shape ``(B, H)``."""
    z = torch.nn.functional.linear(h, w_hh) + z
    s = NONLINEARITIES[nonlinearity]
    return s.apply(z) if modrelu_bias is None else s.apply(z, modrelu_bias)


def reference(inputs: Inputs, kind: Kind) -> Tensor:
    """The states in plain operations, for every transform and compiler that looks inside.

    Differentiable any number of times, backward and forward.
    """
    sizes = kind.batch_sizes
    h, states = inputs.h0, []
    z = torch.nn.functional.linear(inputs.x, inputs.w_ih, inputs.bias)
    # split at once: z[t] would cost O(T²) in the backward pass
    steps = z.unbind(0) if sizes is None else torch.split(z, sizes.tolist())
    for z_t in steps:
        rows = h if sizes is None else h[: len(z_t)]
        h = recurrence_step(z_t, rows, inputs.w_hh, inputs.modrelu_bias, kind.nonlinearity)
        states.append(h)
    return torch.stack(states) if sizes is None else torch.cat(states)
