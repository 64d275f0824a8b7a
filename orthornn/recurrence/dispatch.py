"""``h_t = s(W h_{t-1} + V x_t + c)``: the table of its implementations and the choice.

Every implementation has one signature, :data:`Recurrence`:
``(x, h0, w_hh, w_ih, bias, threshold, nonlinearity, batch_sizes) -> h`` with

    x (T, B, I), h0 (B, H), w_hh = W (H, H), w_ih = V (H, I), bias = c (H,) or None,
    threshold = modReLU's b (H,) or None, batch_sizes None, h (T, B, H),

all of one dtype; or packed, as in ``torch.nn.utils.rnn.PackedSequence``: x (N, I), h (N, H) and
batch_sizes (T,), the falling numbers of sequences at each step, N in all, B at the first.

A new implementation is one row of :data:`BACKENDS`, or of
:data:`orthornn.recurrence.engines.ENGINES` where it brings its own adjoint; :func:`choose` and
:func:`orthornn.recurrence.engines.fastest` are the only places that pick.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from orthornn._torch_internals import is_traced_or_transformed
from orthornn._validation import short_repr

from . import custom_op
from .autograd import by_hand
from .engines import ENGINES, fastest
from .reference import reference


class Recurrence(Protocol):
    """The signature of every implementation."""

    def __call__(
        self,
        x: Tensor,
        h0: Tensor,
        w_hh: Tensor,
        w_ih: Tensor,
        bias: Tensor | None,
        threshold: Tensor | None,
        nonlinearity: str,
        batch_sizes: Tensor | None = None,
        /,
    ) -> Tensor:
        """The states."""


BACKENDS: dict[str, Recurrence] = {
    "reference": reference,
    "operator": custom_op.recurrence,
    **{name: partial(by_hand, name=name) for name in ENGINES},
}


def check_backend(backend: str | None, nonlinearity: str = "identity") -> None:
    """Refuse what :func:`choose` does not know, or neither it nor this machine can run.

    Raises:
        ValueError: naming the choices, or what is missing.
    """
    if backend is None:
        return
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise ValueError(
            f"backend must be None or one of {sorted(BACKENDS)}, got {short_repr(backend)}"
        )
    if backend not in ENGINES:
        return
    engine = ENGINES[backend]
    if (reason := engine.missing() or engine.unfit((), nonlinearity, None)) is not None:
        raise ValueError(f"backend {backend!r} cannot run this: {reason}")


def choose(backend: str | None) -> Recurrence:
    """The implementation to run: the one named, or the fastest that fits where it runs (None).

    ``torch.compile`` gets the fastest one as a single operator; what looks inside gets the
    reference: ``torch.export`` (and ONNX), ``make_fx``, ``torch.jit.trace``, ``torch.func`` and
    forward-mode derivatives.

    Raises:
        ValueError: for an unknown name, or one that this machine cannot run.
    """
    check_backend(backend)
    if backend is not None:
        return BACKENDS[backend]
    if is_traced_or_transformed():
        return reference
    return custom_op.recurrence if torch.compiler.is_compiling() else by_hand


def backends() -> dict[str, str | None]:
    """The names that ``OrthoRNN(backend=...)`` takes, each with why it cannot run here, or None."""
    return {name: ENGINES[name].missing() if name in ENGINES else None for name in BACKENDS}


def runs(
    backend: str | None, inputs: Sequence[Tensor | None], nonlinearity: str, sizes: Tensor | None
) -> str:
    """The name of what runs ``(x, h0, w_hh, w_ih, bias, threshold)``, outside any compiler."""
    if backend is not None:
        return backend
    return "reference" if is_traced_or_transformed() else fastest(inputs, nonlinearity, sizes)
