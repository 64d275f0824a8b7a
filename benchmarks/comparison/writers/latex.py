"""The tables as LaTeX (booktabs), for a paper that reads them in."""

from __future__ import annotations

import re

from benchmarks.comparison.sentences import problems
from benchmarks.comparison.statistics import ALPHA, Kind
from benchmarks.comparison.table import Cell, GroupRow, TaskTable

LATEX_HEAD = r"""% \usepackage{booktabs,graphicx}; in the order of the tasks, one table each"""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "‖": r"$\Vert$",
    "ᵀ": r"$^\top$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "…": r"\dots{}",
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
}
_MARKS: dict[Kind, str] = {
    "best": "",
    "alike": r"$^{\approx}$",
    "worse": r"$^{-}$",
    "few": r"$^{?}$",
    "flat": r"$^{=}$",
    "none": "",
}
_MEANINGS: dict[Kind, str] = {
    "alike": "not distinguishable from the best",
    "worse": "significantly worse than the best",
    "few": "too few seeds to test",
    "flat": "another value, but no spread to test it by",
}


def latex_text(tables: list[TaskTable]) -> str:
    """One table environment per task; the best mean of a column is in bold."""
    return "\n\n".join([LATEX_HEAD, *map(_environment, tables)]) + "\n"


def escape_latex(text: str) -> str:
    """Text as LaTeX prints it as it stands."""
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def latex_number(text: str) -> str:
    """What a person reads, with powers of ten as such: ``5.6e-04`` becomes 5.6 times 10 to -4."""
    escaped = escape_latex(text)
    return re.sub(
        r"(\d(?:\.\d+)?)e([+-]\d+)", lambda m: rf"${m[1]} \cdot 10^{{{int(m[2])}}}$", escaped
    )


def _environment(table: TaskTable) -> str:
    headings = [column.latex or _heading(column.heading) for column in table.columns]
    head = ["model", "hidden", "parameters", "seeds", *headings]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_caption(table)}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
        *(_row(table, row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    lines += [f"% {problem.line}" for problem in problems(table)]
    return "\n".join(lines)


def _row(table: TaskTable, row: GroupRow) -> str:
    facts = [
        _split(row.group.name) + _MARKS[row.verdict.kind],
        str(row.hidden_size),
        f"{row.parameters:,}".replace(",", "{,}"),
        _split(row.seeds),
    ]
    cells = [_cell(row.cells[column.name], row in table.best(column)) for column in table.columns]
    return " & ".join([*facts, *cells]) + r" \\[3pt]"


def _cell(cell: Cell, bold: bool) -> str:
    text = latex_number(cell.text)
    if bold:
        text = rf"\textbf{{\boldmath {text}}}"
    return (
        _stacked([text, rf"\scriptsize {latex_number(cell.interval)}"]) if cell.interval else text
    )


def _heading(text: str) -> str:
    """A heading of several words in two lines."""
    words = text.split()
    half = (len(words) + 1) // 2
    return _stacked([escape_latex(" ".join(part)) for part in (words[:half], words[half:]) if part])


def _split(text: str) -> str:
    """A name with its settings below, two a line."""
    parts = text.split(", ")
    lines = [escape_latex(", ".join(parts[k : k + 2])) for k in range(0, len(parts), 2)]
    return _stacked([*(f"{line}," for line in lines[:-1]), lines[-1]], "l")


def _stacked(lines: list[str], side: str = "r") -> str:
    """Lines above each other: a table of this width would else be shrunk beyond reading."""
    if len(lines) == 1:
        return lines[0]
    return rf"\shortstack[{side}]{{" + r" \\ ".join(lines) + "}"


def _caption(table: TaskTable) -> str:
    kinds = {row.verdict.kind for row in table.rows}
    marks = [f"{_MARKS[kind]} {text}" for kind, text in _MEANINGS.items() if kind in kinds]
    scale = "the logarithm of the " if table.decisive.log else "the "
    test = (
        f" (Welch's t-test on {scale}{escape_latex(table.decisive.heading)}, Holm-corrected, "
        rf"{100 * ALPHA:.0f}\,\%)"
    )
    tested = test if kinds & {"alike", "worse"} else ""
    said = f" {'; '.join(marks)}{tested}." if marks else ""
    return (
        rf"{escape_latex(table.task)}. Means over seeds with 95\,\% bootstrap intervals; "
        f"bold: best of the column.{said}"
    )
