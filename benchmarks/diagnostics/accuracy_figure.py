"""The figure of how far a model stays right: its accuracy against the position on a stream."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.tasks.task import Stream

from .figures import BLUE, GREEN, LINE_GREY, escape_dollars, write_figure
from .horizon import AccuracyCurve

COLORS = (BLUE, GREEN)


def plot_accuracy(
    curves: Mapping[str, AccuracyCurve], stream: Stream, title: str, path: Path
) -> None:
    """Write a PNG: each curve by its name, the training length and the accuracy of a guess."""
    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(escape_dollars(title), fontsize=10)
    for (name, curve), color in zip(curves.items(), COLORS, strict=False):
        axes.plot(curve.positions, curve.accuracies, color=color, lw=1.6, label=name)
    mark_stream(axes, stream.trained_length, stream.chance)
    axes.legend(fontsize=8, loc="lower left")
    write_figure(path, figure)


def mark_stream(axes: Axes, trained_length: int, chance: float, color: str = LINE_GREY) -> None:
    """The axes of accuracies against positions, with the training length and chance marked."""
    axes.set_xscale("log", base=2)
    axes.axvline(trained_length, color=color, ls=":", lw=1)
    axes.axhline(chance, color=color, ls="--", lw=1)
    axes.set(xlabel="position", ylabel="accuracy", ylim=(-0.02, 1.02))
    axes.grid(alpha=0.25)
