"""The tables of what is measured by a program of its own, from the numbers that it writes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.diagnostics.gradient_flow import CaseResult, GradientFlow
from benchmarks.records.markdown import markdown_table
from benchmarks.records.text import show_loss

from .definition import DefinitionError, Measurement


def measurement_table(measurement: Measurement, folder: Path) -> str:
    """The numbers of a measurement as Markdown.

    Raises:
        DefinitionError: if nothing here can show what its program writes.
    """
    program = measurement.command[0]
    if program not in TABLE_WRITERS:
        raise DefinitionError(
            f"{folder}: no table of {program}; there are: {', '.join(TABLE_WRITERS)}"
        )
    path = numbers_file(measurement, folder)
    if not path.is_file():
        return "Not run."
    return TABLE_WRITERS[program](json.loads(path.read_text(encoding="utf-8")), measurement.shown)


def numbers_file(measurement: Measurement, folder: Path) -> Path:
    """The file of its numbers."""
    (path,) = [folder / name for name in measurement.files if name.endswith(".json")]
    return path


def load_case_results(measurement: Measurement, folder: Path) -> list[CaseResult]:
    """What ``benchmarks.gradients`` has written; none where it was not run."""
    path = numbers_file(measurement, folder)
    if not path.is_file():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        CaseResult(
            **{
                **model,
                "before": GradientFlow(**model["before"]),
                "after": GradientFlow(**model["after"]),
            }
        )
        for model in content["models"]
    ]


def _gradients_table(content: dict[str, Any], shown: list[str]) -> str:
    rows = [["model", "before training", "after training", "last loss"]]
    for model in content["models"]:
        shares = [
            GradientFlow(**model[moment]).numbers().get("gradient_first_to_last")
            for moment in ("before", "after")
        ]
        cells = ["-" if share is None else f"{share:.2g}" for share in shares]
        losses = model["losses"]
        if not shown or model["label"] in shown:
            rows.append([model["label"], *cells, show_loss(losses[-1]) if losses else "-"])
    head = f"‖∂L/∂h_1‖ / ‖∂L/∂h_T‖ of the loss of the last answer; {content['title']}."
    return f"{head}\n\n{markdown_table(rows)}"


def _speed_tables(content: dict[str, Any], shown: list[str]) -> str:
    """Ratios to the reference of each table: a table per part, in it a row per size."""
    parts: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for measured in content["tables"]:
        what, _, size = measured["title"].partition(" at ")
        parts.setdefault(what, []).append((size, measured))
    header = content["header"]
    blocks = [f"{header['device_name']}, {header['threads']} thread(s), torch {header['torch']}."]
    for what, sizes in parts.items():
        reference = sizes[0][1]["reference"]
        blocks.append(f"{what[0].upper()}{what[1:]}, as a multiple of {reference}:")
        blocks.append(_ratio_table(sizes, shown))
    return "\n\n".join(blocks)


def _ratio_table(sizes: list[tuple[str, dict[str, Any]]], shown: list[str]) -> str:
    names = list(dict.fromkeys(name for _, t in sizes for name in t["values"]))
    names = [name for name in shown or names if name in names]
    rows = [["", *names]]
    for size, measured in sizes:
        medians = {name: statistics.median(v) for name, v in measured["values"].items()}
        of = medians[measured["reference"]]
        ratios = [f"{medians[name] / of:.2g}" if name in medians else "-" for name in names]
        rows.append([size, *ratios])
    return markdown_table(rows)


TABLE_WRITERS: dict[str, Callable[[dict[str, Any], list[str]], str]] = {
    "benchmarks.gradients": _gradients_table,
    "benchmarks.speed": _speed_tables,
}
