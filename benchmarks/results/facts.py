"""What a reader has to know of the runs behind a table: task, length, optimizer, machines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from benchmarks.records import Run, show_loss

from .cells import Line
from .experiment import Experiment

KIND = re.compile(r"\w+, \d+ cores")  # "x86_64, 2 cores"


def facts(experiment: Experiment, found: Sequence[Line]) -> str:
    """In sentences; of lines of which at least one was run."""
    runs = [run for line in found for run in line.known]
    told = [_task(runs[0]), _training(runs)]
    if any("second" in name for name in experiment.columns):
        told += _machines(found)
    return " ".join(told)


def _task(run: Run) -> str:
    title = run.about["task"]
    baseline = show_loss(run.about["baseline"])
    return f"{title[0].upper()}{title[1:]}; memoryless baseline {baseline}."


def _training(runs: Sequence[Run]) -> str:
    """How long it was, in batches of which size, and by which optimizer."""
    configs = [run.about["config"] for run in runs]
    steps = sorted({run.summary["steps"] for run in runs if run.about["status"] == "finished"})
    sizes = sorted({config["train"]["batch_size"] for config in configs})
    names = sorted({_optimizer(config) for config in configs})
    told = [f"{_either(steps)} steps"] if steps else []
    return ", ".join([*told, f"batches of {_either(sizes)}", _either(names)]) + "."


def _optimizer(config: dict[str, Any]) -> str:
    target: str = config["optimizer"]["algorithm"]["_target_"]
    return target.rpartition(".")[2].removeprefix("Riemannian")


def _either(values: Sequence[object]) -> str:
    return " or ".join(map(str, values))


def _machines(found: Sequence[Line]) -> list[str]:
    """On which machine each row was run, where that is not the same for all."""
    rows: dict[str, list[str]] = {}
    for line in found:
        for name in dict.fromkeys(name for run in line.known for name in _places(run)):
            rows.setdefault(name, []).append(line.label)
    if len(rows) < 2:
        return []
    told = "; ".join(f"{machine}: {', '.join(names)}" for machine, names in rows.items())
    return [f"Of several machines, so that seconds and steps/s do not compare: {told}."]


def _places(run: Run) -> list[str]:
    """The machines that a run was on; of an old record the kind alone is known."""
    parts = [run.about, *run.about["resumed"]]
    names = [str(part["machine"]) for part in parts if "machine" in part]
    return ["not recorded" if KIND.fullmatch(name) else name for name in names]
