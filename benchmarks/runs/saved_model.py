"""The best weights of a run, kept with all that builds their model again."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import PositiveInt, TypeAdapter

from benchmarks.config.errors import ConfigError, as_config_error
from benchmarks.config.fingerprint import update_keys
from benchmarks.models import MODELS, Network, SequenceModel, assemble
from benchmarks.tasks.task import Task
from benchmarks.training.loop import TrainState

from . import checkpoints
from .build import TaskSpec

# Note [What the file of a run can call]
# Hydra calls whatever stands behind a _target_: on a command line that is the user's own doing. A
# file of a run may come from anybody. So it holds the name of a row of benchmarks.models.MODELS and
# plain keyword arguments, and nothing of it is ever instantiated. Older files hold targets: those
# of this project are read as the names of their rows, others are in no table.
_TARGETS = "benchmarks.models."
_FORMER_FIELDS = {"single_answer": "sequence_level"}


def save_model(path: Path, state: TrainState, task: Task, config: dict[str, Any]) -> None:
    """Write the best weights with all that :func:`load_model` needs to build the model again."""
    name, options = _named(config["model"])
    content = {
        "model": state.best,
        "core": {"name": name, "options": options},
        "network": _named(config["network"])[1],
        "hidden_size": state.model.hidden_size,
        "interface": asdict(TaskSpec.of(task)),
        "step": state.best_step,
    }
    checkpoints.write_file(path, content)


def load_model(path: Path) -> tuple[SequenceModel, TaskSpec]:
    """A model as :func:`save_model` wrote it, without its data.

    The file may come from anybody: it calls nothing but the models in
    :data:`benchmarks.models.MODELS`. A class of your own is loaded once it has a row there, named
    as the run's ``model._target_``::

        benchmarks.models.MODELS["my_package.MyRNN"] = MyRNN
        benchmarks.generate.main(["run=FOLDER"])

    Raises:
        ConfigError: if the file is not there, or holds no model, or one without a row.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"{path} does not exist: the run has no evaluated model yet")
        saved = _in_present_form(checkpoints.read_file(path))
        interface = TaskSpec(**saved["interface"])
        size: int = TypeAdapter(PositiveInt).validate_python(saved["hidden_size"], strict=True)
        weights = saved["model"]
        dimensions = {n for weight in weights.values() for n in weight.shape}
        name, options = str(saved["core"]["name"]), dict(saved["core"]["options"])
        network = Network(**saved["network"])
    except ConfigError:
        raise
    except Exception as error:  # damaged bytes raise almost anything
        first = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{path} holds no model of a run ({first})") from error
    if name not in MODELS:
        raise ConfigError(
            f"the model of {path} must be one of {sorted(MODELS)}, got {name[:100]!r}: "
            "a class of your own needs a row in benchmarks.models.MODELS"
        )
    if not {size, interface.input_size, interface.output_size} <= dimensions:
        raise ConfigError(
            f"{path} holds no model of a run (its sizes are not those of its weights)"
        )

    def build() -> SequenceModel:
        model = assemble(
            partial(MODELS[name], **options),
            network,
            hidden_size=size,
            input_size=interface.input_size,
            output_size=interface.output_size,
            tokens=interface.tokens,
            sequence_level=interface.sequence_level,
            causal=interface.causal,
        )
        model.load_state_dict(weights)
        return model.eval()

    return as_config_error(str(path), build), interface


def _named(group: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A group of the configuration as the name of what it calls and its keyword arguments."""
    beside = ("_target_", "_partial_", "hidden_size")
    options = {key: value for key, value in group.items() if key not in beside}
    return str(group["_target_"]).removeprefix(_TARGETS), options


def _in_present_form(saved: dict[str, Any]) -> dict[str, Any]:
    """What a file holds, under the names of today where it was written before."""
    fields = {_FORMER_FIELDS.get(key, key): value for key, value in saved["interface"].items()}
    if "config" not in saved:
        return {**saved, "interface": fields}
    config = update_keys(saved["config"])
    name, options = _named(config["model"])
    whose, network = _named(config["network"])
    if whose != Network.__name__:
        raise ValueError(f"its network must be {Network.__name__}, got {whose[:100]!r}")
    core = {"name": name, "options": options}
    return {**saved, "interface": fields, "core": core, "network": network}
