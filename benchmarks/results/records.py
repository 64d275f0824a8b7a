"""What is kept of a run: its description with the resolved configuration, and its records, thinned.

The numbers that a summary needs every record for are those of the whole run; ``run.json`` holds
them, and under ``thinned`` how many records stand for how many.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.comparison.groups import shown
from benchmarks.config.fingerprint import setting
from benchmarks.records.files import ABOUT, METRICS, THINNED
from benchmarks.records.record import VALIDATION, Record, line
from benchmarks.records.run import Run, read
from benchmarks.runs.folder import look
from benchmarks.system.atomic_files import write_text

from .definition import Experiment, Job, jobs

RECORDS = "records"  # the folder of the runs of an experiment
MOST = 1_000_000  # bytes of all records of an experiment
DIGITS = 5


def keep(jobs: Sequence[Job], runs: Path, folder: Path) -> list[Job]:
    """Copy what is over, from below the folder for all runs to an experiment's, thinned.

    Args:
        jobs: all runs of the experiment.
        runs: the folder for all runs.
        folder: the experiment's.

    Returns those that have been kept.

    Raises:
        OSError: if a file cannot be read or written.
        ValueError: if a run is damaged.
    """
    done = []
    for job in tqdm(jobs, "keeping", delay=2, disable=None, leave=False, unit=" runs"):
        source = runs / job.composed().folder
        if over(source):
            write(read(source), folder / RECORDS / job.folder, MOST // len(jobs))
            done.append(job)
    return done


def over(run: Path) -> bool:
    """Whether the run in a folder has finished or diverged, and so is one to keep.

    Raises:
        ConfigError: if it cannot be read.
    """
    about = look(run)
    if about is None:
        return False
    diverged = about["status"] == "failed" and about.get("traceback") is None
    return about["status"] == "finished" or diverged


def kept(job: Job, folder: Path) -> Run | None:
    """A run of an experiment as it was kept; None if it was not."""
    path = folder / RECORDS / job.folder
    return read(path) if (path / ABOUT).is_file() else None


def write(run: Run, folder: Path, most: int) -> None:
    """Keep a run in at most so many bytes of records, or in those that cannot be left out."""
    records = thin(run.records, most)
    about = {**run.about, THINNED: {"of": len(run.records), "kept": len(records)}}
    if about["error"] is not None:  # which names files of the machine
        about["error"] = about["error"].replace(f"{run.folder.resolve()}{os.sep}", "")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / METRICS, "".join(line(record) for record in records))
    write_text(folder / ABOUT, json.dumps(about, indent=1) + "\n")


def thin(records: list[Record], most: int) -> list[Record]:
    """Every k-th record, the first and the last, and those with validation scores, rounded.

    k is the least power of two with which they take at most ``most`` bytes as lines of JSON, where
    any is: so what is kept of one run is kept of its neighbour too, or half of it.
    """
    rounded = [{name: _round(value) for name, value in record.items()} for record in records]
    sizes = [len(line(record)) for record in rounded]
    needed = {0, len(records) - 1} | {
        k for k, r in enumerate(records) if any(name.startswith(VALIDATION) for name in r)
    }
    every = 1
    while True:
        chosen = [k for k in range(len(rounded)) if (k + 1) % every == 0 or k in needed]
        if every > len(rounded) or sum(sizes[k] for k in chosen) <= most:
            return [rounded[k] for k in chosen]
        every *= 2


def _round(value: float) -> float:
    if isinstance(value, int) or not math.isfinite(value):
        return value
    return float(f"{value:.{DIGITS}g}")


CLOSE = 1e-3  # relative; the records are rounded


def faults(experiment: Experiment, folder: Path) -> Iterator[str]:
    """A line for everything that is wrong with the records of an experiment."""
    tasks = set()
    wanted = jobs(experiment)
    for job in tqdm(wanted, folder.name, delay=2, disable=None, leave=False, unit=" runs"):
        run = kept(job, folder)
        if run is not None:
            tasks.add(run.about["task"])
            told = [*differences(job, run), *_gaps(run)]
            yield from (f"{folder.name}/{RECORDS}/{job.folder}: {line}" for line in told)
    if len(tasks) > 1:
        yield f"{folder.name}: records of several tasks: {'; '.join(sorted(tasks))}"
    known = {job.folder for job in wanted}
    for path in sorted((folder / RECORDS).glob("*")):
        if path.name not in known:
            yield f"{folder.name}/{RECORDS}/{path.name} belongs to no run of the experiment"


def is_there(job: Job, folder: Path) -> bool:
    """Whether a run of an experiment has been kept, and as it is defined."""
    run = kept(job, folder)
    return run is not None and not list(differences(job, run))


def differences(job: Job, run: Run) -> Iterator[str]:
    """What a run that was kept has other than the definition says.

    A key that came after the run, or has gone since, counts as null.
    """
    there = setting(run.about["config"])
    here = _defined(job._replace(seed=0))
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key):
            yield f"it has {key}={shown(there.get(key))}, the definition {shown(here.get(key))}"
    for key, value in (("seed", job.seed), ("threads", 1)):
        if run.about[key] != value:
            yield f"it has {key} {run.about[key]}, not {value}"
    if run.about["config"]["seed"] != job.seed:
        yield f"its configuration has seed {run.about['config']['seed']}, not {job.seed}"


@cache
def _defined(job: Job) -> dict[str, Any]:
    """The setting of a run as it is defined; of all seeds at once, for they do not matter to it."""
    return setting(job.composed().config)


def _gaps(run: Run) -> Iterator[str]:
    """Where the summary and the records of a run contradict each other."""
    held = run.about[THINNED]["kept"]
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
    target = run.about["target_loss"]
    hit = summary["steps_to_target"]
    if hit is not None and not any(r["loss"] < target for r in run.records if r["step"] >= hit):
        yield f"steps_to_target {hit}, but no loss below {target} from there on"
    for name, told, found in pairs:
        if not math.isclose(_number(told), _number(found), rel_tol=CLOSE, abs_tol=1e-6):
            yield f"{name} {told} in its summary, {found} in its records"


def _number(value: float | None) -> float:
    """A number that can be compared: inf for none."""
    return math.inf if value is None or math.isnan(value) else value
