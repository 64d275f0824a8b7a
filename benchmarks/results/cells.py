"""What is reported of a row: the number of each seed, in the order of the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.comparison.columns import Column, columns
from benchmarks.comparison.groups import Group
from benchmarks.records import Run, prefixed
from benchmarks.setting import setting

from .experiment import RESULTS, DefinitionError, Experiment, load
from .jobs import jobs
from .keep import kept

WORDS = NOT_RUN, DIVERGED, NONE = "not run", "diverged", "-"
BEYOND = ">"  # of steps: not within the run


class Line(NamedTuple):
    """What was kept of the runs that differ by their seed alone.

    Attributes:
        row: the name of the row.
        label: of the group; the row's, or with what tells it from the others of a search.
        overrides: those of its setting.
        runs: one per seed; None for one that was not run.
    """

    row: str
    label: str
    overrides: tuple[str, ...]
    runs: tuple[Run | None, ...]

    @property
    def known(self) -> list[Run]:
        """The runs that there are."""
        return [run for run in self.runs if run is not None]

    @property
    def group(self) -> Group:
        """The same, as ``benchmarks.compare`` takes it."""
        return Group(self.label, self.known, setting(self.known[0].about["config"]))


def lines(name: str, results: Path = RESULTS) -> tuple[Experiment, list[Line]]:
    """An experiment and its lines.

    Raises:
        DefinitionError: if there is no such experiment of runs.
        OSError: if a record cannot be read.
        ValueError: if one is damaged.
    """
    experiment = load(name, results)
    if not isinstance(experiment, Experiment):
        raise DefinitionError(f"{name} has no runs")
    found: dict[str, Line] = {}
    for job in jobs(experiment):
        run = kept(job, results / name)
        line = found.get(job.label) or Line(job.row, job.label, job.overrides, ())
        found[job.label] = line._replace(runs=(*line.runs, run))
    return experiment, list(found.values())


def column(name: str, found: Sequence[Line]) -> Column:
    """The column of a number, by the first run that there is.

    Raises:
        DefinitionError: if no run has such a number.
    """
    first = next((run for line in found for run in line.known), None)
    if first is None:
        return Column(name, name.replace("_", " "), str)
    there = {c.name: c for c in columns(first.about)}
    if name not in there:
        raise DefinitionError(f"no number {name!r}; there are: {', '.join(there)}")
    return there[name]


def cell(line: Line, col: Column) -> str:
    """The number of every seed in its place, in words where there is none."""
    told = [NOT_RUN if run is None else _one(run, col) for run in line.runs]
    if len(set(told)) == 1 and (told[0] in WORDS or told[0].startswith(BEYOND)):
        return told[0]
    return ", ".join(told)


def lone(line: Line) -> str:
    """The mark of a number that rests on a single seed, in a table of others that rest on more."""
    return " (one seed)" if len(line.runs) == 1 and line.known else ""


def score(line: Line, names: Sequence[str]) -> tuple[float, ...]:
    """What a search goes by: the means of numbers over the seeds, inf where one has none."""
    means = []
    for name in names:
        found = [_number(run, name) for run in line.known]
        known = [value for value in found if value is not None and math.isfinite(value)]
        means.append(sum(known) / len(known) if len(known) == len(line.runs) else math.inf)
    return tuple(means)


def chosen(experiment: Experiment, found: Sequence[Line]) -> dict[str, Line]:
    """The best line of each row of a search, by ``choose``; the first of equals."""
    best: dict[str, Line] = {}
    for line in found:
        if not line.known:
            continue
        before = best.get(line.row)
        if before is None or score(line, experiment.choose) < score(before, experiment.choose):
            best[line.row] = line
    return best


def _one(run: Run, col: Column) -> str:
    if run.about["status"] != "finished":
        return DIVERGED
    value = _number(run, col.name)
    if value is not None:
        return col.show(value)
    steps = col.form == "each" and col.name.startswith("steps")
    return f"{BEYOND} {run.summary['steps']}" if steps else NONE


def _number(run: Run, name: str) -> float | None:
    """A number of a run, as ``benchmarks.compare`` takes it: None of one that has not finished."""
    found = {**run.summary, **prefixed(run.about["test"])}.get(name)
    return None if found is None or run.about["status"] != "finished" else float(found)
