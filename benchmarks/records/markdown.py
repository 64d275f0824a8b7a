"""A table as GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Sequence

MIN_WIDTH = 3  # characters of a column, for the dashes below its heading


def markdown_table(rows: Sequence[Sequence[str]], aligned: bool = False) -> str:
    """A table of equally long rows, of which the first is its head.

    Args:
        rows: the cells; a ``|`` in one is escaped.
        aligned: whether all cells of a column are equally wide, for reading it in a terminal.
    """
    head, *body = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    if not aligned:
        return "\n".join([_line(head), "|" + "---|" * len(head), *map(_line, body)])
    widths = [max(MIN_WIDTH, *map(len, column)) for column in zip(head, *body, strict=True)]
    cells = [head, ["-" * width for width in widths], *body]
    return "\n".join(
        _line([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]) for row in cells
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
