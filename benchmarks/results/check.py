"""What is wrong with the kept runs of an experiment: not as defined, or against themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.comparison.groups import shown
from benchmarks.config.fingerprint import setting
from benchmarks.records.files import THINNED
from benchmarks.records.run import Run

from .archive import load_kept
from .definition import Experiment, Job, jobs

CLOSE = 1e-3  # relative; the records are rounded


def faults(experiment: Experiment, folder: Path) -> Iterator[str]:
    """A line for everything that is wrong with the records of an experiment."""
    tasks = set()
    wanted, kept = jobs(experiment), load_kept(folder)
    for job in tqdm(wanted, folder.name, delay=2, disable=None, leave=False, unit=" runs"):
        run = kept.get(job.folder)
        if run is not None:
            tasks.add(run.metadata["task"])
            told = [*differences(job, run), *_gaps(run)]
            yield from (f"{folder.name}/{job.folder}: {line}" for line in told)
    if len(tasks) > 1:
        yield f"{folder.name}: records of several tasks: {'; '.join(sorted(tasks))}"
    for name in sorted(kept.keys() - {job.folder for job in wanted}):
        yield f"{folder.name}/{name} belongs to no run of the experiment"


def as_defined(job: Job, run: Run | None) -> bool:
    """Whether a run of an experiment has been kept, and as it is defined."""
    return run is not None and not any(differences(job, run))


def differences(job: Job, run: Run) -> Iterator[str]:
    """What a run that was kept has other than the definition says.

    A key that came after the run, or has gone since, counts as null.
    """
    there = setting(run.metadata["config"])
    here = _defined(job._replace(seed=0))
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key):
            yield f"it has {key}={shown(there.get(key))}, the definition {shown(here.get(key))}"
    for key, value in (("seed", job.seed), ("threads", 1)):
        if run.metadata[key] != value:
            yield f"it has {key} {run.metadata[key]}, not {value}"
    if run.metadata["config"]["seed"] != job.seed:
        yield f"its configuration has seed {run.metadata['config']['seed']}, not {job.seed}"


@cache
def _defined(job: Job) -> dict[str, Any]:
    """The setting of a run as it is defined; of all seeds at once, for they do not matter to it."""
    return setting(job.composed().config)


def _gaps(run: Run) -> Iterator[str]:
    """Where the summary and the records of a run contradict each other."""
    held = run.metadata[THINNED]["kept"]
    if held != len(run.records):
        yield f"{len(run.records)} records, {held} were kept"
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
    for name, told, found in pairs:
        if not math.isclose(_number(told), _number(found), rel_tol=CLOSE, abs_tol=1e-6):
            yield f"{name} {told} in its summary, {found} in its records"


def _number(value: float | None) -> float:
    """A number that can be compared: inf for none."""
    return math.inf if value is None or math.isnan(value) else value
