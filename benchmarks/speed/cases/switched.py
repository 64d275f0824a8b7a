"""A matrix for each token: SwitchedOrthoRNN by what runs it, beside a loop of torch and an LSTM."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from benchmarks.speed.sizes import Size
from benchmarks.speed.table import Action, SpeedPlan, SpeedTable
from orthornn import SwitchedOrthoRNN
from orthornn.recurrence import SWITCHED

from .layer_passes import chosen_sizes

SIZES = (Size(1024, 16, 120, 8), Size(1024, 16, 120, 64))  # I is the number of tokens
LOOP, LOOP_NAME = "autograd", "SwitchedOrthoRNN, autograd loop"
LSTM_INPUTS, LSTM_HIDDEN = 8, 42  # about the parameters of 120 matrices of 8 x 8
LSTM = f"nn.LSTM({LSTM_INPUTS}, {LSTM_HIDDEN})"
REFLECTIONS = 3


def matrix_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """Forward and backward over random tokens, an orthogonal matrix for each."""
    return _tables(plan, None, "an orthogonal matrix")


def reflection_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """The same of products of reflections."""
    return _tables(plan, REFLECTIONS, f"{REFLECTIONS} reflections")


def available_backends(device: torch.device) -> list[str]:
    """Those that bring an adjoint and run here, after the loop."""
    return [
        LOOP,
        *(
            name
            for name in reversed(SWITCHED.backends)
            if SWITCHED.unavailable(name) is None and (name != "c" or device.type == "cpu")
        ),
    ]


def training_step(backend: str, k: int | None, size: Size, device: torch.device) -> Action:
    """One training step: the gradients of the sum of all states."""
    rnn = SwitchedOrthoRNN(size.I, size.H, reflections=k, backend=backend).to(device)
    return _step(rnn, torch.randint(size.I, (size.T, size.B), device=device))


def lstm_training_step(size: Size, device: torch.device) -> Action:
    """The same of an LSTM over as many steps and sequences, whatever the size of the state."""
    x = torch.randn(size.T, size.B, LSTM_INPUTS, device=device)
    return _step(nn.LSTM(LSTM_INPUTS, LSTM_HIDDEN).to(device), x)


def _tables(plan: SpeedPlan, k: int | None, what: str) -> Iterator[SpeedTable]:
    for size in chosen_sizes(plan, SIZES):
        own = {
            LOOP_NAME if name == LOOP else f"SwitchedOrthoRNN, {name}": partial(
                training_step, name, k, size, plan.device
            )
            for name in available_backends(plan.device)
        }
        yield SpeedTable(
            f"training step with {what} for each of I tokens at {size}",
            (LOOP_NAME,),
            {**own, LSTM: partial(lstm_training_step, size, plan.device)},
            frozenset(own),
        )


def _step(layer: nn.Module, x: torch.Tensor) -> Action:
    def step() -> None:
        layer.zero_grad()
        layer(x)[0].sum().backward()

    return step
