"""The table of a task: groups in their rows, numbers with intervals in their cells, no layout."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.records import Run

from .columns import Column, columns, decisive
from .groups import Group, outcome
from .intervals import Interval, intervals
from .significance import Verdict, against_best, rank

MOST_LISTED = 5  # seeds whose values stand one by one; more are summed up


class Cell(NamedTuple):
    """What one column says of one group.

    Attributes:
        values: one per finished seed that has the number.
        missing: finished seeds without it.
        mean: of the values; None without any.
        bounds: the interval of the mean; None below three values and where a mean says nothing.
        text: the number for a person.
        aside: what goes with it: the interval.
    """

    values: list[float]
    missing: int
    mean: float | None
    bounds: Interval | None
    text: str
    aside: str = ""

    @property
    def line(self) -> str:
        """Number and interval on one line."""
        return f"{self.text} {self.aside}".rstrip()


class Row(NamedTuple):
    """A group, its cells by the names of their columns, and how it stands to the best group."""

    group: Group
    cells: dict[str, Cell]
    verdict: Verdict

    @property
    def hidden_size(self) -> int:
        """Units of the recurrent layer."""
        return int(self.group.runs[0].about["hidden_size"])

    @property
    def parameters(self) -> int:
        """Stored parameters."""
        return int(self.group.runs[0].about["parameters"])

    @property
    def seeds(self) -> str:
        """How many seeds finished, and how many did not in which way."""
        counts = self.group.outcomes
        others = [f"{n} {name}" for name, n in counts.items() if n and name != "finished"]
        return ", ".join([str(counts["finished"]), *others])


class Table(NamedTuple):
    """The groups of one task, the best first.

    Attributes:
        task: its title.
        columns: what is measured.
        rows: one per group.
        decisive: the column by which the groups are ranked and compared.
    """

    task: str
    columns: list[Column]
    rows: list[Row]
    decisive: Column

    def best(self, column: Column) -> list[Row]:
        """The rows with the best mean of a column; none where no way is better or all are equal."""
        if column.better is None or column.form != "mean":
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


def table(task: str, groups: list[Group]) -> Table:
    """Measure the groups of a task and rank them by its decisive number, then by validation."""
    about = groups[0].runs[0].about
    final = decisive(about)
    higher = final.better == "higher"
    has_target = any(group.runs[0].about["target_loss"] is not None for group in groups)
    found = [column for column in columns(about) if has_target or not column.needs_target]

    def order(group: Group) -> tuple[float, float]:
        validation = found[0].values(group)
        mean = statistics.fmean(validation) if validation else math.inf
        return rank(final.values(group), higher, final.log), mean

    ranked = sorted(groups, key=order)
    values = [column.values(group) for group in ranked for column in found]
    bounds = iter(intervals(values))  # of all cells at once, which is faster by far
    sampled = iter(values)
    cells = [{c.name: _cell(c, g, next(sampled), next(bounds)) for c in found} for g in ranked]
    verdicts = against_best([row[final.name].values for row in cells], higher, final.log)
    return Table(task, found, [Row(*r) for r in zip(ranked, cells, verdicts, strict=True)], final)


def _cell(column: Column, group: Group, values: list[float], bounds: Interval | None) -> Cell:
    missing = len(group.finished) - len(values)
    mean = statistics.fmean(values) if values else None
    show = column.show
    if column.form == "each" and group.runs[0].about["target_loss"] is None and column.needs_target:
        return Cell(values, missing, mean, None, "-")
    if column.form == "each":
        return Cell(values, missing, mean, None, _each(values, missing, show))
    if mean is None:
        return Cell(values, missing, None, None, "-")
    if column.form == "largest":
        return Cell(values, missing, mean, None, show(max(values)))
    aside = "" if bounds is None else f"[{show(bounds[0])}, {show(bounds[1])}]"
    return Cell(values, missing, mean, bounds, show(mean), aside)


def _each(values: list[float], missing: int, show: Callable[[float], str]) -> str:
    """The values of all seeds in their order of size; of many, the median and the ends."""
    if not values:
        return "never" if missing else "-"
    if len(values) + missing <= MOST_LISTED:
        return ", ".join([show(v) for v in sorted(values)] + ["never"] * missing)
    never = [f"{missing} never"] if missing else []
    low, high = show(min(values)), show(max(values))
    middle = show(statistics.median(values))
    return ", ".join([middle if low == high else f"{middle} ({low} to {high})", *never])
