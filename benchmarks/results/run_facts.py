"""How an experiment was run, in sentences: its task, its training, its machines."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from typing import Any

from benchmarks.records.run import Run
from benchmarks.records.text import show_loss

from .definition import Experiment
from .rows import ResultRow

UNNAMED_MACHINE = re.compile(r"\w+, \d+ cores")  # "x86_64, 2 cores"


def describe_runs(experiment: Experiment, rows: Sequence[ResultRow]) -> str:
    """In sentences; of rows of which at least one was run."""
    runs = [run for row in rows for run in row.kept]
    sentences = [_describe_task(runs[0]), _describe_training(runs)]
    if any("second" in name for name in experiment.columns):
        sentences += _describe_machines(rows)
    return " ".join(sentences)


def _describe_task(run: Run) -> str:
    title = run.metadata["task"]
    baseline = show_loss(run.metadata["baseline"])
    return f"{title[0].upper()}{title[1:]}; memoryless baseline {baseline}."


def _describe_training(runs: Sequence[Run]) -> str:
    """How long it was, in batches of which size, and by which optimizer."""
    configs = [run.metadata["config"] for run in runs]
    steps = {run.summary["steps"] for run in runs if run.metadata["status"] == "finished"}
    sizes = {config["train"]["batch_size"] for config in configs}
    optimizers = {_optimizer_name(config) for config in configs}
    parts = [f"{_either(steps)} steps"] if steps else []
    return ", ".join([*parts, f"batches of {_either(sizes)}", _either(optimizers)]) + "."


def _optimizer_name(config: dict[str, Any]) -> str:
    target: str = config["optimizer"]["algorithm"]["_target_"]
    return target.rpartition(".")[2].removeprefix("Riemannian")


def _either(values: Set[Any]) -> str:
    return " or ".join(map(str, sorted(values)))


def _describe_machines(rows: Sequence[ResultRow]) -> list[str]:
    """On which machine each row was run, where that is not the same for all."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        for machine in dict.fromkeys(name for run in row.kept for name in _machines(run)):
            labels.setdefault(machine, []).append(row.label)
    if len(labels) < 2:
        return []
    places = "; ".join(f"{machine}: {', '.join(names)}" for machine, names in labels.items())
    return [f"Of several machines, so that seconds and steps/s do not compare: {places}."]


def _machines(run: Run) -> list[str]:
    """The machines that a run was on; of an old record the kind alone is known."""
    parts = [run.metadata, *run.metadata["resumed"]]
    names = [str(part["machine"]) for part in parts if "machine" in part]
    return ["not recorded" if UNNAMED_MACHINE.fullmatch(name) else name for name in names]
