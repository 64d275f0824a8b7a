"""The engines: pairs of a forward pass and its adjoint by hand, and which one runs where.

Both passes of every engine have the meaning of ``run_forward`` and ``run_backward`` in
:mod:`orthornn.recurrence.fused`, and any adjoint takes the states of any forward pass. A new engine
is one row of :data:`ENGINES`, fastest first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from orthornn._torch_internals import dispatch_mode_active, is_ordinary_tensor

from . import fused, scan
from .cpu import engine as cpu
from .self_test import trial
from .triton import engine as gpu

Tensors = Sequence[Tensor | None]


class Engine(NamedTuple):
    """One way to run the recurrence and its adjoint."""

    forward: Callable[..., Tensor]
    backward: Callable[..., list[Tensor | None]]
    missing: Callable[[], str | None]
    """Why this machine cannot run it; None if it can."""
    unfit: Callable[[Tensors, str, Tensor | None], str | None]
    """Why it does not take these tensors, nonlinearity and batch sizes; None if it does. To be
    asked where nothing is missing; without tensors it speaks of the nonlinearity alone."""
    pays: Callable[[Tensors, str, Tensor | None], bool]
    """Whether it is faster for ``(x, h0, w_hh, ...)``, nonlinearity and batch sizes than the rows
    that follow."""


@functools.cache
def _missing_triton() -> str | None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return gpu.available() or trial(gpu.run_forward, gpu.run_backward, device)


def _unfit_triton(tensors: Tensors, nonlinearity: str, batch_sizes: Tensor | None) -> str | None:
    if not all(a is None or is_ordinary_tensor(a) for a in tensors) or dispatch_mode_active():
        return "it takes plain tensors, which no mode of torch watches"
    given = [a for a in tensors[:2] if a is not None]
    return gpu.fits(given[0], given[1], nonlinearity) if given else None


def _pays_triton(tensors: Tensors, nonlinearity: str, batch_sizes: Tensor | None) -> bool:
    """On a GPU, while W stays on the chip."""
    x, h0 = tensors[:2]
    if x is None or h0 is None or not x.is_cuda:
        return False
    return h0.shape[-1] <= (192 if x.dtype == torch.float32 else 128)


def _always(*_: object) -> bool:
    return True


def _nothing(*_: object) -> None:
    return None


ENGINES: dict[str, Engine] = {
    "scan": Engine(scan.run_forward, scan.run_backward, _nothing, scan.unfit, scan.pays),
    "triton": Engine(
        gpu.run_forward, gpu.run_backward, _missing_triton, _unfit_triton, _pays_triton
    ),
    "compiled": Engine(cpu.run_forward, cpu.run_backward, cpu.missing, cpu.unfit, cpu.pays),
    "fused": Engine(fused.run_forward, fused.run_backward, _nothing, _nothing, _always),
}


def fastest(inputs: Tensors, nonlinearity: str, batch_sizes: Tensor | None) -> str:
    """The name of the first engine that pays, runs on this machine and takes these tensors."""
    return next(
        name
        for name, engine in ENGINES.items()
        if engine.pays(inputs, nonlinearity, batch_sizes)
        and engine.missing() is None
        and engine.unfit(inputs, nonlinearity, batch_sizes) is None
    )
