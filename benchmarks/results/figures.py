"""The figures, each with the digest of the numbers that it was drawn from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.comparison.curves import Curve, recorded, smooth
from benchmarks.comparison.figures import PAPER, draw
from benchmarks.comparison.palette import GREY, Look, looks
from benchmarks.comparison.panels import Panel
from benchmarks.diagnostics.figures import escape_dollars, write_figure
from benchmarks.diagnostics.gradient_flow import CaseResult, draw_gradients
from benchmarks.records.record import VALIDATION
from benchmarks.records.run import Run
from benchmarks.records.text import show_loss

from .tables import Line

SOURCE = "Source"  # the name of the digest among the texts of a PNG
FORM = 3  # of the figures: another one makes all of them stale
HEADROOM = 3
NEARLY_ALL = 98.5  # percent; smoothing makes a hundredth of its curve of one high step
LEAST_POINTS = 4  # of a curve of scores
CURVES, OVERVIEW = "curves.png", "overview.png"


def digest(*parts: object) -> str:
    """Of the numbers behind a figure."""
    text = json.dumps([FORM, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def source(path: Path) -> str | None:
    """The digest that a figure was written with; None if there is none, or no whole figure."""
    try:
        with Image.open(path) as image:
            image.load()
            found = image.info.get(SOURCE)
    except (OSError, SyntaxError):  # Pillow's, for a damaged PNG
        return None
    return None if found is None else str(found)


def learned(found: Sequence[Line]) -> str:
    """The digest of what the learning curves of an experiment show."""
    keys = ("seed", "status", "task", "baseline", "target_loss")
    return digest(
        [
            (line.label, [([run.metadata[k] for k in keys], run.records) for run in line.known])
            for line in found
        ]
    )


def curves(found: Sequence[Line], path: Path) -> None:
    """Draw the learning curves of an experiment, its rows in their order.

    Beside them its first score on the validation set, where that was taken more than a few times.
    """
    scored = _scores(found)
    figure = Figure(figsize=(11 if scored else 8, 4.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, *right = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    drawn = _learning(left, found)
    title = escape_dollars(_first(found).metadata["task"])
    if scored:
        draw(right[0], scored, looks(len(scored.curves)), PAPER)
        right[0].set_yscale("linear")
        figure.suptitle(title, fontsize=10)
    else:
        left.set_title(title, fontsize=10)
    _legend(figure, left, drawn)
    write_figure(path, figure, {SOURCE: learned(found)})


def overview(found: Sequence[Line], stories: Sequence[CaseResult], path: Path) -> None:
    """Draw what the library is for: learning curves, and beside them gradients through time."""
    figure = Figure(figsize=(11, 4.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
    drawn = _learning(left, found)
    left.set_title(_first(found).metadata["task"].partition(", K")[0], fontsize=10)
    draw_gradients(right, {s.label: s.before for s in stories if s.label in drawn})
    for curve in right.get_lines():
        look = drawn.get(str(curve.get_label()))
        if look is not None:
            curve.set(color=look.colour, linestyle=look.stroke)
    right.set_title("gradient through time, before training", fontsize=10)
    _legend(figure, left, drawn)
    write_figure(path, figure, {SOURCE: overviewed(found, stories)})


def overviewed(found: Sequence[Line], stories: Sequence[CaseResult]) -> str:
    """The digest of what the overview shows."""
    return digest(learned(found), stories)


def _learning(axes: Axes, found: Sequence[Line]) -> dict[str, Look]:
    """Draw the curves; the looks of those in colour, by their names."""
    present = [line for line in found if line.known]
    metadata = _first(found).metadata
    lines = [(metadata["baseline"], f"memoryless baseline {show_loss(metadata['baseline'])}")]
    if metadata["target_loss"] is not None:
        lines.append((metadata["target_loss"], f"target {metadata['target_loss']:.0e}"))
    panel = Panel(
        "", "", "optimizer step", "training loss",
        [recorded(line.group.finished, "loss", smooth) for line in present],
        lines, metadata["baseline"],
    )  # fmt: skip
    drawn = looks(len(present))
    draw(axes, panel, drawn, PAPER)
    for name in axes.texts:  # of the lines across, over the curves
        name.set(zorder=4, bbox={"color": "white", "alpha": 0.8, "lw": 0, "pad": 0.5})
    axes.set_ylim(top=min(axes.get_ylim()[1], highest(panel.curves)))
    named = zip(present, drawn, strict=True)
    return {line.label: look for line, look in named if look.hue is not None}


def highest(curves: Sequence[Curve | None]) -> float:
    """Up to where losses are drawn: above nearly all medians, so that a spike is cut off."""
    medians = [value for curve in curves if curve is not None for value in curve.middle.tolist()]
    finite = [value for value in medians if math.isfinite(value)]
    if not finite:
        return math.inf
    return HEADROOM * float(np.percentile(finite, NEARLY_ALL, method="lower"))


def _scores(found: Sequence[Line]) -> Panel | None:
    """The first score of the task on the validation set; None where there are too few of it."""
    for score in _first(found).metadata["metrics"]:
        taken = [
            recorded(line.group.finished, f"{VALIDATION}{score}") for line in found if line.known
        ]
        if max((len(curve.x) for curve in taken if curve is not None), default=0) >= LEAST_POINTS:
            label = f"validation {score.replace('_', ' ')}"
            return Panel("", "", "optimizer step", label, taken, dots=True)
    return None


def _legend(figure: Figure, axes: Axes, drawn: Mapping[str, Look]) -> None:
    for name, look in drawn.items():
        axes.plot([], [], look.stroke, color=look.colour, label=escape_dollars(name))
    if any(line.get_color() == GREY for line in axes.get_lines()):
        axes.plot([], [], color=GREY, lw=0.6, label="others")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, loc="outside lower center", ncols=4)


def _first(found: Sequence[Line]) -> Run:
    return next(run for line in found for run in line.known)
