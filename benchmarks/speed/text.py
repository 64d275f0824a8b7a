"""A measured table as text for a terminal, or as a table of GitHub's markdown."""

from __future__ import annotations

from benchmarks.records.markdown import markdown_table

from .table import Measured, Row


def text(measured: Measured) -> str:
    """A line for each candidate: median, least and most, and how it stands to the reference."""
    unit = measured.unit
    width = max(32, *map(len, measured.values))
    lines = [measured.title]
    for row in measured.rows():
        median, least, most = _numbers(row, unit.scale)
        told = _beside(row, measured)
        lines.append(f"  {row.name:<{width}} {median:>9} {unit.shown}  [{least}, {most}]  {told}")
    lines += [f"  {name:<{width}} failed: {why}" for name, why in measured.failed.items()]
    return "\n".join(line.rstrip() for line in lines)


def markdown(measured: Measured) -> str:
    """The same as a table."""
    unit = measured.unit
    of = (
        "" if measured.reference is None else f"{'% of' if unit.more else 'x'} {measured.reference}"
    )
    rows = [["", unit.shown, "least, most", of]]
    for row in measured.rows():
        median, least, most = _numbers(row, unit.scale)
        rows.append([row.name, median, f"{least}, {most}", _ratio(row, measured)])
    rows += [[name, f"failed: {why}", "", ""] for name, why in measured.failed.items()]
    return f"**{measured.title}**\n\n{markdown_table(rows)}"


def _numbers(row: Row, scale: float) -> tuple[str, str, str]:
    median, least, most = (_number(scale * value) for value in (row.median, row.least, row.most))
    return median, least, most


def _number(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _beside(row: Row, measured: Measured) -> str:
    if row.ratio is None:
        return ""
    return (
        f"{_ratio(row, measured):>5} {'% of' if measured.unit.more else 'x'} {measured.reference}"
    )


def _ratio(row: Row, measured: Measured) -> str:
    if row.ratio is None:
        return ""
    return f"{100 * row.ratio:.1f}" if measured.unit.more else f"{row.ratio:.2f}"
