"""Long sequences: all states held, or a segment at a time; and a linear recurrence in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.sizes import Size
from benchmarks.speed.table import Action, SpeedPlan, SpeedTable
from orthornn import OrthoRNN, backends, in_segments

from .layer_passes import chosen_sizes

LONG_SIZES = (Size(10_000, 128, 10, 190),)
SINGLE_SEQUENCE_SIZES = (Size(1000, 1, 10, 190), Size(10_000, 1, 10, 190))
READOUT_CLASSES = 10
WHOLE_LAYER, SEGMENTED_LAYER = "OrthoRNN modrelu, all states held", "OrthoRNN modrelu, in_segments"
LINEAR_REFERENCE = "OrthoRNN identity, eager"


def segment_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """A training step with a readout and the cross-entropy of every step of time."""
    return _tables(plan, _training_step, "training step")


def segment_memory_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """The same, of which the memory is measured."""
    return _tables(plan, _warm_training_step, "peak extra memory of a training step")


def linear_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """A training step of the linear recurrence by what runs it here."""
    names = [name for name in ("eager", "c", "scan", "triton") if backends()[name] is None]
    if plan.device.type == "cpu":
        names = [name for name in names if name != "triton"]
    for size in chosen_sizes(plan, SINGLE_SEQUENCE_SIZES):
        made = {
            f"OrthoRNN identity, {name}": partial(_linear_training_step, name, size, plan.device)
            for name in names
        }
        title = f"training step of a linear recurrence at {size}"
        yield SpeedTable(title, (LINEAR_REFERENCE,), made, frozenset(made))


def _tables(
    plan: SpeedPlan, make: Callable[[bool, Size, torch.device], Action], title: str
) -> Iterator[SpeedTable]:
    for size in chosen_sizes(plan, LONG_SIZES):
        made = {
            WHOLE_LAYER: partial(make, False, size, plan.device),
            SEGMENTED_LAYER: partial(make, True, size, plan.device),
        }
        yield SpeedTable(
            f"{title} with a loss at every step of time at {size}",
            (WHOLE_LAYER,),
            made,
            frozenset(made),
        )


def _training_step(segments: bool, size: Size, device: torch.device) -> Action:
    rnn = OrthoRNN(size.I, size.H, bias=False).to(device)
    readout = nn.Linear(size.H, READOUT_CLASSES).to(device)
    x = torch.randn(size.T, size.B, size.I, device=device)
    target = torch.randint(READOUT_CLASSES, (size.T, size.B), device=device)

    def losses(h: Tensor, y: Tensor) -> Tensor:
        answer = readout(h).flatten(0, 1)
        return nn.functional.cross_entropy(answer, y.flatten(), reduction="none").view_as(y)

    def step() -> None:
        rnn.zero_grad()
        readout.zero_grad()
        if segments:
            loss: Any = in_segments(rnn, x, read=losses, along=[target])[0]
        else:
            loss = losses(rnn(x)[0], target)
        loss.mean().backward()

    return step


def _warm_training_step(segments: bool, size: Size, device: torch.device) -> Action:
    backends()  # which tries them, at first use
    _training_step(segments, size._replace(T=min(2, size.T)), device)()
    return _training_step(segments, size, device)


def _linear_training_step(backend: str, size: Size, device: torch.device) -> Action:
    rnn = OrthoRNN(size.I, size.H, bias=False, nonlinearity="identity", backend=backend).to(device)
    x = torch.randn(size.T, size.B, size.I, device=device)

    def step() -> None:
        rnn.zero_grad()
        rnn(x)[0].sum().backward()

    return step
