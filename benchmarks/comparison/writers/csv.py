"""The tables as CSV, for other programs: full precision, one row per task and group."""

from __future__ import annotations

import csv
import io

from benchmarks.comparison.groups import OUTCOMES
from benchmarks.comparison.table import GroupRow, TaskTable

FACT_COLUMNS = ("task", "group", "model", "hidden_size", "parameters", "degrees_of_freedom")
VERDICT_COLUMNS = ("against_best", "p_holm")


def csv_text(tables: list[TaskTable]) -> str:
    """All tables in one; what a task does not measure is empty in its rows.

    Of a number NAME there are ``NAME_mean``, ``NAME_low`` and ``NAME_high``, the bounds of the
    95 % interval, ``NAME_n``, the seeds that have it, and ``NAME_max``, the largest among them.
    """
    rows = [_row(table, row) for table in tables for row in table.rows]
    facts = [*FACT_COLUMNS, "seeds", *OUTCOMES, *VERDICT_COLUMNS]
    names = list(dict.fromkeys(name for row in rows for name in row if name not in facts))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*facts, *names], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(table: TaskTable, row: GroupRow) -> dict[str, object]:
    metadata = row.group.runs[0].metadata
    cells: dict[str, object] = {name: metadata.get(name) for name in FACT_COLUMNS}
    cells |= {"task": table.task, "group": row.group.name, **row.group.outcomes}
    cells["seeds"] = " ".join(str(run.metadata["seed"]) for run in row.group.runs)
    cells |= {"against_best": row.verdict.kind, "p_holm": row.verdict.p}
    for name, cell in row.cells.items():
        low, high = cell.bounds or (None, None)
        largest = max(cell.values, default=None)
        numbers = {"mean": cell.mean, "low": low, "high": high, "n": len(cell.values)}
        cells |= {f"{name}_{kind}": value for kind, value in numbers.items()}
        cells[f"{name}_max"] = largest
    return cells
