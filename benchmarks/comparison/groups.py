"""Which runs belong together: those that differ by their seed alone, under a name of their own."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import Counter
from typing import Any, NamedTuple

from benchmarks.config.fingerprint import setting
from benchmarks.records.run import Run

# what makes runs of two models unequal; a step size or a clip of its own is each model's right
EXTENT_KEYS = ("parameter_budget", "train.steps", "train.epochs", "train.batch_size")
OUTCOMES = ("finished", "failed", "interrupted", "unfinished")


class Group(NamedTuple):
    """Runs that differ by their seed alone.

    Attributes:
        name: the model, and what tells the group from the others of its model.
        runs: one per seed, in the order of the seeds.
        settings: what they have in common.
    """

    name: str
    runs: list[Run]
    settings: dict[str, Any]

    @property
    def finished(self) -> list[Run]:
        """The runs that reached their last step: the only ones that enter a mean or a curve."""
        return [run for run in self.runs if outcome(run) == "finished"]

    @property
    def outcomes(self) -> dict[str, int]:
        """How many runs ended in which way."""
        counts = Counter(map(outcome, self.runs))
        return {name: counts[name] for name in OUTCOMES}


def outcome(run: Run) -> str:
    """How a run ended; one that still says that it is running was killed, or has not ended yet."""
    status = run.metadata["status"]
    return str(status) if status in OUTCOMES else "unfinished"


def group_by_task(runs: list[Run]) -> dict[str, list[Group]]:
    """Task title to its groups of runs; within a group only the seed differs.

    A group is named by its model, by the settings in which it differs from another group of the
    same task and model, and by how long and how large it is if any other group is not so, whatever
    its model. Of several runs with one seed, the last finished one counts.
    """
    tasks: dict[str, dict[str, tuple[dict[str, Any], list[Run]]]] = {}
    for run in runs:
        own = setting(run.metadata["config"])
        key = json.dumps([run.metadata["model"], own], sort_keys=True)
        tasks.setdefault(run.metadata["task"], {}).setdefault(key, (own, []))[1].append(run)
    return {task: _name_groups(list(groups.values())) for task, groups in tasks.items()}


def differing_keys(settings: list[dict[str, Any]]) -> list[str]:
    """The keys whose values are not the same in all of ``settings``, in the order of the names."""
    values: dict[str, set[str]] = {}
    for own in settings:
        for key, value in own.items():
            values.setdefault(key, set()).add(json.dumps(value, sort_keys=True))
    return sorted(
        key
        for key, different in values.items()
        if len(different) > 1 or any(key not in own for own in settings)
    )


def format_value(value: Any) -> str:
    """A value of a setting as an override gives it: ``null``, and ``1e+30``, not thirty digits."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.10g}"
    return value if isinstance(value, str) else json.dumps(value)


def _name_groups(groups: list[tuple[dict[str, Any], list[Run]]]) -> list[Group]:
    models: dict[str, list[dict[str, Any]]] = {}
    for own, runs in groups:
        models.setdefault(runs[0].metadata["model"], []).append(own)
    extent = set(EXTENT_KEYS) & set(differing_keys([own for own, _ in groups]))
    keys = {
        model: sorted(extent | set(differing_keys(settings))) for model, settings in models.items()
    }
    named = []
    for own, runs in groups:
        model = runs[0].metadata["model"]
        details = [f"{key.rpartition('.')[2]}={format_value(own.get(key))}" for key in keys[model]]
        named.append(Group(", ".join([model, *details]), _one_per_seed(runs), own))
    return named


def _one_per_seed(runs: list[Run]) -> list[Run]:
    ordered = sorted(runs, key=lambda r: (outcome(r) == "finished", _started(r)))
    last = {run.metadata["seed"]: run for run in ordered}
    return [last[seed] for seed in sorted(last)]


def _started(run: Run) -> tuple[float, str]:
    """When a run began: the hours of two zones, or of summer and winter, are not in order."""
    text = str(run.metadata["started"])
    try:
        return dt.datetime.fromisoformat(text).timestamp(), text
    except ValueError:
        return -math.inf, text
