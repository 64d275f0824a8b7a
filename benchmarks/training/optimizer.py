"""The optimizer of a run, and the factor by which its step sizes change over time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from benchmarks.config.errors import ConfigError
from benchmarks.models import orthogonal_parameters
from benchmarks.models.checks import MAX_MAGNITUDE
from orthornn import param_groups
from orthornn.manifolds.checks import is_point

OF_POINTS = ("rows", "adaptivity")


def make_optimizer(
    model: nn.Module, algorithm: Any, lr: float, lr_ortho: float, lr_modrelu: float | None = None
) -> Optimizer:
    """One optimizer for the whole model: ``lr`` for plain parameters, ``lr_ortho`` for recurrence.

    ``lr_ortho`` moves what the methods of orthogonal recurrence set apart: points of a manifold,
    the parameters behind a parametrized recurrent weight, and a recurrent weight under a penalty
    or left free from an orthogonal start. ``lr_modrelu`` moves the biases of modReLU; if None they
    are plain. With a rate of 0 they stay, bit for bit.

    Raises:
        ValueError: if a learning rate is not finite, negative, or ``lr`` 0.
        ConfigError: if an option of the algorithm finds nothing to move.
    """
    _check_point_options(model, algorithm)
    rates = [("lr", lr, "> 0"), ("lr_ortho", lr_ortho, ">= 0")]
    rates += [("lr_modrelu", lr_modrelu, ">= 0")] if lr_modrelu is not None else []
    for name, value, least in rates:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number {least}, got {value!r}")
        if not 0 <= value <= MAX_MAGNITUDE or (value == 0 and name == "lr"):
            raise ValueError(f"{name} must be a finite number {least}, got {value}")
    groups = []
    slow = {id(p) for p in orthogonal_parameters(model)}
    for group in param_groups(model, lr=lr, lr_ortho=lr_ortho, lr_modrelu=lr_modrelu):
        plain = [p for p in group["params"] if id(p) not in slow]
        apart = [p for p in group["params"] if id(p) in slow]
        groups += [{**group, "params": plain}] if plain else []
        groups += [{**group, "params": apart, "lr": lr_ortho}] if apart else []
    optimizer: Optimizer = algorithm(groups)
    return optimizer


def _check_point_options(model: nn.Module, algorithm: Any) -> None:
    """See that there is a point where an option is of points.

    Raises:
        ConfigError: if the model has none, or the algorithm is nothing that can be called.
    """
    if not callable(algorithm):
        raise ConfigError(f"optimizer.algorithm must be a group of keys, got {algorithm!r}")
    options = algorithm.keywords if isinstance(algorithm, partial) else {}
    for name in OF_POINTS:
        value = options.get(name)
        if value is not None and not any(map(is_point, model.parameters())):
            raise ConfigError(
                f"optimizer.algorithm.{name} must be null for a model without a weight on a "
                f"manifold, which it would be for, got {value!r}"
            )


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
