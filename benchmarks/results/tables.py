"""The tables as Markdown: of one experiment, of a search, over several experiments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.comparison.groups import Group
from benchmarks.comparison.table import Column, columns
from benchmarks.config.fingerprint import setting
from benchmarks.records.markdown import markdown_table
from benchmarks.records.run import Run
from benchmarks.records.text import prefix_test_scores

from .archive import load_kept
from .definition import RESULTS, DefinitionError, Digest, Experiment, Summary, jobs, load


def of_experiment(experiment: Experiment, found: Sequence[Line]) -> str:
    """One row per line: its size, and the reported numbers of all seeds."""
    if experiment.choose:
        return of_search(experiment, found)
    columns = [column(name, found) for name in experiment.columns]
    head = ["model", "H", "parameters", *(c.heading for c in columns)]
    rows = [[line.label, *_sizes(line), *(cell(line, c) for c in columns)] for line in found]
    return markdown_table([head, *rows])


def of_search(experiment: Experiment, found: Sequence[Line]) -> str:
    """One row per name: how many settings were tried, which was chosen, what it reached."""
    columns = [column(name, found) for name in experiment.choose]
    rows = [["model", "settings tried", "chosen", *(c.heading for c in columns)]]
    for name, best in chosen(experiment, found).items():
        tried = [line for line in found if line.row == name and line.known]
        told = best.label.removeprefix(name).removeprefix(", ")
        rows.append(
            [
                name,
                str(len(tried)),
                f"`{told}`" if told else NONE,
                *(cell(best, c) for c in columns),
            ]
        )
    return markdown_table(rows)


def of_summary(summary: Summary, results: Path = RESULTS) -> str:
    """One row per name, over several experiments; without those of which nothing was run."""
    sources = {c.experiment: lines(c.experiment, results)[1] for c in summary.columns}
    columns = [c for c in summary.columns if any(line.known for line in sources[c.experiment])]
    names = summary.rows or list(
        dict.fromkeys(line.label for found in sources.values() for line in found)
    )
    rows = [[summary.head, *(c.heading for c in columns)]]
    for name in names:
        told = []
        for c in columns:
            found = sources[c.experiment]
            line = next((line for line in found if line.label == name), None)
            told.append(NONE if line is None else cell(line, column(c.number, found)) + lone(line))
        rows.append([name, *told])
    return markdown_table(rows)


def of_digest(digest: Digest, results: Path = RESULTS) -> str:
    """One row per experiment of which anything was run, with one number of all its lines."""
    rows = []
    for what, name in digest.parts.items():
        found = lines(name, results)[1]
        known = [line for line in found if line.known]
        if known:
            shown = column(digest.number, found)
            told = [f"{line.label}: {cell(line, shown)}{lone(line)}" for line in known]
            rows.append([what, "; ".join(told)])
    return markdown_table([["", digest.heading], *rows]) if rows else "Not run yet."


def _sizes(line: Line) -> tuple[str, str]:
    if not line.known:
        return NONE, NONE
    metadata = line.known[0].metadata
    return str(metadata["hidden_size"]), f"{metadata['parameters']:,}"


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
        return Group(self.label, self.known, setting(self.known[0].metadata["config"]))


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
    kept = load_kept(results / name)
    for job in jobs(experiment):
        line = found.get(job.label) or Line(job.row, job.label, job.overrides, ())
        found[job.label] = line._replace(runs=(*line.runs, kept.get(job.folder)))
    return experiment, list(found.values())


def column(name: str, found: Sequence[Line]) -> Column:
    """The column of a number, by the first run that there is.

    Raises:
        DefinitionError: if no run has such a number.
    """
    first = next((run for line in found for run in line.known), None)
    if first is None:
        return Column(name, name.replace("_", " "), str)
    there = {c.name: c for c in columns(first.metadata)}
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
    if run.metadata["status"] != "finished":
        return DIVERGED
    value = _number(run, col.name)
    if value is not None:
        return col.show(value)
    steps = col.form == "each" and col.name.startswith("steps")
    return f"{BEYOND} {run.summary['steps']}" if steps else NONE


def _number(run: Run, name: str) -> float | None:
    """A number of a run, as ``benchmarks.compare`` takes it: None of one that has not finished."""
    found = {**run.summary, **prefix_test_scores(run.metadata["test"])}.get(name)
    return None if found is None or run.metadata["status"] != "finished" else float(found)
