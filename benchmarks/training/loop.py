"""The training loop: a generator of plain records that knows no task and no model by name."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.models import SequenceModel, orthogonality_error
from benchmarks.records.record import SKIPPED, VALIDATION, Record
from benchmarks.system import seeding
from benchmarks.system.progress import progress
from benchmarks.system.seeding import Split
from benchmarks.tasks.task import Curriculum, Scores, Task, derived

from .distributed import SINGLE, Processes
from .memory import RecurrentState, beside_each_other, detached, on_cpu, own_columns
from .optimizer import StepSizeFactor
from .settings import TrainSettings


class TrainingDiverged(ArithmeticError):
    """The loss or its gradient is not finite, so the run cannot go on."""


class NonFiniteBatch(TrainingDiverged):
    """That of one batch is not finite, and nothing has moved yet."""


@dataclass
class TrainState:
    """Everything that a run carries from step to step."""

    model: SequenceModel
    optimizer: Optimizer
    schedule: LambdaLR
    factor: StepSizeFactor
    """What the schedule multiplies with; its state is kept by the schedule's."""
    generator: Generator
    processes: Processes = SINGLE
    curriculum: Curriculum | None = None
    """The course of the training, for tasks that have stages."""
    step: int = 0
    seconds: float = 0.0
    memory: RecurrentState = None
    """What the model remembers of the batch before, for tasks whose batches continue."""
    best_loss: float = math.inf
    best_step: int = 0
    best: dict[str, Tensor] | None = None
    """The weights with the lowest validation loss, on the CPU."""
    stalled: int = 0
    """Evaluations since the last new best or halving of the learning rates."""
    skipped: int = 0
    """Batches that were passed over."""

    def __post_init__(self) -> None:
        self.replica = self.processes.replicate(self.model)

    def stage(self, task: Task) -> Task:
        """What is trained on now: a stage of the task, or the task."""
        return task if self.curriculum is None else self.curriculum.task

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors, loadable with ``torch.load(weights_only=True)``.

        Of several processes each has to call it; all get the same.
        """
        memories = self.processes.gather(on_cpu(self.memory))
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "global_generators": self.processes.gather(seeding.rng_states(self.processes.device)),
            "memory": beside_each_other(memories),
            "curriculum": None if self.curriculum is None else self.curriculum.state_dict(),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Return to the moment of :meth:`state_dict`; the next step repeats bit for bit."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.generator.set_state(saved["generator"])
        if self.processes.rank < len(saved["global_generators"]):
            own = saved["global_generators"][self.processes.rank]
            seeding.restore_rng_states(own, self.processes.device)
        self.memory = own_columns(saved["memory"], self.processes)
        if self.curriculum is not None:
            self.curriculum.load_state_dict(saved["curriculum"])
        for name in _PLAIN:
            setattr(self, name, saved[name])


_PLAIN = ("step", "seconds", "best_loss", "best_step", "best", "stalled", "skipped")


def initial_state(
    model: SequenceModel,
    optimizer: Optimizer,
    settings: TrainSettings,
    generator: Generator,
    processes: Processes = SINGLE,
    curriculum: Curriculum | None = None,
) -> TrainState:
    """The state of a run before its first step."""
    factor = StepSizeFactor(settings.total, settings.warmup, settings.decay_fraction)
    schedule = LambdaLR(optimizer, factor)
    return TrainState(model, optimizer, schedule, factor, generator, processes, curriculum)


def train(state: TrainState, task: Task, settings: TrainSettings) -> Iterator[Record]:
    """Train until the last step, yielding one record per step.

    A record holds ``step``, ``epoch`` if there are any, ``length`` of the sequences in the present
    stage of a curriculum, ``loss`` and the task's metrics on the step's batch before the update,
    ``penalty`` if the model has one, ``gradient_norm`` (before clipping), ``learning_rate``,
    ``orthogonality_error`` if the model is meant to be orthogonal, ``seconds`` of training so far,
    and on some steps ``validation_*``. That of a step whose batch was passed over has ``skipped``,
    how many were so far, and nan for what is not finite; for all scores, if the loss is not.

    Raises:
        TrainingDiverged: at a loss or gradient norm that is not finite, the state being as before
            that step, once ``settings.max_nonfinite_batches`` batches were passed over; if a point
            cannot be moved by its step; or at a validation loss that is not finite.
    """
    per_epoch = task.steps_per_epoch(settings.batch_size)
    while state.step < settings.total:
        began = time.monotonic()
        number = state.step + 1
        record: Record = {"step": number}
        if per_epoch is not None:
            record["epoch"] = round(number / per_epoch, 4)
        stage = state.stage(task)
        _advance(state, task, settings, record)
        state.step = number
        state.seconds += time.monotonic() - began

        drift = orthogonality_error(state.model)
        if drift is not None:
            record["orthogonality_error"] = drift
        if number % settings.every == 0 or number == settings.total:
            scores = evaluate(state.model, task, settings, processes=state.processes)
            _check_finite("validation loss", scores["loss"], number)
            _track_best(state, scores["loss"], settings.patience)
            record |= {f"{VALIDATION}{name}": value for name, value in scores.items()}
        if state.stage(task) is not stage and number < settings.total:
            state.best_loss = math.inf  # the best weights are those of the last stage
        record["seconds"] = round(state.seconds, 3)
        yield record


def _advance(state: TrainState, task: Task, settings: TrainSettings, record: Record) -> None:
    """One step, noted in its record: an update, or a batch that is passed over."""
    drawn = state.generator.get_state(), seeding.torch_rng_states(state.processes.device)
    rate = state.optimizer.param_groups[0]["lr"]
    try:
        memory = _update(state, task, settings, record)
    except NonFiniteBatch:
        if state.skipped >= settings.max_nonfinite_batches:
            state.generator.set_state(drawn[0])  # as before the step, in the data too
            seeding.restore_rng_states(drawn[1], state.processes.device)
            raise
        state.skipped += 1
        if not math.isfinite(record["loss"]):  # then the scores say nothing either
            record |= dict.fromkeys(task.metrics, math.nan)
        record |= {name: math.nan for name, value in record.items() if not math.isfinite(value)}
        record[SKIPPED] = state.skipped
        memory = None
    record["learning_rate"] = rate
    with warnings.catch_warnings():  # of a first batch that was passed over
        warnings.filterwarnings("ignore", "Detected call of .lr_scheduler.step", UserWarning)
        state.schedule.step()
    state.memory = detached(memory)


def _update(
    state: TrainState, task: Task, settings: TrainSettings, record: Record
) -> RecurrentState:
    """One step of the optimizer, noted in its record; returns what is remembered of the batch."""
    number = state.step + 1
    state.model.train()
    stage = state.stage(task)
    if state.curriculum is not None:
        record["length"] = stage.length
    batch = stage.training(settings.batch_size, state.step, state.generator)
    batch = state.processes.share(batch)
    state.optimizer.zero_grad()
    carried = state.memory if batch.carries_state else None
    memory: RecurrentState
    output, memory = state.replica(batch.input, carried)
    loss = task.loss(output, batch.target)
    scores = {"loss": loss.item(), **task.score(output.detach(), batch.target)}
    record |= derived(task, state.processes.mean(scores))
    _check_finite("loss", record["loss"], number, NonFiniteBatch)
    penalty = state.model.penalty()
    if penalty is not None:
        record["penalty"] = penalty.item()
        loss = loss + penalty
    loss.backward()  # type: ignore[no-untyped-call]

    parameters = [p for p in state.model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    record["gradient_norm"] = norm.item()
    _check_finite("gradient norm", record["gradient_norm"], number, NonFiniteBatch)
    if settings.clip_grad_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, settings.clip_grad_norm, norm)
    try:
        state.optimizer.step()
    except FloatingPointError as error:
        raise TrainingDiverged(f"{error} (step {number})") from error
    if state.curriculum is not None:
        state.curriculum.update(record)
    return memory


@torch.no_grad()
def evaluate(
    model: SequenceModel,
    task: Task,
    settings: TrainSettings,
    split: Split = "validation",
    see: Callable[[Tensor, Tensor], None] | None = None,
    processes: Processes = SINGLE,
) -> Scores:
    """Mean loss and metrics over a held-out set, which is the same at every call.

    ``see`` is shown each batch's output and target. Every entry of a target weighs the same. Of
    several processes each has to call it; all get the same.
    """
    model.eval()
    total: Scores = {"entries": 0.0}
    memory: RecurrentState = None
    batches = task.held_out(split, settings.batch_size, settings.evaluation_batches)
    for batch in map(processes.share, progress(batches, f"{split} set")):
        weight = batch.target.numel()
        if not weight:  # the batch has fewer columns than there are processes
            continue
        output, memory = model(batch.input, memory if batch.carries_state else None)
        scores = {"loss": task.loss(output, batch.target).item()}
        scores |= task.score(output, batch.target)
        for name, value in scores.items():
            total[name] = total.get(name, 0.0) + weight * value
        total["entries"] += weight
        if see is not None:
            see(output, batch.target)
    total = processes.total(total)
    entries = total.pop("entries")
    return derived(task, {name: value / entries for name, value in total.items()})


def _track_best(state: TrainState, loss: float, patience: int | None) -> None:
    """Note a new best, or halve the learning rates after enough evaluations without one."""
    if loss < state.best_loss:
        state.best_loss, state.best_step, state.stalled = loss, state.step, 0
        weights = state.model.state_dict()
        state.best = {name: value.detach().to("cpu", copy=True) for name, value in weights.items()}
        return
    state.stalled += 1
    if patience is not None and state.stalled >= patience:
        state.stalled = 0
        state.factor.halvings += 1
        for group in state.optimizer.param_groups:  # the schedule has set the next step's already
            group["lr"] *= 0.5


def _check_finite(
    what: str, value: float, step: int, error: type[TrainingDiverged] = TrainingDiverged
) -> None:
    if not math.isfinite(value):
        raise error(f"the {what} is {value} at step {step}")
