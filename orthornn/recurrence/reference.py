"""The recurrence ``h_t = s(W h_{t-1} + V x_t + c)`` as a loop under autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .nonlinearity import NONLINEARITIES


def recurrence_step(
    z: Tensor, h: Tensor, w_hh: Tensor, threshold: Tensor | None, nonlinearity: str
) -> Tensor:
    """One step ``s(W h + z)`` under autograd; ``z`` and ``h`` of shape ``(B, H)``."""
    z = torch.nn.functional.linear(h, w_hh) + z
    s = NONLINEARITIES[nonlinearity]
    return s.apply(z) if threshold is None else s.apply(z, threshold)


def reference(
    x: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    w_ih: Tensor,
    bias: Tensor | None,
    threshold: Tensor | None,
    nonlinearity: str,
    batch_sizes: Tensor | None = None,
) -> Tensor:
    """The recurrence in plain operations, for every transform and compiler that looks inside.

    Arguments as in :mod:`orthornn.recurrence`. Differentiable any number of times, backward and
    forward.
    """
    h, states = h0, []
    z = torch.nn.functional.linear(x, w_ih, bias)
    # split at once: z[t] would cost O(T²) in the backward pass
    steps = z.unbind(0) if batch_sizes is None else torch.split(z, batch_sizes.tolist())
    for z_t in steps:
        rows = h if batch_sizes is None else h[: len(z_t)]
        h = recurrence_step(z_t, rows, w_hh, threshold, nonlinearity)
        states.append(h)
    return torch.stack(states) if batch_sizes is None else torch.cat(states)


def see_through(
    grad: Tensor,
    inputs: Sequence[Tensor | None],
    nonlinearity: str,
    batch_sizes: Tensor | None,
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients as differentiable functions, of the reference: ``create_graph``, vmap."""
    wanted = [i for i, asked in enumerate(needed) if asked]

    def states(*given: Tensor) -> Tensor:
        full = list(inputs)
        for i, a in zip(wanted, given, strict=True):
            full[i] = a
        return reference(*full, nonlinearity, batch_sizes)  # type: ignore[arg-type, call-arg]

    pull = torch.func.vjp(states, *(inputs[i] for i in wanted))[1]
    found = dict(zip(wanted, pull(grad), strict=True))
    return [found.get(i) for i in range(len(inputs))]
