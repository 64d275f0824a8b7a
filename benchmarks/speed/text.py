"""A measured table as text for a terminal, or as a table of GitHub's markdown."""

from __future__ import annotations

from benchmarks.records.markdown import markdown_table

from .table import MeasuredTable, SpeedRow


def terminal_text(measured: MeasuredTable) -> str:
    """A line for each candidate: median, least and most, and how it stands to the reference."""
    unit = measured.unit
    width = max(32, *map(len, measured.values))
    lines = [measured.title]
    for row in measured.rows():
        median, least, most = _format_row(row, unit.scale)
        beside = _format_beside(row, measured)
        lines.append(f"  {row.name:<{width}} {median:>9} {unit.shown}  [{least}, {most}]  {beside}")
    lines += [f"  {name:<{width}} failed: {why}" for name, why in measured.failed.items()]
    return "\n".join(line.rstrip() for line in lines)


def markdown_text(measured: MeasuredTable) -> str:
    """The same as a table."""
    unit = measured.unit
    rows = [["", unit.shown, "least, most", _beside_reference(measured)]]
    for row in measured.rows():
        median, least, most = _format_row(row, unit.scale)
        rows.append([row.name, median, f"{least}, {most}", _format_ratio(row, measured)])
    rows += [[name, f"failed: {why}", "", ""] for name, why in measured.failed.items()]
    return f"**{measured.title}**\n\n{markdown_table(rows)}"


def _format_row(row: SpeedRow, scale: float) -> tuple[str, str, str]:
    median, least, most = (
        _format_number(scale * value) for value in (row.median, row.least, row.most)
    )
    return median, least, most


def _format_number(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _format_beside(row: SpeedRow, measured: MeasuredTable) -> str:
    if row.ratio is None:
        return ""
    return f"{_format_ratio(row, measured):>5} {_beside_reference(measured)}"


def _beside_reference(measured: MeasuredTable) -> str:
    if measured.reference is None:
        return ""
    return f"{'% of' if measured.unit.more else 'x'} {measured.reference}"


def _format_ratio(row: SpeedRow, measured: MeasuredTable) -> str:
    if row.ratio is None:
        return ""
    return f"{100 * row.ratio:.1f}" if measured.unit.more else f"{row.ratio:.2f}"
