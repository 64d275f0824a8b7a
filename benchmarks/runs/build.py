"""From a configuration to the task, the model of the right size and its optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass as validated_dataclass
from torch.optim import Optimizer

from benchmarks.config.call import Call
from benchmarks.config.errors import ConfigError, as_config_error, build
from benchmarks.data.text import END, UNKNOWN
from benchmarks.models import Network, SequenceModel, assemble, largest_hidden_size
from benchmarks.system import seeding
from benchmarks.system.seeding import named_generator
from benchmarks.system.threads import choose_threads
from benchmarks.tasks.task import Task
from benchmarks.training.distributed import SINGLE, Processes
from benchmarks.training.loop import TrainState, initial_state
from benchmarks.training.settings import TrainSettings

from .config import RunConfig


@validated_dataclass(frozen=True, config={"extra": "forbid", "strict": True})
class TaskSpec:
    """What a model must know of a task, and what is needed to use it without the data.

    The fields are those of :class:`benchmarks.tasks.task.Task`; ``symbols`` and ``level`` are its
    vocabulary's.
    """

    input_size: PositiveInt
    output_size: PositiveInt
    tokens: bool
    sequence_level: bool
    causal: bool
    symbols: tuple[str, ...] = ()
    level: Literal["", "character", "word"] = ""

    def __post_init__(self) -> None:
        if not self.symbols:
            return
        sizes = len(set(self.symbols)), self.input_size, self.output_size
        if not self.tokens or not self.level or len({*sizes, len(self.symbols)}) != 1:
            raise ValueError(f"{len(self.symbols)} symbols must be tokens in and out, got {sizes}")
        if self.level == "character" and set(map(len, self.symbols)) != {1}:
            raise ValueError("a symbol must be one character")
        if self.level == "word" and not {UNKNOWN, END} <= set(self.symbols):
            raise ValueError(f"words must have {UNKNOWN} and {END} among them")

    @classmethod
    def of(cls, task: Task) -> TaskSpec:
        """The interface of a task."""
        return cls(
            task.input_size,
            task.output_size,
            task.tokens,
            task.sequence_level,
            task.causal,
            *(task.vocabulary or ()),
        )


def make_task(config: RunConfig) -> Task:
    """The task of a configuration, with its data where it needs any."""
    if "data" in config.task:
        raise ConfigError("task.data is given by the keys of data")
    if config.data is not None and not config.task.get("_partial_"):
        raise ConfigError(f"data={config.data!r} sets nothing: this task draws its own"[:200])
    if config.data is None and config.task.get("_partial_"):
        raise ConfigError("data must be a group of keys for this task, got null")
    data = {} if config.data is None else {"data": build("data", config.data)}
    task: Task = build("task", config.task, **data)
    if not hasattr(task, "held_out"):
        raise ConfigError(f"task must be a task of this benchmark, got {config.task!r}"[:200])
    return task


def make_model(config: RunConfig, task: TaskSpec) -> SequenceModel:
    """The model of a configuration, drawn from torch's global generator.

    Its hidden size is given, or the largest that fits into ``parameter_budget``.

    Raises:
        ConfigError: if neither decides the size, or the model cannot be built.
    """
    core = build("model", config.model)
    if not callable(core):
        raise ConfigError(f"model must make a recurrent core, got {config.model!r}"[:200])
    twice = sorted(
        {"input_size", "num_embeddings", *Network.__dataclass_fields__} & set(config.model)
    )
    if twice:
        raise ConfigError(f"model.{twice[0]} is not a key of a model: see network and task")

    def of_size(size: int) -> SequenceModel:
        return assemble(
            core,
            config.network,
            hidden_size=size,
            input_size=task.input_size,
            output_size=task.output_size,
            tokens=task.tokens,
            sequence_level=task.sequence_level,
            causal=task.causal,
        )

    size, budget = config.model.get("hidden_size"), config.parameter_budget
    if size is None:
        if budget is None:
            raise ConfigError("one of parameter_budget and model.hidden_size must be given")
        size = as_config_error("model", lambda: largest_hidden_size(of_size, budget), config.model)
    return as_config_error("model", lambda: of_size(size), config.model)


def make_state(
    config: RunConfig, processes: Processes = SINGLE
) -> tuple[Task, TrainSettings, TrainState]:
    """A run before its first step: task, settings in steps, and what training carries along.

    The initialisation is drawn from torch's global generator, which the run's seed seeds.

    Args:
        config: the configuration.
        processes: that train together.

    Raises:
        ConfigError: for any value that cannot be run.
    """
    task, seed = make_task(config), config.seed
    settings = as_config_error("train", lambda: config.train.for_task(task))
    if settings.batch_size % processes.size:
        raise ConfigError(
            f"train.batch_size must be a multiple of the {processes.size} processes, "
            f"got {settings.batch_size}"
        )
    seeding.seed_all(named_generator(seed, "initialisation").initial_seed())
    model = make_model(config, TaskSpec.of(task)).to(processes.device)
    optimizer: Optimizer = build("optimizer", config.optimizer, model)
    if not processes.is_main:  # dropout is not to be the same in every share of a batch
        seeding.seed_all(named_generator(seed, f"process {processes.rank}").initial_seed())
    return (
        task,
        settings,
        initial_state(
            model,
            optimizer,
            settings,
            named_generator(seed, "training"),
            processes,
            task.make_curriculum(),
        ),
    )


@dataclass
class BuiltRun:
    """A run before its first step: everything is built, nothing has been written.

    Attributes:
        config: the configuration.
        call: what the command line says beside it.
        processes: that train together.
        task: the task.
        settings: of the training, in steps.
        state: what training carries along.
        threads: of each process.
        before: what ``run.json`` says of a run that is to go on; None for a new one.
    """

    config: RunConfig
    call: Call
    processes: Processes
    task: Task
    settings: TrainSettings
    state: TrainState
    threads: int
    before: dict[str, Any] | None


def build_run(
    config: RunConfig, call: Call, processes: Processes, before: dict[str, Any] | None = None
) -> BuiltRun:
    """Build what a configuration says; the arguments are those of :class:`BuiltRun`.

    Raises:
        ConfigError: for any value that cannot be run.
    """
    task, settings, state = make_state(config, processes)
    automatic = before is not None and config.threads == "auto"
    wanted = before["threads"] if before and automatic else config.threads
    threads = count_threads(wanted, call, processes, settings, state.model)
    torch.set_num_threads(threads)
    return BuiltRun(config, call, processes, task, settings, state, threads, before)


def count_threads(
    wanted: int | str,
    call: Call,
    processes: Processes,
    settings: TrainSettings,
    model: SequenceModel,
) -> int:
    """The threads of each process: as many as ``wanted``, or as pay on this machine."""
    if isinstance(wanted, int):
        return wanted
    if call.side_by_side or processes.size > 1:
        return 1  # each job keeps to one core
    return choose_threads(settings.batch_size, model.hidden_size)
