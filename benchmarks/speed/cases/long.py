"""Long sequences: all states held, or a segment at a time; and a linear recurrence in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.sizes import Size
from benchmarks.speed.table import Action, Plan, Table
from orthornn import OrthoRNN, in_segments
from orthornn.recurrence import backends

from .passes import sizes

Make = Callable[[bool, Size, torch.device], Action]

LONG = (Size(10_000, 128, 10, 190),)
ALONE = (Size(1000, 1, 10, 190), Size(10_000, 1, 10, 190))
CLASSES = 10
WHOLE, SEGMENTS = "OrthoRNN modrelu, all states held", "OrthoRNN modrelu, in_segments"
LOOP = "OrthoRNN identity, eager"


def segment_tables(plan: Plan) -> Iterator[Table]:
    """A training step with a readout and the cross-entropy of every step of time."""
    return _tables(plan, _training, "training step")


def segment_memory_tables(plan: Plan) -> Iterator[Table]:
    """The same, of which the memory is measured."""
    return _tables(plan, _warm, "peak extra memory of a training step")


def linear_tables(plan: Plan) -> Iterator[Table]:
    """A training step of the linear recurrence by what runs it here."""
    names = [name for name in ("eager", "c", "scan", "triton") if backends()[name] is None]
    if plan.device.type == "cpu":
        names = [name for name in names if name != "triton"]
    for size in sizes(plan, ALONE):
        made = {
            f"OrthoRNN identity, {name}": partial(_linear, name, size, plan.device)
            for name in names
        }
        title = f"training step of a linear recurrence at {size}"
        yield Table(title, (LOOP,), made, frozenset(made))


def _tables(
    plan: Plan, make: Callable[[bool, Size, torch.device], Action], title: str
) -> Iterator[Table]:
    for size in sizes(plan, LONG):
        made = {
            WHOLE: partial(make, False, size, plan.device),
            SEGMENTS: partial(make, True, size, plan.device),
        }
        yield Table(
            f"{title} with a loss at every step of time at {size}", (WHOLE,), made, frozenset(made)
        )


def _training(segments: bool, size: Size, device: torch.device) -> Action:
    rnn = OrthoRNN(size.I, size.H, bias=False).to(device)
    readout = nn.Linear(size.H, CLASSES).to(device)
    x = torch.randn(size.T, size.B, size.I, device=device)
    target = torch.randint(CLASSES, (size.T, size.B), device=device)

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


def _warm(segments: bool, size: Size, device: torch.device) -> Action:
    backends()  # which tries them, at first use
    _training(segments, size._replace(T=min(2, size.T)), device)()
    return _training(segments, size, device)


def _linear(backend: str, size: Size, device: torch.device) -> Action:
    rnn = OrthoRNN(size.I, size.H, bias=False, nonlinearity="identity", backend=backend).to(device)
    x = torch.randn(size.T, size.B, size.I, device=device)

    def step() -> None:
        rnn.zero_grad()
        rnn(x)[0].sum().backward()

    return step
