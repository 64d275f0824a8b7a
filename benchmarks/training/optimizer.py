"""The optimizer of a run, and the factor by which its step sizes change over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt
from torch import nn
from torch.optim import Optimizer

from benchmarks.config.errors import ConfigError, check
from benchmarks.models import orthogonal_parameters
from orthornn import param_groups
from orthornn.manifolds.checks import is_point
from orthornn.optim.validation import ADAPTIVITIES, ON_NONFINITE

MOST = 1e30  # a larger step is none in float32

Share = Annotated[float, Field(ge=0, lt=1)]
_SHARE = (Share, "a number >= 0 and < 1")
_SWITCH = (bool, "true or false")
_OFF = (Literal[False], "false: it is for graphs on a GPU and derivatives of a training")
# the options of our optimizers and torch's: a type for pydantic, and what was expected in words
OPTIONS: dict[str, tuple[Any, str]] = {
    "momentum": _SHARE,
    "dampening": (Annotated[float, Field(ge=0, le=1)], "a number from 0 to 1"),
    "alpha": _SHARE,
    "betas": (
        Annotated[list[Share], Field(min_length=2, max_length=2)],
        "two numbers, each >= 0 and < 1",
    ),
    "eps": (Annotated[float, Field(gt=0, le=1)], "a number > 0 and <= 1"),
    "weight_decay": (Annotated[float, Field(ge=0, le=1000)], "a number from 0 to 1000"),
    "rows": (
        Annotated[int, Field(ge=2)] | Annotated[float, Field(gt=0, le=1)] | None,
        "a share in (0, 1], a number >= 2 or null",
    ),
    "seed": (NonNegativeInt, "an integer >= 0"),
    "adaptivity": (Literal[ADAPTIVITIES], "one of ['elementwise', 'scalar', null]"),
    "on_nonfinite": (Literal[ON_NONFINITE], f"one of {list(ON_NONFINITE)}"),
    **dict.fromkeys(
        ("nesterov", "centered", "amsgrad", "maximize", "decoupled_weight_decay"), _SWITCH
    ),
    **dict.fromkeys(("foreach", "fused"), (bool | None, "true, false or null")),
    **dict.fromkeys(("capturable", "differentiable"), _OFF),
}
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
        ConfigError: if an option of the algorithm is out of its range, or finds nothing to move.
    """
    check_options(model, algorithm)
    rates = [("lr", lr, "> 0"), ("lr_ortho", lr_ortho, ">= 0")]
    rates += [("lr_modrelu", lr_modrelu, ">= 0")] if lr_modrelu is not None else []
    for name, value, least in rates:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number {least}, got {value!r}")
        if not 0 <= value <= MOST or (value == 0 and name == "lr"):
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


def check_options(model: nn.Module, algorithm: Any) -> None:
    """See that each option of one of our optimizers, or of torch's, is in its range.

    Args:
        model: what is to be moved.
        algorithm: the optimizer's class with its options, but for the parameters; what a class of
            somebody else takes is for that class to say.

    Raises:
        ConfigError: for an option out of its range, or one of points where the model has none.
    """
    if not callable(algorithm):
        raise ConfigError(f"optimizer.algorithm must be a group of keys, got {algorithm!r}")
    given = algorithm.keywords if isinstance(algorithm, partial) else {}
    maker = algorithm.func if isinstance(algorithm, partial) else algorithm
    if getattr(maker, "__module__", "").partition(".")[0] not in ("orthornn", "torch"):
        return
    for name in sorted(OPTIONS.keys() & given.keys()):
        value = given[name]
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        check(f"optimizer.algorithm.{name}", list(value) if listed else value, *OPTIONS[name])
        if name in OF_POINTS and value is not None and not any(map(is_point, model.parameters())):
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
