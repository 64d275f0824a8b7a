"""From a configuration to the task, the model of the right size and its optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass as validated_dataclass
from torch.optim import Optimizer

from benchmarks.config.call import Call
from benchmarks.config.errors import ConfigError, as_config_error, build, check
from benchmarks.data.text import END, UNKNOWN
from benchmarks.models import (
    Network,
    SequenceModel,
    assemble,
    largest_hidden_size,
)
from benchmarks.system import seeding
from benchmarks.system.seeding import named_generator
from benchmarks.system.threads import choose_threads
from benchmarks.tasks.task import Task
from benchmarks.training.distributed import SINGLE, Processes
from benchmarks.training.loop import TrainState, initial_state
from benchmarks.training.settings import TrainSettings


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


def make_task(cfg: DictConfig) -> Task:
    """The task of a configuration, with its data where it needs any."""
    if "data" in cfg.task:
        raise ConfigError("task.data is given by the keys of data")
    if "data" in cfg and not cfg.task.get("_partial_"):
        raise ConfigError(f"data={cfg.data!r} sets nothing: this task draws its own"[:200])
    given = {"data": build("data", cfg.data)} if "data" in cfg else {}
    task: Task = build("task", cfg.task, **given)
    if not hasattr(task, "held_out"):
        raise ConfigError(f"task must be a task of this benchmark, got {cfg.task!r}"[:200])
    return task


def make_settings(cfg: DictConfig, task: Task) -> TrainSettings:
    """The settings of a training, in steps."""
    settings = build("train", cfg.train)
    if not isinstance(settings, TrainSettings):
        raise ConfigError(f"train must be the keys of the training, got {cfg.train!r}"[:200])
    return as_config_error("train", lambda: settings.for_task(task))


def make_model(cfg: DictConfig, task: TaskSpec, parameter_budget: int | None) -> SequenceModel:
    """The model of a configuration, drawn from torch's global generator.

    Args:
        cfg: the configuration.
        task: what the model reads and answers.
        parameter_budget: stored parameters; decides the hidden size where none is given.

    Raises:
        ConfigError: if neither decides the size, or the model cannot be built.
    """
    core = build("model", cfg.model)
    network = build("network", cfg.network)
    if not callable(core) or not isinstance(network, Network):
        raise ConfigError("model and network must be groups of keys, got something else")
    twice = sorted({"input_size", *Network.__dataclass_fields__} & set(cfg.model))
    if twice:
        raise ConfigError(f"model.{twice[0]} is not a key of a model: see network and task")

    def of_size(size: int) -> SequenceModel:
        return assemble(
            core,
            network,
            hidden_size=size,
            input_size=task.input_size,
            output_size=task.output_size,
            tokens=task.tokens,
            sequence_level=task.sequence_level,
            causal=task.causal,
        )

    wanted = cfg.model.get("hidden_size")
    size = check("model.hidden_size", wanted, PositiveInt | None, "an integer > 0 or null")
    if size is None:
        if parameter_budget is None:
            raise ConfigError("one of parameter_budget and model.hidden_size must be given")
        fitting = parameter_budget
        size = as_config_error("model", lambda: largest_hidden_size(of_size, fitting), cfg.model)
    chosen = size
    return as_config_error("model", lambda: of_size(chosen), cfg.model)


def make_state(
    cfg: DictConfig, seed: int, parameter_budget: int | None, processes: Processes = SINGLE
) -> tuple[Task, TrainSettings, TrainState]:
    """A run before its first step: task, settings in steps, and what training carries along.

    Args:
        cfg: the configuration.
        seed: of the initialisation, which is drawn from torch's global generator, and of training.
        parameter_budget: as in :func:`make_model`.
        processes: that train together.

    Raises:
        ConfigError: for any value that cannot be run.
    """
    task = make_task(cfg)
    settings = make_settings(cfg, task)
    if settings.batch_size % processes.size:
        raise ConfigError(
            f"train.batch_size must be a multiple of the {processes.size} processes, "
            f"got {settings.batch_size}"
        )
    seeding.seed_all(named_generator(seed, "initialisation").initial_seed())
    model = make_model(cfg, TaskSpec.of(task), parameter_budget).to(processes.device)
    optimizer: Optimizer = build("optimizer", cfg.optimizer, model)
    if not processes.is_main:  # dropout is not to be the same in every share of a batch
        seeding.seed_all(named_generator(seed, f"process {processes.rank}").initial_seed())
    return (
        task,
        settings,
        initial_state(model, optimizer, settings, named_generator(seed, "training"), processes),
    )


@dataclass
class BuiltRun:
    """A run before its first step: everything is built, nothing has been written.

    Attributes:
        cfg: the configuration.
        config: the same, resolved and plain.
        call: what the command line says beside it.
        processes: that train together.
        task: the task.
        settings: of the training, in steps.
        state: what training carries along.
        threads: of each process.
        before: what ``run.json`` says of a run that is to go on; None for a new one.
    """

    cfg: DictConfig
    config: dict[str, Any]
    call: Call
    processes: Processes
    task: Task
    settings: TrainSettings
    state: TrainState
    threads: int
    before: dict[str, Any] | None


def build_run(
    cfg: DictConfig, call: Call, processes: Processes, before: dict[str, Any] | None = None
) -> BuiltRun:
    """Build what a configuration says; the arguments are those of :class:`BuiltRun`.

    Raises:
        ConfigError: for any value that cannot be run.
    """
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    task, settings, state = make_state(cfg, cfg.seed, cfg.parameter_budget, processes)
    wanted: int | str = (
        cfg.threads if before is None or cfg.threads != "auto" else before["threads"]
    )
    threads = count_threads(wanted, call, processes, settings, state.model)
    torch.set_num_threads(threads)
    return BuiltRun(cfg, config, call, processes, task, settings, state, threads, before)


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
