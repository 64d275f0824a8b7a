"""The table as Markdown, for the terminal."""

from __future__ import annotations

from benchmarks.comparison.sentences import legend, problems
from benchmarks.comparison.statistics import describe_verdict
from benchmarks.comparison.table import TaskTable
from benchmarks.records.markdown import markdown_table


def markdown_text(table: TaskTable) -> str:
    """Title, table, what its marks mean, and the runs that did not finish."""
    headings = [column.heading for column in table.columns]
    rows = [["model", "hidden", "parameters", "seeds", *headings, "against the best"]]
    for row in table.rows:
        facts = [row.group.name, str(row.hidden_size), f"{row.parameters:,}", row.seeds]
        measured = [row.cells[column.name].line for column in table.columns]
        rows.append([*facts, *measured, describe_verdict(row.verdict)])
    wrong = "\n".join(problem.line for problem in problems(table))
    parts = [table.task, markdown_table(rows, aligned=True), "\n".join(legend(table)), wrong]
    return "\n\n".join(filter(None, parts))
