"""What a table says in sentences: its headline, what its marks mean, and what went wrong."""

from __future__ import annotations

from typing import NamedTuple

from .groups import outcome
from .statistics import ALPHA, LEAST, WORDS, Kind, show_p
from .table import Column, Row, Table

INTERVALS = (
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


def headline(table: Table) -> str:
    """Who is best, by how much over the next, and whether that is more than chance."""
    column = table.decisive
    known = [row for row in table.rows if row.cells[column.name].values]
    if not known:
        return "No run has finished yet."
    best, others = known[0], known[1:]
    if not others:
        return f"{column.heading[:1].upper()}{column.heading[1:]}: {_said(best, column)}."
    second = others[0]
    text = f"Best {column.heading}: {_said(best, column)}; next {_said(second, column)}. "
    verdict = second.verdict
    told: dict[Kind, str] = {
        "worse": f"The difference is significant (p {show_p(verdict.p or 0.0)}).",
        "few": f"With fewer than {LEAST} seeds on a side the difference is not tested.",
        "flat": "No group varies with its seed, so the difference cannot be tested.",
        "alike": "The two cannot be told apart"
        + (", equal in every seed." if verdict.p is None else f" (p {show_p(verdict.p)})."),
    }
    return text + told[verdict.kind]


def legend(table: Table) -> list[str]:
    """What the numbers are, and what those marks mean that occur."""
    column = table.decisive
    kinds = {row.verdict.kind for row in table.rows}
    meanings: dict[Kind, str] = {
        "worse": "significantly worse than the best group",
        "alike": "not distinguishable from the best group",
        "few": f"fewer than {LEAST} finished seeds here or in the best group, nothing is tested",
        "flat": "another value than that of the best group, but neither varies with the seed, "
        "so that nothing can be tested",
    }
    marks = [f"{WORDS[kind]}: {text}" for kind, text in meanings.items() if kind in kinds]
    scale = "the logarithm of the " if column.log else "the "
    test = (
        f"Tested by Welch's t-test on {scale}{column.heading}, two-sided at {100 * ALPHA:.0f} %, "
        "p after Holm's correction over the groups of the task."
    )
    told = ["; ".join(marks) + "."] if marks else []
    return [INTERVALS, *told, *([test] if kinds & {"worse", "alike"} else [])]


def problems(table: Table) -> list[Problem]:
    """The runs that did not finish, in the order of the table."""
    found = []
    for group, run in table.problems:
        how = outcome(run)
        error = str(run.metadata.get("error") or "").strip()
        came = f"at step {run.summary['steps']}" if run.records else "before the first step"
        reason = error.splitlines()[0] if error else came
        traceback = str(run.metadata.get("traceback") or "")
        where = str(run.folder)
        found.append(Problem(group.name, run.metadata["seed"], where, how, reason, traceback))
    return found


def _said(row: Row, column: Column) -> str:
    cell = row.cells[column.name]
    count = len(cell.values)
    return f"{row.group.name}, {cell.line} over {count} seed{'s' if count > 1 else ''}"
