"""``h_t = s(W h_{t-1} + V x_t + c)``: the table of its implementations and the choice.

Every implementation has one signature, :data:`Recurrence`:
``(x, h0, w_hh, w_ih, bias, threshold, nonlinearity, batch_sizes) -> h`` with

    x (T, B, I), h0 (B, H), w_hh = W (H, H), w_ih = V (H, I), bias = c (H,) or None,
    threshold = modReLU's b (H,) or None, batch_sizes None, h (T, B, H),

all of one dtype; or packed, as in ``torch.nn.utils.rnn.PackedSequence``: x (N, I), h (N, H) and
batch_sizes (T,), the falling numbers of sequences at each step, N in all, B at the first.

A new implementation is one row of :data:`BACKENDS`; :func:`choose` is the only place that picks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from . import operator
from .fused import fused
from .reference import reference

Recurrence = Callable[..., Tensor]

BACKENDS: dict[str, Recurrence] = {
    "reference": reference,
    "fused": fused,
    "operator": operator.recurrence,
}


def choose(backend: str | None) -> Recurrence:
    """The implementation to run: the one named, or the fastest that fits where it runs (None).

    ``torch.compile`` gets the fused one as a single operator; what looks inside gets the reference:
    ``torch.export`` (and ONNX), ``make_fx``, ``torch.jit.trace``, ``torch.func`` and forward-mode
    derivatives.

    Raises:
        ValueError: for an unknown name.
    """
    if backend is None:
        if _looked_into():
            return reference
        return operator.recurrence if torch.compiler.is_compiling() else fused
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise ValueError(f"backend must be None or one of {sorted(BACKENDS)}, got {backend!r}")
    return BACKENDS[backend]


def _looked_into() -> bool:
    """Whether somebody needs every operation of the recurrence to be one of torch's own."""
    if torch.compiler.is_exporting() or torch._C._are_functorch_transforms_active():
        return True
    if torch.compiler.is_compiling():
        return False
    return (
        forward_ad._current_level >= 0 or get_proxy_mode() is not None or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )
