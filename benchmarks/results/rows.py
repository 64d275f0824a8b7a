"""A row of a table of results: the kept runs of one setting, and its numbers as cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.comparison.groups import Group
from benchmarks.comparison.table import Column, task_columns
from benchmarks.config.fingerprint import setting
from benchmarks.records.run import Run
from benchmarks.records.text import prefix_test_scores

from .definition import DefinitionError, Experiment
from .planned_runs import planned_runs

NOT_RUN, DIVERGED, MISSING = "not run", "diverged", "-"
NOT_REACHED = ">"  # of steps: not within the run


class ResultRow(NamedTuple):
    """The kept runs that differ by their seed alone.

    Attributes:
        name: of its row in the definition.
        label: the name, in a search with what tells the setting from the others of that name.
        overrides: those of its setting.
        runs: one per seed; None for one that was not run.
    """

    name: str
    label: str
    overrides: tuple[str, ...]
    runs: tuple[Run | None, ...]

    @property
    def kept(self) -> list[Run]:
        """The runs that there are."""
        return [run for run in self.runs if run is not None]

    @property
    def group(self) -> Group:
        """The same, as ``benchmarks.compare`` takes it."""
        return Group(self.label, self.kept, setting(self.kept[0].metadata["config"]))


def make_rows(experiment: Experiment, kept: Mapping[str, Run]) -> list[ResultRow]:
    """The rows of an experiment from the runs that were kept of it, by their names."""
    rows: dict[str, ResultRow] = {}
    for run in planned_runs(experiment):
        row = rows.get(run.label) or ResultRow(run.row, run.label, run.overrides, ())
        rows[run.label] = row._replace(runs=(*row.runs, kept.get(run.name)))
    return list(rows.values())


def find_column(name: str, rows: Sequence[ResultRow]) -> Column:
    """The column of a number, by the first run that there is.

    Raises:
        DefinitionError: if no run has such a number.
    """
    first = next((run for row in rows for run in row.kept), None)
    if first is None:
        return Column(name, name.replace("_", " "), str)
    columns = {column.name: column for column in task_columns(first.metadata)}
    if name not in columns:
        raise DefinitionError(f"no number {name!r}; there are: {', '.join(columns)}")
    return columns[name]


def format_cell(row: ResultRow, column: Column) -> str:
    """The number of every seed in its place, in words where there is none."""
    cells = [NOT_RUN if run is None else _format_number(run, column) for run in row.runs]
    words = cells[0] in (NOT_RUN, DIVERGED, MISSING) or cells[0].startswith(NOT_REACHED)
    return cells[0] if words and len(set(cells)) == 1 else ", ".join(cells)


def single_seed_mark(row: ResultRow) -> str:
    """The mark of a number that rests on a single seed, in a table of others that rest on more."""
    return " (one seed)" if len(row.runs) == 1 and row.kept else ""


def best_settings(rows: Sequence[ResultRow], numbers: Sequence[str]) -> dict[str, ResultRow]:
    """The best row of each name by the means over its seeds; the first of equals.

    Args:
        rows: of a search.
        numbers: the smaller the better, or the larger, as each says of itself; where one is
            missing or equal, the next decides.
    """
    signs = {name: -1 if find_column(name, rows).better == "higher" else 1 for name in numbers}

    def order(row: ResultRow) -> list[float]:
        means = {name: _mean(row, name) for name in numbers}
        return [
            sign * means[name] if means[name] < math.inf else math.inf
            for name, sign in signs.items()
        ]

    known = [row for row in rows if row.kept]
    best: dict[str, ResultRow] = {}
    for row in sorted(known, key=order):
        best.setdefault(row.name, row)
    return {row.name: best[row.name] for row in known}  # in the order of the rows


def _format_number(run: Run, column: Column) -> str:
    if run.metadata["status"] != "finished":
        return DIVERGED
    value = _run_number(run, column.name)
    if value is not None:
        return column.show(value)
    steps = column.aggregate == "each" and column.name.startswith("steps")
    return f"{NOT_REACHED} {run.summary['steps']}" if steps else MISSING


def _mean(row: ResultRow, name: str) -> float:
    """Over the seeds; inf where one has no such number, or none that is finite."""
    values = [_run_number(run, name) for run in row.kept]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return sum(finite) / len(finite) if len(finite) == len(row.runs) else math.inf


def _run_number(run: Run, name: str) -> float | None:
    """A number of a run, as ``benchmarks.compare`` takes it: None of one that has not finished."""
    value = {**run.summary, **prefix_test_scores(run.metadata["test"])}.get(name)
    return None if value is None or run.metadata["status"] != "finished" else float(value)
