"""The table as Markdown, for the terminal."""

from __future__ import annotations

from benchmarks.comparison.sentences import legend, problems
from benchmarks.comparison.statistics import words
from benchmarks.comparison.table import Table


def markdown(table: Table) -> str:
    """Title, table, what its marks mean, and the runs that did not finish."""
    header = ["model", "hidden", "parameters", "seeds"]
    header += [*(column.heading for column in table.columns), "against the best"]
    rows = [header, ["---"] * len(header)]
    for r in table.rows:
        facts = [r.group.name, str(r.hidden_size), f"{r.parameters:,}", r.seeds]
        measured = [r.cells[column.name].line for column in table.columns]
        rows.append([*facts, *measured, words(r.verdict)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = []
    for row in rows:
        cells = [
            cell.replace("|", r"\|").ljust(width, "-" if cell == "---" else " ")
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    parts = [table.task, "\n".join(lines), "\n".join(legend(table))]
    wrong = [problem.line for problem in problems(table)]
    return "\n\n".join([*parts, *(["\n".join(wrong)] if wrong else [])])
