"""What ``run.json`` says of a run: what is trained on what, how large, with which versions."""

from __future__ import annotations

import importlib.metadata
import platform
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.config.fingerprint import fingerprint
from benchmarks.loggers import RunIdentity
from benchmarks.models import SequenceModel, count_parameters, degrees_of_freedom
from benchmarks.records.summary import summarise
from benchmarks.system import environment
from benchmarks.system.atomic_files import WriteError
from benchmarks.system.environment import git_commit, timestamp
from benchmarks.tasks.stream import stream_metrics
from benchmarks.tasks.task import Metric, Stream, Task
from benchmarks.training.distributed import is_peer_failure
from benchmarks.training.loop import TrainingDiverged

PACKAGES = ("orthornn", "torch", "geoopt", "hydra-core", "wandb", "numpy")


def sizes(model: SequenceModel) -> dict[str, int]:
    """How large a model is."""
    return {
        "hidden_size": model.hidden_size,
        "parameters": count_parameters(model),
        "degrees_of_freedom": degrees_of_freedom(model),
    }


def versions() -> dict[str, str]:
    """What runs: Python, the packages, and the commit of this project."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages, "code": git_commit()}


def initial_metadata(
    task: Task, name: str, model: SequenceModel, config: dict[str, Any], threads: int, size: int
) -> dict[str, Any]:
    """The description of a run before its first step.

    Args:
        task: the task.
        name: of the model.
        model: the model.
        config: the resolved configuration.
        threads: of each process.
        size: how many processes train together.
    """
    return {
        "task": task.title,
        "baseline": task.baseline,
        "target_loss": task.target_loss,
        "metrics": _plain(task.metrics),
        "stream": _describe(task.stream),
        "model": name,
        "seed": config["seed"],
        **sizes(model),
        "threads": threads,
        "processes": size,
        "machine": environment.describe_machine(torch.device(config["device"])),
        "versions": versions(),
        "started": timestamp(),
        "resumed": [],
        "status": "running",
        "error": None,
        "traceback": None,
        "test": None,
        "curves": {},
        "summary": summarise([], task.baseline, task.target_loss),
        "solved": False,
        "config": config,
    }


def _plain(metrics: Mapping[str, Metric]) -> dict[str, dict[str, str]]:
    return {
        name: {"show": metric.show, "better": metric.better} for name, metric in metrics.items()
    }


def _describe(stream: Stream | None) -> dict[str, Any] | None:
    """What is measured on a stream, and what its curves are to be read by."""
    if stream is None:
        return None
    return {
        "metrics": _plain(stream_metrics(stream)),
        "trained_length": stream.trained_length,
        "limit": stream.limit,
        "chance": stream.chance,
    }


def run_identity(
    description: dict[str, Any], task: Task, folder: Path, overrides: Sequence[str], step: int
) -> RunIdentity:
    """By what a run is known outside its folder.

    Args:
        description: what :func:`initial_metadata` says of it.
        task: the task.
        folder: where its files are.
        overrides: of the command line, those that make the setting.
        step: 0, or the step after which it goes on.
    """
    config, model = description["config"], description["model"]
    setting = ", ".join([model, *overrides])
    more = ("hidden_size", "parameters", "degrees_of_freedom", "versions")
    return RunIdentity(
        folder=folder,
        name=f"{setting}, seed {config['seed']}",
        group=f"{setting} ({fingerprint(config)})",
        job_type=config["name"],
        tags=(task.title, model),
        config=config | {name: description[name] for name in more},
        metrics=task.metrics,
        step=step,
    )


def final_status(error: BaseException) -> dict[str, Any]:
    """What there is to say of a run that an error ends before its end."""
    status, told, trace = "failed", f"{type(error).__name__}: {error}", None
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        status, told = "interrupted", "stopped from outside"
    elif isinstance(error, WriteError):  # the same command goes on, once there is room
        status, told = "interrupted", str(error)
    elif isinstance(error, TrainingDiverged):
        told = str(error)
    elif is_peer_failure(error):
        status, told = "interrupted", "another process of the run is gone"
    else:
        trace = "".join(traceback.format_exception(error))
    return {"status": status, "error": told, "traceback": trace}
