"""What a table says in sentences: its headline, what its marks mean, and what went wrong."""

from __future__ import annotations

from typing import NamedTuple

from .groups import outcome
from .statistics import ALPHA, MIN_SEEDS, VERDICT_WORDS, Kind, format_p
from .table import Column, GroupRow, TaskTable

INTERVALS_NOTE = (
    "Means over the seeds that finished, with 95 % percentile bootstrap intervals from three seeds "
    "on. Those of few seeds are too short: from a normal distribution they hold the true mean in "
    "75, 84 and 90 % of all cases with 3, 5 and 10 seeds."
)


class Problem(NamedTuple):
    """A run that did not finish.

    Attributes:
        group: the name of its group.
        seed: its own.
        folder: where it lies.
        outcome: failed, interrupted or unfinished.
        reason: the first line of its error, or how far it came.
        traceback: where the error arose; empty if that was not kept.
    """

    group: str
    seed: int
    folder: str
    outcome: str
    reason: str
    traceback: str

    @property
    def line(self) -> str:
        """All but the traceback on one line."""
        return f"{self.outcome}: {self.group}, seed {self.seed}: {self.reason} ({self.folder})"


def headline(table: TaskTable) -> str:
    """Who is best, by how much over the next, and whether that is more than chance."""
    column = table.decisive
    known = [row for row in table.rows if row.cells[column.name].values]
    if not known:
        return "No run has finished yet."
    best, others = known[0], known[1:]
    if not others:
        heading = f"{column.heading[:1].upper()}{column.heading[1:]}"
        return f"{heading}: {_describe_row(best, column)}."
    second = _describe_row(others[0], column)
    ranking = f"Best {column.heading}: {_describe_row(best, column)}; next {second}. "
    verdict = others[0].verdict
    comparisons: dict[Kind, str] = {
        "worse": f"The difference is significant (p {format_p(verdict.p or 0.0)}).",
        "few": f"With fewer than {MIN_SEEDS} seeds on a side the difference is not tested.",
        "flat": "No group varies with its seed, so the difference cannot be tested.",
        "alike": "The two cannot be told apart"
        + (", equal in every seed." if verdict.p is None else f" (p {format_p(verdict.p)})."),
    }
    return ranking + comparisons[verdict.kind]


def legend(table: TaskTable) -> list[str]:
    """What the numbers are, and what those marks mean that occur."""
    column = table.decisive
    kinds = {row.verdict.kind for row in table.rows}
    meanings: dict[Kind, str] = {
        "worse": "significantly worse than the best group",
        "alike": "not distinguishable from the best group",
        "few": f"fewer than {MIN_SEEDS} finished seeds here or in the best group, "
        "nothing is tested",
        "flat": "another value than that of the best group, but neither varies with the seed, "
        "so that nothing can be tested",
    }
    marks = [f"{VERDICT_WORDS[kind]}: {text}" for kind, text in meanings.items() if kind in kinds]
    scale = "the logarithm of the " if column.log else "the "
    test = (
        f"Tested by Welch's t-test on {scale}{column.heading}, two-sided at {100 * ALPHA:.0f} %, "
        "p after Holm's correction over the groups of the task."
    )
    notes = [INTERVALS_NOTE, *(["; ".join(marks) + "."] if marks else [])]
    return [*notes, *([test] if kinds & {"worse", "alike"} else [])]


def problems(table: TaskTable) -> list[Problem]:
    """The runs that did not finish, in the order of the table."""
    lines = []
    for group, run in table.problems:
        how = outcome(run)
        error = str(run.metadata.get("error") or "").strip()
        came = f"at step {run.summary['steps']}" if run.records else "before the first step"
        reason = error.splitlines()[0] if error else came
        traceback = str(run.metadata.get("traceback") or "")
        where = str(run.folder)
        lines.append(Problem(group.name, run.metadata["seed"], where, how, reason, traceback))
    return lines


def _describe_row(row: GroupRow, column: Column) -> str:
    cell = row.cells[column.name]
    count = len(cell.values)
    return f"{row.group.name}, {cell.line} over {count} seed{'s' if count > 1 else ''}"
