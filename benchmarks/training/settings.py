"""How long, on how much and with which schedule to train: checked, and fitted to a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from benchmarks.tasks.task import Task

MAX_EPOCHS = 1e6
MAX_CHECKPOINTS = 1000
DEFAULT_EVALUATION_STEPS = 100  # steps between evaluations where the data has no epochs


@dataclass(frozen=True, config={"extra": "forbid", "strict": True})
class TrainSettings:
    """How long and on how much to train.

    Args:
        batch_size: sequences in a step, or columns of a text.
        steps: optimizer steps; None if ``epochs`` are given.
        epochs: passes over the training data, for tasks that have an end of it.
        clip_grad_norm: largest gradient norm over all parameters; None leaves it as it is.
        warmup: steps over which the learning rates rise linearly from 0.
        decay_fraction: the last share of the steps over which learning rates fall linearly to 0.
        patience: evaluations without a new best after which the learning rates are halved; None
            never halves them.
        evaluate_every: steps between evaluations, the last step always being one; None for once
            an epoch, or every 100 steps where there are no epochs.
        evaluation_batches: batches of a held-out set; None for all of them.
        checkpoint_every: steps between checkpoints; the last step is always saved.
        checkpoint_minutes: minutes after which a checkpoint is written all the same; None for
            never.
        keep_checkpoints: how many checkpoints are kept, for when the newest is damaged.
        max_nonfinite_batches: batches whose loss or gradient is not finite that are passed over,
            without an update; one more ends the run.
        gradient_flow_every: steps between measurements of gradients through time and spectra;
            None for never.

    Raises:
        ValueError: for a value out of its range, for both or neither of steps and epochs.
    """

    batch_size: PositiveInt
    steps: PositiveInt | None = None
    epochs: Annotated[float, Field(gt=0, le=MAX_EPOCHS)] | None = None
    clip_grad_norm: PositiveFloat | None = None
    warmup: NonNegativeInt = 0
    decay_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    patience: PositiveInt | None = None
    evaluate_every: PositiveInt | None = None
    evaluation_batches: PositiveInt | None = 4
    checkpoint_every: PositiveInt = 100
    checkpoint_minutes: PositiveFloat | None = 10.0
    keep_checkpoints: Annotated[int, Field(gt=0, le=MAX_CHECKPOINTS)] = 2
    max_nonfinite_batches: NonNegativeInt = 0
    gradient_flow_every: PositiveInt | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                "one of steps and epochs must be given and the other null, "
                f"got steps={self.steps} and epochs={self.epochs}"
            )

    def for_task(self, task: Task) -> TrainSettings:
        """The same in steps, whatever was given in epochs.

        Raises:
            ValueError: if the task does not fit: epochs where it has none, no number of evaluation
                batches where it has no end.
        """
        per_epoch = task.steps_per_epoch(self.batch_size)
        every = self.evaluate_every or per_epoch or DEFAULT_EVALUATION_STEPS
        if per_epoch is not None:
            steps = self.steps or max(1, round((self.epochs or 0) * per_epoch))
            return replace(self, steps=steps, epochs=None, evaluate_every=every)
        if self.epochs is not None:
            raise ValueError("the data of this task has no epochs: give steps")
        if self.evaluation_batches is None:
            raise ValueError("the data of this task has no end: give evaluation_batches")
        return replace(self, evaluate_every=every)

    @property
    def total(self) -> int:
        """Optimizer steps in the run, of settings in steps."""
        if self.steps is None:
            raise ValueError("settings in epochs: call for_task first")
        return self.steps

    @property
    def every(self) -> int:
        """Steps between evaluations."""
        return self.evaluate_every or DEFAULT_EVALUATION_STEPS
