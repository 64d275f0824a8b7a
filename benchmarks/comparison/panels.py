"""What is drawn of a task: for each figure its axes in words and one curve per group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.records.run import Run
from benchmarks.records.text import show_loss

from .curves import Curve, accuracy_curve, gradient_curve, record_curve, smooth
from .table import TaskTable

GRADIENT_FLOOR = 1e-40  # what a log scale shows of a gradient that has vanished
SEEDS_NOTE = "median over seeds, band from the lowest to the highest"
ACCURACY_HEADINGS = {"as trained": "How far it goes", "reduced": "How far it goes, reduced"}
SMOOTHED_NOTE = "mean over the last hundredth of all steps"


class Panel(NamedTuple):
    """One figure.

    Attributes:
        heading: what it shows.
        note: how the curves are made.
        x, y: the labels of the axes.
        curves: one per row of the table; None where a group has none.
        lines: values marked across, with their names.
        baseline: the loss that decides the scale of a loss; None for a log scale.
        dots: whether the points are few enough to be marked.
        stream: what ``run.json`` says of a stream, if the curves are accuracies against the
            position on it.
    """

    heading: str
    note: str
    x: str
    y: str
    curves: list[Curve | None]
    lines: Sequence[tuple[float, str]] = ()
    baseline: float | None = None
    dots: bool = False
    stream: dict[str, Any] | None = None


def learning_panel(table: TaskTable) -> Panel:
    """The training loss against the step, over the finished seeds of each group."""
    abouts = [row.group.runs[0].metadata for row in table.rows]
    baseline = float(abouts[0]["baseline"])
    lines = [(baseline, f"memoryless baseline {show_loss(baseline)}")]
    targets = {metadata["target_loss"] for metadata in abouts} - {None}
    lines += [(target, f"target {target:.0e}") for target in sorted(targets)]
    return Panel(
        "Learning curves",
        f"Training loss, {SMOOTHED_NOTE}; {SEEDS_NOTE}.",
        "optimizer step",
        "training loss",
        _curves(table, lambda runs: record_curve(runs, "loss", smooth)),
        lines,
        baseline,
    )


def accuracy_panels(groups: Sequence[list[Run]]) -> list[Panel]:
    """The accuracy against the position on a stream, of each group as trained, and as reduced.

    Empty without a stream.
    """
    streams = [run.metadata.get("stream") for runs in groups for run in runs]
    panels = [
        Panel(
            heading,
            f"Share of right answers on one long stream; {SEEDS_NOTE}.",
            "position",
            f"accuracy, {state}",
            [accuracy_curve(runs, state) for runs in groups],
            stream=next(filter(None, streams), None),
        )
        for state, heading in ACCURACY_HEADINGS.items()
    ]
    return [panel for panel in panels if any(curve is not None for curve in panel.curves)]


def task_panels(table: TaskTable) -> list[Panel]:
    """All figures of a task that show anything, the learning curves first."""
    first = learning_panel(table)
    looked = [gradient_curve(row.group.finished) for row in table.rows]
    steps = sorted({step for _, step in filter(None, looked)})
    candidates = [
        first,
        *accuracy_panels([row.group.finished for row in table.rows]),
        Panel(
            "Validation loss",
            f"At every evaluation; {SEEDS_NOTE}.",
            "optimizer step",
            "validation loss",
            _curves(table, lambda runs: record_curve(runs, "validation_loss")),
            first.lines,
            first.baseline,
            dots=True,
        ),
        Panel(
            "Gradient through time",
            "How much of the gradient of the last answer reaches step t, at the last look "
            f"(after step {', '.join(map(str, steps))}); {SEEDS_NOTE}.",
            "time step t",
            "‖∂L/∂h_t‖ / ‖∂L/∂h_T‖",
            [None if look is None else _floored(look[0]) for look in looked],
            [(1.0, "")],
        ),
        Panel(
            "Gradient norm",
            f"Norm over all parameters, before clipping, {SMOOTHED_NOTE}; {SEEDS_NOTE}.",
            "optimizer step",
            "gradient norm",
            _curves(table, lambda runs: record_curve(runs, "gradient_norm", smooth)),
        ),
        Panel(
            "Orthogonality error",
            f"Frobenius norm of WᵀW - I after the step; {SEEDS_NOTE}.",
            "optimizer step",
            "‖WᵀW-I‖",
            _curves(table, lambda runs: record_curve(runs, "orthogonality_error")),
        ),
    ]
    return [
        panel for panel in candidates if any(c is not None and len(c.x) > 1 for c in panel.curves)
    ]


def _curves(table: TaskTable, curve: Callable[[list[Run]], Curve | None]) -> list[Curve | None]:
    return [curve(row.group.finished) for row in table.rows]


def _floored(curve: Curve) -> Curve:
    middle, low, high = (
        np.maximum(p, GRADIENT_FLOOR) for p in (curve.middle, curve.low, curve.high)
    )
    return Curve(curve.x, middle, low, high, curve.seeds)
