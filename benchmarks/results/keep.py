"""What is kept of a run: its description with the resolved configuration, and its records, thinned.

The numbers that a summary needs every record for are those of the whole run; ``run.json`` holds
them, and under ``thinned`` how many records stand for how many.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.folder import look
from benchmarks.record import VALIDATION, Record, line
from benchmarks.records import ABOUT, METRICS, THINNED, Run, read
from benchmarks.storage import write_text

from .jobs import Job

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
