"""The engines: pairs of a forward pass and its adjoint by hand, and which one runs where.

Both passes of every engine have the meaning of ``run_forward`` and ``run_backward`` in
:mod:`orthornn.fused`, and any adjoint takes the states of any forward pass. A new engine is one row
of :data:`ENGINES`, fastest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from . import fused, scan
from .kernels import cpu

Tensors = Sequence[Tensor | None]


class Engine(NamedTuple):
    """One way to run the recurrence and its adjoint."""

    forward: Callable[..., Tensor]
    backward: Callable[..., list[Tensor | None]]
    missing: Callable[[], str | None]
    """Why this machine cannot run it; None if it can."""
    unfit: Callable[[Tensors, str, Tensor | None], str | None]
    """Why it does not take these tensors, nonlinearity and batch sizes; None if it does."""
    pays: Callable[[Tensors, str, Tensor | None], bool]
    """Whether it is faster for ``(x, h0, w_hh, ...)``, nonlinearity and batch sizes than the rows
    that follow."""


def _always(*_: object) -> bool:
    return True


def _nothing(*_: object) -> None:
    return None


ENGINES: dict[str, Engine] = {
    "scan": Engine(scan.run_forward, scan.run_backward, _nothing, scan.unfit, scan.pays),
    "compiled": Engine(cpu.run_forward, cpu.run_backward, cpu.missing, cpu.unfit, cpu.pays),
    "fused": Engine(fused.run_forward, fused.run_backward, _nothing, _nothing, _always),
}


def fastest(inputs: Tensors, nonlinearity: str, batch_sizes: Tensor | None) -> str:
    """The name of the first engine that pays, takes these tensors and runs on this machine."""
    return next(
        name
        for name, engine in ENGINES.items()
        if engine.pays(inputs, nonlinearity, batch_sizes)
        and engine.unfit(inputs, nonlinearity, batch_sizes) is None
        and engine.missing() is None
    )
