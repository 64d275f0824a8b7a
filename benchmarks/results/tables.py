"""The tables as Markdown: of one experiment, of a search, over several experiments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .cells import NONE, Line, cell, chosen, column, lines, lone
from .experiment import RESULTS, Digest, Experiment, Summary


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; the first row is its head."""
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    body = ["| " + " | ".join(row) + " |" for row in escaped]
    return "\n".join([body[0], "|" + "---|" * len(rows[0]), *body[1:]])


def of_experiment(experiment: Experiment, found: Sequence[Line]) -> str:
    """One row per line: its size, and the reported numbers of all seeds."""
    if experiment.choose:
        return of_search(experiment, found)
    columns = [column(name, found) for name in experiment.columns]
    head = ["model", "H", "parameters", *(c.heading for c in columns)]
    rows = [[line.label, *_sizes(line), *(cell(line, c) for c in columns)] for line in found]
    return markdown([head, *rows])


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
    return markdown(rows)


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
    return markdown(rows)


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
    return markdown([["", digest.heading], *rows]) if rows else "Not run yet."


def _sizes(line: Line) -> tuple[str, str]:
    if not line.known:
        return NONE, NONE
    about = line.known[0].about
    return str(about["hidden_size"]), f"{about['parameters']:,}"
