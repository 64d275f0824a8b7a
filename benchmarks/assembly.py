"""From a configuration to the task, the model of the right size and its optimizer."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import PositiveInt
from torch.optim import Optimizer

from . import checkpoint, generators
from .models import Network, SequenceModel, assemble, largest_hidden_size
from .processes import ALONE, Processes
from .refusal import ConfigError, build, check, refusing
from .settings import Settings
from .streams import stream
from .tasks.task import Task
from .train import State, start


@dataclass(frozen=True)
class Interface:
    """What a model must know of a task, and what is needed to use it without the data.

    The fields are those of :class:`benchmarks.tasks.task.Task`; ``symbols`` and ``level`` are its
    vocabulary's.
    """

    input_size: int
    output_size: int
    tokens: bool
    single_answer: bool
    causal: bool
    symbols: tuple[str, ...] = ()
    level: str = ""

    @classmethod
    def of(cls, task: Task) -> Interface:
        """The interface of a task."""
        return cls(
            task.input_size,
            task.output_size,
            task.tokens,
            task.single_answer,
            task.causal,
            *(task.vocabulary or ()),
        )


def make_task(cfg: DictConfig) -> Task:
    """The task of a configuration, with its data where it needs any."""
    if "data" in cfg.task:
        raise ConfigError("task.data is given by the keys of data")
    given = {"data": build("data", cfg.data)} if "data" in cfg else {}
    task: Task = build("task", cfg.task, **given)
    if not hasattr(task, "held_out"):
        raise ConfigError(f"task must be a task of this benchmark, got {cfg.task!r}"[:200])
    return task


def make_settings(cfg: DictConfig, task: Task) -> Settings:
    """The settings of a training, in steps."""
    settings = build("train", cfg.train)
    if not isinstance(settings, Settings):
        raise ConfigError(f"train must be the keys of the training, got {cfg.train!r}"[:200])
    return refusing("train", lambda: settings.for_task(task))


def make_model(
    cfg: DictConfig, task: Interface, budget: int | None, hidden_size: int | None = None
) -> SequenceModel:
    """The model of a configuration, drawn from torch's global generator.

    Args:
        cfg: the configuration.
        task: what the model reads and answers.
        budget: stored parameters; decides the hidden size where none is given.
        hidden_size: takes precedence over ``cfg.model.hidden_size`` and over the budget.

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
    if task.causal and network.bidirectional:
        raise ConfigError(
            "network.bidirectional must be false for this task: a model that reads from both ends "
            "would see the token it is to predict"
        )

    def of_size(size: int) -> SequenceModel:
        return assemble(
            core,
            network,
            hidden_size=size,
            input_size=task.input_size,
            output_size=task.output_size,
            tokens=task.tokens,
            single_answer=task.single_answer,
        )

    wanted = cfg.model.get("hidden_size")
    size = hidden_size or check(
        "model.hidden_size", wanted, PositiveInt | None, "an integer > 0 or null"
    )
    if size is None:
        if budget is None:
            raise ConfigError("one of budget and model.hidden_size must be given")
        fitting = budget
        size = refusing("model", lambda: largest_hidden_size(of_size, fitting))
    return refusing("model", lambda: of_size(size))


def make_state(
    cfg: DictConfig, seed: int, budget: int | None, processes: Processes = ALONE
) -> tuple[Task, Settings, State]:
    """A run before its first step: task, settings in steps, and what training carries along.

    Args:
        cfg: the configuration.
        seed: of the initialisation, which is drawn from torch's global generator, and of training.
        budget: as in :func:`make_model`.
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
    generators.seed(stream(seed, "initialisation").initial_seed())
    model = make_model(cfg, Interface.of(task), budget).to(processes.device)
    optimizer: Optimizer = build("optimizer", cfg.optimizer, model)
    if not processes.leads:  # dropout is not to be the same in every share of a batch
        generators.seed(stream(seed, f"process {processes.rank}").initial_seed())
    return task, settings, start(model, optimizer, settings, stream(seed, "training"), processes)


def save_model(path: Path, state: State, task: Task, config: dict[str, Any]) -> None:
    """Write the best weights with all that :func:`load_model` needs to build the model again."""
    content = {
        "model": state.best,
        "hidden_size": state.model.hidden_size,
        "interface": asdict(Interface.of(task)),
        "config": config,
        "step": state.best_step,
    }
    checkpoint.save(path, content)


def load_model(path: Path) -> tuple[SequenceModel, Interface]:
    """A model as :func:`save_model` wrote it, without its data.

    Raises:
        ConfigError: if the file is not there or holds no such model.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist: the run has no evaluated model yet")
    try:
        saved = checkpoint.load(path)
        interface = Interface(**saved["interface"])
        config, size, weights = (
            OmegaConf.create(saved["config"]),
            saved["hidden_size"],
            saved["model"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        first = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{path} holds no model of a run ({first})") from error
    model = refusing("run", lambda: make_model(config, interface, None, size))
    refusing("run", lambda: model.load_state_dict(weights))
    return model.eval(), interface
