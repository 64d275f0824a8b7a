"""The tables as Markdown: of one experiment, of a search, over several experiments."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.records.markdown import markdown_table

from .definition import AblationTable, Experiment, SummaryTable
from .report import Report
from .rows import MISSING, ResultRow, best_settings, find_column, format_cell, single_seed_mark


def experiment_table(experiment: Experiment, rows: Sequence[ResultRow]) -> str:
    """One line per row: its size, and the reported numbers of all seeds."""
    if experiment.choose:
        return search_table(experiment, rows)
    columns = [find_column(name, rows) for name in experiment.columns]
    head = ["model", "H", "parameters", *(column.heading for column in columns)]
    cells = [[row.label, *_sizes(row), *(format_cell(row, c) for c in columns)] for row in rows]
    return markdown_table([head, *cells])


def search_table(experiment: Experiment, rows: Sequence[ResultRow]) -> str:
    """One line per name: how many settings were tried, which was chosen, what it reached."""
    columns = [find_column(name, rows) for name in experiment.choose]
    lines = [["model", "settings tried", "chosen", *(column.heading for column in columns)]]
    for name, best in best_settings(rows, experiment.choose).items():
        tried = sum(row.name == name and bool(row.kept) for row in rows)
        setting = best.label.removeprefix(name).removeprefix(", ")
        cells = [format_cell(best, column) for column in columns]
        lines.append([name, str(tried), f"`{setting}`" if setting else MISSING, *cells])
    return markdown_table(lines)


def summary_table(summary: SummaryTable, report: Report) -> str:
    """One line per name, over several experiments; without those of which nothing was run."""
    sources = {c.experiment: report.rows(c.experiment) for c in summary.columns}
    columns = [c for c in summary.columns if any(row.kept for row in sources[c.experiment])]
    labels = [row.label for rows in sources.values() for row in rows]
    lines = [[summary.head, *(column.heading for column in columns)]]
    for label in summary.rows or dict.fromkeys(labels):
        cells = [_labelled_cell(label, c.number, sources[c.experiment]) for c in columns]
        lines.append([label, *cells])
    return markdown_table(lines)


def ablation_table(ablation: AblationTable, report: Report) -> str:
    """One line per experiment of which anything was run, with one number of all its rows."""
    lines = [["", ablation.heading]]
    for part, name in ablation.parts.items():
        rows = report.rows(name)
        labels = [row.label for row in rows if row.kept]
        cells = [f"{label}: {_labelled_cell(label, ablation.number, rows)}" for label in labels]
        if cells:
            lines.append([part, "; ".join(cells)])
    return markdown_table(lines) if len(lines) > 1 else "Not run yet."


def _labelled_cell(label: str, number: str, rows: Sequence[ResultRow]) -> str:
    for row in rows:
        if row.label == label:
            return format_cell(row, find_column(number, rows)) + single_seed_mark(row)
    return MISSING


def _sizes(row: ResultRow) -> tuple[str, str]:
    if not row.kept:
        return MISSING, MISSING
    metadata = row.kept[0].metadata
    return str(metadata["hidden_size"]), f"{metadata['parameters']:,}"
