"""The optimizer of a run, and the factor by which its step sizes change over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from orthornn import param_groups

from .models import slow_parameters

MOST = 1e30  # a larger step is none in float32


def make_optimizer(model: nn.Module, algorithm: Any, lr: float, lr_ortho: float) -> Optimizer:
    """One optimizer for the whole model: ``lr`` for plain parameters, ``lr_ortho`` for recurrence.

    ``lr_ortho`` moves what the methods of orthogonal recurrence set apart: points of a manifold,
    the parameters behind a parametrized recurrent weight, and a recurrent weight under a penalty
    or left free from an orthogonal start. With ``lr_ortho = 0`` they stay, bit for bit.

    Raises:
        ValueError: if a learning rate is not finite, negative, or ``lr`` 0.
    """
    for name, value, least in (("lr", lr, "> 0"), ("lr_ortho", lr_ortho, ">= 0")):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number {least}, got {value!r}")
        if not 0 <= value <= MOST or (value == 0 and name == "lr"):
            raise ValueError(f"{name} must be a finite number {least}, got {value}")
    groups = []
    slow = {id(p) for p in slow_parameters(model)}
    for group in param_groups(model, lr=lr, lr_ortho=lr_ortho):
        plain = [p for p in group["params"] if id(p) not in slow]
        apart = [p for p in group["params"] if id(p) in slow]
        groups += [{**group, "params": plain}] if plain else []
        groups += [{**group, "params": apart, "lr": lr_ortho}] if apart else []
    optimizer: Optimizer = algorithm(groups)
    return optimizer


@dataclass(eq=False)
class StepSizeFactor:
    """What multiplies the learning rates at each step: a rise, a plateau, a fall, halvings.

    ``½^halvings · min((t + 1) / warmup, (steps - t) / (decay · steps), 1)`` at step t, from 0; for
    ``torch.optim.lr_scheduler.LambdaLR``, whose state keeps it.

    Args:
        steps: optimizer steps in the run.
        warmup: steps over which the factor rises linearly to 1.
        decay: the last share of the steps over which it falls linearly to 0.
        halvings: how often the rates were halved so far.
    """

    steps: int
    warmup: int
    decay: float
    halvings: int = 0

    def __call__(self, step: int) -> float:
        rise = (step + 1) / self.warmup if step < self.warmup else 1.0
        falling = max(1, round(self.decay * self.steps))
        fall = min(1.0, (self.steps - step) / falling) if self.decay else 1.0
        return float(min(rise, fall) * 0.5**self.halvings)
