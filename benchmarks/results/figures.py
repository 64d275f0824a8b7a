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

from benchmarks.comparison.curves import Curve, record_curve, smooth
from benchmarks.comparison.figures import PAPER_COLORS, draw_panel
from benchmarks.comparison.palette import OTHERS_GREY, LineStyle, line_styles
from benchmarks.comparison.panels import Panel, accuracy_panels
from benchmarks.diagnostics.figures import escape_dollars, write_figure
from benchmarks.diagnostics.gradient_flow import CaseResult, draw_gradients
from benchmarks.records.record import VALIDATION
from benchmarks.records.run import Run
from benchmarks.records.text import show_loss

from .rows import ResultRow

DIGEST_KEY = "Source"  # the name of the digest among the texts of a PNG
FIGURE_VERSION = 3  # of the figures: another one makes all of them stale
HEADROOM = 3
SPIKE_PERCENTILE = 98.5  # percent; smoothing makes a hundredth of its curve of one high step
MIN_SCORE_POINTS = 4  # of a curve of scores
CURVES_FIGURE, FRONT_FIGURE = "curves.png", "overview.png"
ACCURACY_FIGURE = "accuracy.png"


def make_digest(*parts: object) -> str:
    """Of the numbers behind a figure."""
    text = json.dumps([FIGURE_VERSION, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stored_digest(path: Path) -> str | None:
    """The digest that a figure was written with; None if there is none, or no whole figure."""
    try:
        with Image.open(path) as image:
            image.load()
            digest = image.info.get(DIGEST_KEY)
    except (OSError, SyntaxError):  # Pillow's, for a damaged PNG
        return None
    return None if digest is None else str(digest)


def curves_digest(rows: Sequence[ResultRow]) -> str:
    """The digest of what the learning curves of an experiment show."""
    keys = ("seed", "status", "task", "baseline", "target_loss")
    return make_digest(
        [
            (row.label, [([run.metadata[k] for k in keys], run.records) for run in row.kept])
            for row in rows
        ]
    )


def plot_curves(rows: Sequence[ResultRow], path: Path) -> None:
    """Draw the learning curves of an experiment, its rows in their order.

    Beside them its first score on the validation set, where that was taken more than a few times.
    """
    scored = _score_panel(rows)
    figure = Figure(figsize=(11 if scored else 8, 4.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, *right = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    styles = _draw_learning_curves(left, rows)
    title = escape_dollars(_first_run(rows).metadata["task"])
    if scored:
        draw_panel(right[0], scored, line_styles(len(scored.curves)), PAPER_COLORS)
        right[0].set_yscale("linear")
        figure.suptitle(title, fontsize=10)
    else:
        left.set_title(title, fontsize=10)
    _draw_legend(figure, left, styles)
    write_figure(path, figure, {DIGEST_KEY: curves_digest(rows)})


def accuracy_digest(rows: Sequence[ResultRow]) -> str:
    """The digest of what the accuracies against the position of an experiment show."""
    curves = [(row.label, [run.metadata.get("curves") for run in row.kept]) for row in rows]
    return make_digest(curves)


def plot_accuracies(rows: Sequence[ResultRow], path: Path) -> None:
    """Draw the accuracy of each row against the position, as trained and, beside it, reduced."""
    present = [row for row in rows if row.kept]
    panels = accuracy_panels([row.group.finished for row in present])
    figure = Figure(figsize=(8 if len(panels) == 1 else 11, 4.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    styles = line_styles(len(present))
    for place, panel in zip(axes, panels, strict=True):
        draw_panel(place, panel, styles, PAPER_COLORS)
    figure.suptitle(escape_dollars(_first_run(rows).metadata["task"]), fontsize=10)
    named = zip(present, styles, strict=True)
    _draw_legend(
        figure, axes[0], {row.label: style for row, style in named if style.hue is not None}
    )
    write_figure(path, figure, {DIGEST_KEY: accuracy_digest(rows)})


def plot_front_figure(rows: Sequence[ResultRow], results: Sequence[CaseResult], path: Path) -> None:
    """Draw what the library is for: learning curves, and beside them gradients through time."""
    figure = Figure(figsize=(11, 4.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
    styles = _draw_learning_curves(left, rows)
    left.set_title(_first_run(rows).metadata["task"].partition(", K")[0], fontsize=10)
    draw_gradients(
        right, {result.label: result.before for result in results if result.label in styles}
    )
    for curve in right.get_lines():
        style = styles.get(str(curve.get_label()))
        if style is not None:
            curve.set(color=style.color, linestyle=style.stroke)
    right.set_title("gradient through time, before training", fontsize=10)
    _draw_legend(figure, left, styles)
    write_figure(path, figure, {DIGEST_KEY: front_figure_digest(rows, results)})


def front_figure_digest(rows: Sequence[ResultRow], results: Sequence[CaseResult]) -> str:
    """The digest of what the front figure shows."""
    return make_digest(curves_digest(rows), results)


def _draw_learning_curves(axes: Axes, rows: Sequence[ResultRow]) -> dict[str, LineStyle]:
    """Draw the curves; the styles of those in colour, by their names."""
    present = [row for row in rows if row.kept]
    metadata = _first_run(rows).metadata
    lines = [(metadata["baseline"], f"memoryless baseline {show_loss(metadata['baseline'])}")]
    if metadata["target_loss"] is not None:
        lines.append((metadata["target_loss"], f"target {metadata['target_loss']:.0e}"))
    panel = Panel(
        "", "", "optimizer step", "training loss",
        [record_curve(row.group.finished, "loss", smooth) for row in present],
        lines, metadata["baseline"],
    )  # fmt: skip
    styles = line_styles(len(present))
    draw_panel(axes, panel, styles, PAPER_COLORS)
    for name in axes.texts:  # of the lines across, over the curves
        name.set(zorder=4, bbox={"color": "white", "alpha": 0.8, "lw": 0, "pad": 0.5})
    axes.set_ylim(top=min(axes.get_ylim()[1], upper_limit(panel.curves)))
    named = zip(present, styles, strict=True)
    return {row.label: style for row, style in named if style.hue is not None}


def upper_limit(curves: Sequence[Curve | None]) -> float:
    """Up to where losses are styles: above nearly all medians, so that a spike is cut off."""
    medians = [value for curve in curves if curve is not None for value in curve.middle.tolist()]
    finite = [value for value in medians if math.isfinite(value)]
    if not finite:
        return math.inf
    return HEADROOM * float(np.percentile(finite, SPIKE_PERCENTILE, method="lower"))


def _score_panel(rows: Sequence[ResultRow]) -> Panel | None:
    """The first score of the task on the validation set; None where there are too few of it."""
    for score in _first_run(rows).metadata["metrics"]:
        taken = [
            record_curve(row.group.finished, f"{VALIDATION}{score}") for row in rows if row.kept
        ]
        if (
            max((len(curve.x) for curve in taken if curve is not None), default=0)
            >= MIN_SCORE_POINTS
        ):
            label = f"validation {score.replace('_', ' ')}"
            return Panel("", "", "optimizer step", label, taken, dots=True)
    return None


def _draw_legend(figure: Figure, axes: Axes, styles: Mapping[str, LineStyle]) -> None:
    for name, style in styles.items():
        axes.plot([], [], style.stroke, color=style.color, label=escape_dollars(name))
    if any(line.get_color() == OTHERS_GREY for line in axes.get_lines()):
        axes.plot([], [], color=OTHERS_GREY, lw=0.6, label="others")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, loc="outside lower center", ncols=4)


def _first_run(rows: Sequence[ResultRow]) -> Run:
    return next(run for row in rows for run in row.kept)
