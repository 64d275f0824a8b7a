"""The best weights of a run, kept with all that builds their model again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import PositiveInt, TypeAdapter

from benchmarks.config.errors import ConfigError, refusing
from benchmarks.models import SequenceModel
from benchmarks.tasks.task import Task
from benchmarks.training.loop import State

from . import checkpoints
from .build import Interface, make_model
from .trust import check_saved


def save_model(path: Path, state: State, task: Task, config: dict[str, Any]) -> None:
    """Write the best weights with all that :func:`load_model` needs to build the model again."""
    content = {
        "model": state.best,
        "hidden_size": state.model.hidden_size,
        "interface": asdict(Interface.of(task)),
        "config": config,
        "step": state.best_step,
    }
    checkpoints.write_file(path, content)


def load_model(path: Path, trusted: Collection[str] = ()) -> tuple[SequenceModel, Interface]:
    """A model as :func:`save_model` wrote it, without its data.

    Args:
        path: the file; whoever made it, nothing but models of this project is called.
        trusted: dotted names of other classes that it may name.

    Raises:
        ConfigError: if the file is not there, holds no such model or names anything else.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"{path} does not exist: the run has no evaluated model yet")
        saved = checkpoints.read_file(path)
        fields = dict(saved["interface"])
        if "single_answer" in fields:  # its former name
            fields["sequence_level"] = fields.pop("single_answer")
        interface = Interface(**fields)
        size: int = TypeAdapter(PositiveInt).validate_python(saved["hidden_size"], strict=True)
        weights = saved["model"]
        config = {key: saved["config"][key] for key in ("model", "network")}
    except ConfigError:
        raise
    except Exception as error:  # damaged bytes raise almost anything
        first = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{path} holds no model of a run ({first})") from error
    check_saved(config, trusted, str(path))
    model = refusing("run", lambda: make_model(OmegaConf.create(config), interface, None, size))
    refusing("run", lambda: model.load_state_dict(weights))
    return model.eval(), interface
