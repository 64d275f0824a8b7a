"""The training loop: a generator of plain records that knows no task and no model by name."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Generator, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from orthornn import param_groups
from orthornn.diagnostics import orthogonality_error

from .tasks.task import Task

Record = dict[str, float]

OF_EVERY_TASK = ("step", "loss", "gradient_norm", "orthogonality_error", "seconds")
EVALUATION = "evaluation_"


@dataclass(frozen=True, config={"extra": "forbid", "strict": True})
class Settings:
    """How long and on how much to train.

    Args:
        steps: optimizer steps; every step sees fresh data.
        batch_size: sequences in a step.
        clip: largest gradient norm over all parameters; None leaves the gradient as it is.
        decay: the last share of the steps over which the learning rates fall linearly to 0.
        evaluate_every: steps between evaluations; the last step is always evaluated.
        evaluation_batches: batches of the fixed evaluation set.
        save_every: steps between checkpoints; the last step is always saved.
    """

    steps: PositiveInt
    batch_size: PositiveInt
    clip: PositiveFloat | None = None
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    evaluate_every: PositiveInt = 100
    evaluation_batches: PositiveInt = 4
    save_every: PositiveInt = 100


class TrainingDiverged(ArithmeticError):
    """The loss or its gradient is not finite, so the run cannot go on."""


@plain_dataclass
class State:
    """Everything that a run carries from step to step."""

    model: nn.Module
    optimizer: Optimizer
    schedule: LambdaLR
    generator: Generator
    step: int = 0
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors, loadable with ``torch.load(weights_only=True)``."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "global_generator": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Return to the moment of :meth:`state_dict`; the next step repeats bit for bit."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.generator.set_state(saved["generator"])
        torch.set_rng_state(saved["global_generator"])
        self.step, self.seconds = saved["step"], saved["seconds"]


def make_optimizer(model: nn.Module, algorithm: Any, lr: float, lr_ortho: float) -> Optimizer:
    """One optimizer for the whole model: ``lr`` for plain parameters, ``lr_ortho`` for points.

    With ``lr_ortho = 0`` the points stay where they are, bit for bit.

    Raises:
        ValueError: if a learning rate is not finite, negative, or ``lr`` 0.
    """
    for name, value, least in (("lr", lr, "> 0"), ("lr_ortho", lr_ortho, ">= 0")):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number {least}, got {value!r}")
        if not 0 <= value < math.inf or (value == 0 and name == "lr"):
            raise ValueError(f"{name} must be a finite number {least}, got {value}")
    optimizer: Optimizer = algorithm(param_groups(model, lr=lr, lr_ortho=lr_ortho))
    return optimizer


def stream(seed: int, purpose: str) -> Generator:
    """A generator whose numbers depend on the seed and on what they are for, and on nothing else.

    Training, initialisation and evaluation draw from streams of their own.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def start(
    model: nn.Module, optimizer: Optimizer, settings: Settings, generator: Generator
) -> State:
    """The state of a run before its first step."""
    falling = max(1, round(settings.decay * settings.steps))

    def factor(step: int) -> float:
        return min(1.0, (settings.steps - step) / falling) if settings.decay else 1.0

    return State(model, optimizer, LambdaLR(optimizer, factor), generator)


def fit(state: State, task: Task, settings: Settings, evaluation_seed: int = 0) -> Iterator[Record]:
    """Train until ``settings.steps``, yielding one record per step.

    A record holds ``step``, ``loss`` and the task's metrics on the step's fresh batch before the
    update, ``gradient_norm`` (before clipping), ``orthogonality_error`` if the model has manifold
    parameters, ``seconds`` of training so far, and on some steps ``evaluation_*``.

    Raises:
        TrainingDiverged: at the first loss or gradient norm that is not finite, the model being
            as before that step, or if a point cannot be moved by its step.
    """
    while state.step < settings.steps:
        began = time.monotonic()
        state.model.train()
        batch = task.draw(settings.batch_size, state.generator)
        state.optimizer.zero_grad()
        output = state.model(batch.input)
        loss = task.loss(output, batch.target)
        record: Record = {"step": state.step + 1, "loss": loss.item()}
        if not math.isfinite(record["loss"]):
            raise TrainingDiverged(f"the loss is {record['loss']} at step {state.step + 1}")
        record |= task.metrics(output.detach(), batch.target)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for p in state.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        record["gradient_norm"] = norm.item()
        if not math.isfinite(record["gradient_norm"]):
            raise TrainingDiverged(
                f"the gradient norm is {record['gradient_norm']} at step {state.step + 1}"
            )
        if settings.clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, settings.clip, norm)
        try:
            state.optimizer.step()
        except FloatingPointError as error:
            raise TrainingDiverged(f"{error} (step {state.step + 1})") from error
        state.schedule.step()
        state.step += 1
        state.seconds += time.monotonic() - began

        drift = orthogonality_error(state.model)
        if drift is not None:
            record["orthogonality_error"] = drift
        if state.step % settings.evaluate_every == 0 or state.step == settings.steps:
            record |= evaluate(state.model, task, settings, evaluation_seed)
        record["seconds"] = round(state.seconds, 3)
        yield record


@torch.no_grad()
def evaluate(model: nn.Module, task: Task, settings: Settings, seed: int) -> Record:
    """Mean loss and metrics over the evaluation set, which is the same at every call."""
    model.eval()
    generator = stream(seed, "evaluation")
    total: Record = {}
    for _ in range(settings.evaluation_batches):
        batch = task.draw(settings.batch_size, generator)
        output = model(batch.input)
        scores = {"loss": task.loss(output, batch.target).item()}
        for name, value in (scores | task.metrics(output, batch.target)).items():
            total[name] = total.get(name, 0.0) + value
    batches = settings.evaluation_batches
    return {f"{EVALUATION}{name}": value / batches for name, value in total.items()}


def task_metrics(record: Record) -> Record:
    """What the task itself scored on a step's batch: the rest is of every task."""
    return {
        name: value
        for name, value in record.items()
        if name not in OF_EVERY_TASK and not name.startswith(EVALUATION)
    }


def evaluation_scores(record: Record) -> Record:
    """The loss and metrics of the evaluation in a record, by their plain names."""
    return {
        name.removeprefix(EVALUATION): value
        for name, value in record.items()
        if name.startswith(EVALUATION)
    }
