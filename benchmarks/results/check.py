"""What is wrong with the kept runs of an experiment: not as defined, or against themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from tqdm import tqdm

from benchmarks.comparison.groups import format_value
from benchmarks.config.fingerprint import setting
from benchmarks.records.files import THINNED
from benchmarks.records.run import Run

from .definition import Experiment
from .planned_runs import PlannedRun, planned_runs

RELATIVE_TOLERANCE = 1e-3  # the records are rounded


def find_faults(name: str, experiment: Experiment, kept: Mapping[str, Run]) -> Iterator[str]:
    """A line for everything that is wrong with the kept runs of an experiment.

    Args:
        name: of the experiment.
        experiment: its definition.
        kept: the runs by their names.
    """
    tasks = set()
    planned = planned_runs(experiment)
    for plan in tqdm(planned, name, delay=2, disable=None, leave=False, unit=" runs"):
        run = kept.get(plan.name)
        if run is not None:
            tasks.add(run.metadata["task"])
            for fault in (*differences(plan, run), *_contradictions(run)):
                yield f"{name}/{plan.name}: {fault}"
    if len(tasks) > 1:
        yield f"{name}: records of several tasks: {'; '.join(sorted(tasks))}"
    for other in sorted(kept.keys() - {plan.name for plan in planned}):
        yield f"{name}/{other} belongs to no run of the experiment"


def as_defined(plan: PlannedRun, run: Run | None) -> bool:
    """Whether a run of an experiment has been kept, and as it is defined."""
    return run is not None and not any(differences(plan, run))


def differences(plan: PlannedRun, run: Run) -> Iterator[str]:
    """What a kept run has other than the definition says.

    A key that came after the run, or has gone since, counts as null.
    """
    kept, defined = setting(run.metadata["config"]), _defined_setting(plan._replace(seed=0))
    for key in sorted(kept.keys() | defined.keys()):
        values = kept.get(key), defined.get(key)
        if values[0] != values[1]:
            has, wanted = map(format_value, values)
            yield f"it has {key}={has}, the definition {wanted}"
    for key, value in (("seed", plan.seed), ("threads", 1)):
        if run.metadata[key] != value:
            yield f"it has {key} {run.metadata[key]}, not {value}"
    if run.metadata["config"]["seed"] != plan.seed:
        yield f"its configuration has seed {run.metadata['config']['seed']}, not {plan.seed}"


@cache
def _defined_setting(plan: PlannedRun) -> dict[str, Any]:
    """The setting of a run as it is defined; of all seeds at once, for they do not matter to it."""
    return setting(plan.composed().config)


def _contradictions(run: Run) -> Iterator[str]:
    """Where the summary and the records of a run contradict each other."""
    count = run.metadata[THINNED]["kept"]
    if count != len(run.records):
        yield f"{len(run.records)} records, {count} were kept"
    if not run.records:
        return
    last, summary = run.records[-1], run.summary
    validated = [r["validation_loss"] for r in run.records if "validation_loss" in r]
    pairs = [
        ("steps", summary["steps"], last["step"]),
        ("seconds", summary["seconds"], last["seconds"]),
        ("best_validation_loss", summary["best_validation_loss"], min(validated, default=None)),
    ]
    target = run.metadata["target_loss"]
    hit = summary["steps_to_target"]
    if hit is not None and not any(r["loss"] < target for r in run.records if r["step"] >= hit):
        yield f"steps_to_target {hit}, but no loss below {target} from there on"
    for name, summed, recorded in pairs:
        close = math.isclose(
            _or_inf(summed), _or_inf(recorded), rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-6
        )
        if not close:
            yield f"{name} {summed} in its summary, {recorded} in its records"


def _or_inf(value: float | None) -> float:
    """A number that can be compared: inf for none."""
    return math.inf if value is None or math.isnan(value) else value
