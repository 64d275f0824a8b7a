"""What a model remembers of a batch: carried to the next one, saved, split over processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .distributed import Processes

RecurrentState = Tensor | tuple[Tensor, ...] | None


def detached(memory: RecurrentState) -> RecurrentState:
    """The same without a gradient."""
    return _each(memory, Tensor.detach)


def on_cpu(memory: RecurrentState) -> RecurrentState:
    """The same on the CPU."""
    return _each(memory, Tensor.cpu)


def own_columns(memory: RecurrentState, processes: Processes) -> RecurrentState:
    """A process's share of what was remembered of a whole batch, ``(layers, B, H)`` each."""
    rank, size, device = processes.rank, processes.size, processes.device
    return _each(memory, lambda part: part.tensor_split(size, 1)[rank].to(device))


def beside_each_other(memories: list[RecurrentState]) -> RecurrentState:
    """What all processes remember, as of one batch."""
    if memories[0] is None or isinstance(memories[0], Tensor):
        return None if memories[0] is None else torch.cat(memories, 1)  # type: ignore[arg-type]
    return tuple(torch.cat(parts, 1) for parts in zip(*memories, strict=True))


def _each(memory: RecurrentState, change: Callable[[Tensor], Tensor]) -> RecurrentState:
    if isinstance(memory, tuple):
        return tuple(map(change, memory))
    return memory if memory is None else change(memory)
