"""The figure of how far a model stays right: its accuracy against the position on a stream."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .figures import BLUE, GREEN, LINE_GREY, escape_dollars, write_figure

TICK_FACTOR = 4  # from a position that is named on the axis to the next
LINES = ((BLUE, 1.6), (GREEN, 4.0))  # colours and widths; the wide one shows below the first


class AccuracyCurve(NamedTuple):
    """The share of right answers against the position, in stretches that grow with it.

    Attributes:
        positions: the last step of each stretch, from 1.
        accuracies: the mean over the words and over the steps of the stretch.
    """

    positions: list[int]
    accuracies: list[float]


def plot_accuracy(
    curves: Mapping[str, AccuracyCurve], trained_length: int, chance: float, title: str, path: Path
) -> None:
    """Write a PNG: each curve by its name, the training length and the accuracy of a guess."""
    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(escape_dollars(title), fontsize=10)
    for (name, curve), (color, width) in zip(curves.items(), LINES, strict=False):
        order = 3 - 0.1 * width
        axes.plot(
            curve.positions, curve.accuracies, color=color, lw=width, label=name, zorder=order
        )
    longest = max(curve.positions[-1] for curve in curves.values())
    mark_positions(axes, longest, trained_length, chance)
    axes.legend(fontsize=8, loc="center left")
    write_figure(path, figure)


def mark_positions(
    axes: Axes, longest: int, trained_length: int, chance: float, color: str = LINE_GREY
) -> None:
    """Make the axes those of accuracies up to a position, with training length and chance."""
    ticks = [1]
    while ticks[-1] * TICK_FACTOR <= longest:
        ticks.append(ticks[-1] * TICK_FACTOR)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.axvline(trained_length, color=color, ls=":", lw=1, zorder=1)
    axes.axhline(chance, color=color, ls="--", lw=1, zorder=1)
    for text, place, offset, angle in (
        (f"trained up to {trained_length}", (trained_length, 0.3), (-11, 0), 90),
        ("chance", (1, chance), (0, 3), 0),
    ):
        axes.annotate(
            text, place, xytext=offset, textcoords="offset points", rotation=angle,
            color=color, fontsize=8,
        )  # fmt: skip
    axes.set(xlabel="position", ylabel="accuracy", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.25)
