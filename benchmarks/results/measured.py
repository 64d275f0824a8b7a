"""The tables of what is measured by a program of its own, from the numbers that it writes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.flow import Flow
from benchmarks.gradients import Story
from benchmarks.records import show_loss

from .experiment import DefinitionError, Measurement
from .tables import markdown


def table(measurement: Measurement, folder: Path) -> str:
    """The numbers of a measurement as Markdown.

    Raises:
        DefinitionError: if nothing here can show what its program writes.
    """
    program = measurement.command[0]
    if program not in TABLES:
        raise DefinitionError(f"{folder}: no table of {program}; there are: {', '.join(TABLES)}")
    (numbers,) = [folder / name for name in measurement.files if name.endswith(".json")]
    if not numbers.is_file():
        return "Not run."
    return TABLES[program](json.loads(numbers.read_text(encoding="utf-8")))


def stories(path: Path) -> list[Story]:
    """What ``benchmarks.gradients`` has written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        Story(**{**model, "before": Flow(**model["before"]), "after": Flow(**model["after"])})
        for model in content["models"]
    ]


def _gradients(content: dict[str, Any]) -> str:
    rows = [["model", "before training", "after training", "last loss"]]
    for model in content["models"]:
        shares = [
            Flow(**model[moment]).numbers().get("gradient_first_to_last")
            for moment in ("before", "after")
        ]
        told = ["-" if share is None else f"{share:.0e}" for share in shares]
        losses = model["losses"]
        rows.append([model["label"], *told, show_loss(losses[-1]) if losses else "-"])
    head = f"‖∂L/∂h_1‖ / ‖∂L/∂h_T‖ of the last answer's loss; {content['title']}."
    return f"{head}\n\n{markdown(rows)}"


def _speed(content: dict[str, Any]) -> str:
    """Ratios to the reference of each table, one row per size and one column per candidate."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for measured in content["tables"]:
        parts.setdefault(measured["part"], []).append(measured)
    told = [f"**{part}**\n\n{_ratios(found)}" for part, found in parts.items()]
    return "\n\n".join(told)


def _ratios(found: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for t in found for name in t["values"]))
    rows = [["", *names]]
    for t in found:
        of = statistics.median(t["values"][t["reference"]])
        medians = {name: statistics.median(values) for name, values in t["values"].items()}
        told = [f"{medians[n] / of:.2g}" if n in medians else "-" for n in names]
        rows.append([t["title"], *told])
    return markdown(rows)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "benchmarks.gradients": _gradients,
    "benchmarks.speed": _speed,
}
