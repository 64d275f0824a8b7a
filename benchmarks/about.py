"""What ``run.json`` says of a run: what is trained on what, how large, with which versions."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from typing import Any

from . import records
from .code_version import code_version
from .models import SequenceModel, count_parameters, degrees_of_freedom
from .tasks.task import Task

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
    return {"python": platform.python_version(), **packages, "code": code_version()}


def begin(
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
        "metrics": {
            name: {"show": metric.show, "better": metric.better}
            for name, metric in task.metrics.items()
        },
        "model": name,
        "seed": config["seed"],
        **sizes(model),
        "threads": threads,
        "processes": size,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions(),
        "started": now(),
        "resumed": [],
        "status": "running",
        "error": None,
        "traceback": None,
        "test": None,
        "summary": records.summarise([], task.baseline, task.target_loss),
        "solved": False,
        "config": config,
    }


def now() -> str:
    """The time, with its zone."""
    return dt.datetime.now().astimezone().isoformat()
