"""The table of a task: groups in their rows, numbers with intervals in their cells, no layout."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from benchmarks.records.run import Run
from benchmarks.records.text import REDUCED, prefix_test_scores, show_loss

from .groups import Group, outcome
from .statistics import Interval, Verdict, bootstrap_intervals, compare_with_best, ranking_score

MAX_LISTED_SEEDS = 5  # seeds whose values stand one by one; more are summed up


Better = Literal["higher", "lower"]


class Column(NamedTuple):
    """One number of a run, as a table of groups shows it.

    Attributes:
        name: of the number, in the summary of a run or, after ``test_``, among its test scores.
        heading: for a person.
        show: how a value is written.
        better: which way is better; None where neither is.
        aggregate: ``mean``, with an interval; ``each``, the value of every seed, for what some
            seeds never reach; ``largest`` over the seeds.
        latex: the heading in LaTeX, where it is not the heading.
        needs_target: whether it exists only where a task has a target.
        log: whether groups are compared by its logarithm: losses differ by orders of magnitude.
        optional: whether it is left out where no run has it.
    """

    name: str
    heading: str
    show: Callable[[float], str]
    better: Better | None = None
    aggregate: Literal["mean", "each", "largest"] = "mean"
    latex: str = ""
    needs_target: bool = False
    log: bool = False
    optional: bool = False

    def values(self, group: Group) -> list[float]:
        """Of the finished runs that have it, in the order of their seeds."""
        numbers = (
            {**run.summary, **prefix_test_scores(run.metadata["test"])} for run in group.finished
        )
        return [n[self.name] for n in numbers if n.get(self.name) is not None]


class Cell(NamedTuple):
    """What one column says of one group.

    Attributes:
        values: one per finished seed that has the number.
        missing: finished seeds without it.
        mean: of the values; None without any.
        bounds: the interval of the mean; None below three values and where a mean says nothing.
        text: the number for a person.
        interval: in brackets, for a person; empty without bounds.
    """

    values: list[float]
    missing: int
    mean: float | None
    bounds: Interval | None
    text: str
    interval: str = ""

    @property
    def line(self) -> str:
        """Number and interval on one line."""
        return f"{self.text} {self.interval}".rstrip()


class GroupRow(NamedTuple):
    """A group, its cells by the names of their columns, and how it stands to the best group."""

    group: Group
    cells: dict[str, Cell]
    verdict: Verdict

    @property
    def hidden_size(self) -> int:
        """Units of the recurrent layer."""
        return int(self.group.runs[0].metadata["hidden_size"])

    @property
    def parameters(self) -> int:
        """Stored parameters."""
        return int(self.group.runs[0].metadata["parameters"])

    @property
    def seeds(self) -> str:
        """How many seeds finished, and how many did not in which way."""
        counts = self.group.outcomes
        others = [f"{n} {name}" for name, n in counts.items() if n and name != "finished"]
        return ", ".join([str(counts["finished"]), *others])


class TaskTable(NamedTuple):
    """The groups of one task, the best first.

    Attributes:
        task: its title.
        columns: what is measured.
        rows: one per group.
        decisive: the column by which the groups are ranked and compared.
    """

    task: str
    columns: list[Column]
    rows: list[GroupRow]
    decisive: Column

    def best(self, column: Column) -> list[GroupRow]:
        """The rows with the best mean of a column; none where no way is better or all are equal."""
        if column.better is None or column.aggregate != "mean":
            return []
        means = {k: r.cells[column.name].mean for k, r in enumerate(self.rows)}
        known = {mean for mean in means.values() if mean is not None}
        if len(known) < 2:
            return []
        top = (max if column.better == "higher" else min)(known)
        return [self.rows[k] for k, mean in means.items() if mean == top]

    @property
    def problems(self) -> list[tuple[Group, Run]]:
        """The runs that did not finish, with their groups."""
        return [
            (row.group, run)
            for row in self.rows
            for run in row.group.runs
            if outcome(run) != "finished"
        ]


def _format_count(value: float) -> str:
    return f"{value:.0f}"


def _format_digits(value: float) -> str:
    return f"{value:.3g}"


def _format_power(value: float) -> str:
    return f"{value:.0e}"


_LOSSES = (
    Column("best_validation_loss", "best validation loss", show_loss, "lower", log=True),
    Column("test_loss", "test loss", show_loss, "lower", log=True),
)
_STAGES = (
    Column("stage_length", "longest words trained on", _format_count, "higher", optional=True),
    Column("stage_loss", "training loss there", show_loss, "lower", log=True, optional=True),
)
_SPEEDS = (
    Column("steps_below_baseline", "steps to beat the baseline", _format_count, "lower", "each"),
    Column("steps_to_target", "steps to target", _format_count, "lower", "each", needs_target=True),
    Column(
        "seconds_to_target", "seconds to target", _format_count, "lower", "each", needs_target=True
    ),
    Column("steps_per_second", "steps/s", _format_digits, "higher"),
    Column(
        "largest_orthogonality_error",
        "‖WᵀW-I‖",
        _format_power,
        "lower",
        "largest",
        latex=r"$\Vert W^\top W - I\Vert$",
    ),
)


def make_table(task: str, groups: list[Group]) -> TaskTable:
    """Measure the groups of a task and rank them by its decisive number, then by validation."""
    metadata = groups[0].runs[0].metadata
    final = decisive_column(metadata)
    streams = [group.runs[0].metadata.get("stream") or {} for group in groups]
    longest = max(streams, key=lambda stream: len(stream.get("metrics", {})))
    higher = final.better == "higher"
    has_target = any(group.runs[0].metadata["target_loss"] is not None for group in groups)
    measured = [
        column
        for column in task_columns({**metadata, "stream": longest})
        if (has_target or not column.needs_target)
        and (not column.optional or any(map(column.values, groups)))
    ]

    def order(group: Group) -> tuple[float, float]:
        validation = measured[0].values(group)
        mean = statistics.fmean(validation) if validation else math.inf
        return ranking_score(final.values(group), higher, final.log), mean

    ranked = sorted(groups, key=order)
    values = [column.values(group) for group in ranked for column in measured]
    bounds = iter(bootstrap_intervals(values))  # of all cells at once, which is faster by far
    sampled = iter(values)
    cells = [
        {c.name: _make_cell(c, g, next(sampled), next(bounds)) for c in measured} for g in ranked
    ]
    verdicts = compare_with_best([row[final.name].values for row in cells], higher, final.log)
    return TaskTable(
        task, measured, [GroupRow(*r) for r in zip(ranked, cells, verdicts, strict=True)], final
    )


def _make_cell(column: Column, group: Group, values: list[float], bounds: Interval | None) -> Cell:
    missing = len(group.finished) - len(values)
    mean = statistics.fmean(values) if values else None
    show = column.show
    if (
        column.aggregate == "each"
        and group.runs[0].metadata["target_loss"] is None
        and column.needs_target
    ):
        return Cell(values, missing, mean, None, "-")
    if column.aggregate == "each":
        return Cell(values, missing, mean, None, _format_each(values, missing, show))
    if mean is None:
        return Cell(values, missing, None, None, "-")
    if column.aggregate == "largest":
        return Cell(values, missing, mean, None, show(max(values)))
    interval = "" if bounds is None else f"[{show(bounds[0])}, {show(bounds[1])}]"
    return Cell(values, missing, mean, bounds, show(mean), interval)


def _format_each(values: list[float], missing: int, show: Callable[[float], str]) -> str:
    """The values of all seeds in their order of size; of many, the median and the ends."""
    if not values:
        return "never" if missing else "-"
    if len(values) + missing <= MAX_LISTED_SEEDS:
        return ", ".join([show(v) for v in sorted(values)] + ["never"] * missing)
    never = [f"{missing} never"] if missing else []
    low, high = show(min(values)), show(max(values))
    middle = show(statistics.median(values))
    return ", ".join([middle if low == high else f"{middle} ({low} to {high})", *never])


def task_columns(metadata: dict[str, Any]) -> list[Column]:
    """Those of the task of a run, by its ``run.json``: losses, test scores, speeds."""
    scores = [_score_column(name, metric) for name, metric in _test_metrics(metadata).items()]
    return [*_LOSSES, *scores, *_STAGES, *_SPEEDS]


def decisive_column(metadata: dict[str, Any]) -> Column:
    """What ranks the groups: the first metric of the task on the test set, or the loss there."""
    for name, metric in _test_metrics(metadata).items():
        return _score_column(name, metric)
    return _LOSSES[1]


def _test_metrics(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The scores of a run's end beside the loss: on a stream, if there is one, and the others."""
    return {**(metadata.get("stream") or {}).get("metrics", {}), **metadata["metrics"]}


def _score_column(name: str, metric: dict[str, Any]) -> Column:
    show = f"{{:{metric['show']}}}".format
    heading = f"test {name.replace('_', ' ')}"
    optional = name.startswith(REDUCED)
    return Column(f"test_{name}", heading, show, metric["better"], optional=optional)
