"""The figures, each with the digest of the numbers that it was drawn from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.comparison.curves import Curve, recorded, smooth
from benchmarks.comparison.figures import PAPER, draw
from benchmarks.comparison.palette import looks
from benchmarks.comparison.panels import Panel, learning
from benchmarks.comparison.table import table
from benchmarks.flow import LEAST
from benchmarks.gradients import Story

from .cells import Line

SOURCE = "Source"  # the name of the digest among the texts of a PNG
CURVES, OVERVIEW = "curves.png", "overview.png"


def digest(*parts: object) -> str:
    """Of the numbers behind a figure."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def source(path: Path) -> str | None:
    """The digest that a figure was written with; None if there is none."""
    if not path.is_file():
        return None
    with Image.open(path) as image:
        found = image.info.get(SOURCE)
    return None if found is None else str(found)


def learned(found: Sequence[Line]) -> str:
    """The digest of the learning curves of an experiment."""
    return digest(
        [
            (line.label, [(run.about["seed"], run.records) for run in line.known])
            for line in found
            if line.known
        ]
    )


def curves(found: Sequence[Line], path: Path) -> None:
    """Draw the learning curves of an experiment, its rows in their order."""
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = _learning(axes, found)
    axes.set_title(found[0].known[0].about["task"] if found[0].known else "", fontsize=10)
    _legend(figure, names)
    _save(figure, path, learned(found))


def overview(found: Sequence[Line], stories: Sequence[Story], path: Path) -> None:
    """Draw what the library is for: learning curves, and beside them gradients through time."""
    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    names = _learning(left, found)
    left.set_title(f"{found[0].known[0].about['task'].partition(', K')[0]}: learning", fontsize=10)
    shown = gradients(right, stories)
    right.set_title("gradient through time before training", fontsize=10)
    _legend(figure, names)
    right.legend(shown, fontsize=8, loc="lower right")
    _save(figure, path, digest(learned(found), stories))


def gradients(axes: Axes, stories: Sequence[Story]) -> list[str]:
    """Draw how much of the gradient of the last answer reaches step t, before training.

    Returns the names of the curves.
    """
    kept = [s for s in stories if s.before.gradient_norms and "clipped" not in s.label]
    for story, look in zip(kept, looks(len(kept)), strict=True):
        norms = np.array(story.before.gradient_norms)
        share = np.maximum(norms / norms[-1], LEAST)
        axes.plot(range(1, len(norms) + 1), share, look.stroke, color=look.colour, lw=1.6)
    axes.set_yscale("log")
    axes.set_xlabel("time step t")
    axes.set_ylabel("‖∂L/∂h_t‖ / ‖∂L/∂h_T‖")
    axes.grid(color=PAPER.grid, lw=0.6)
    return [story.label for story in kept]


def _learning(axes: Axes, found: Sequence[Line]) -> list[tuple[str, str, str]]:
    """Draw the curves; of each its name, colour and stroke."""
    present = [line for line in found if line.known]
    ranked = table(present[0].known[0].about["task"], [line.group for line in present])
    panel = learning(ranked)
    by_name = {
        row.group.name: _curve(line)
        for row in ranked.rows
        for line in present
        if line.label == row.group.name
    }
    ordered = [by_name[line.label] for line in present]
    drawn = looks(len(present))
    draw(axes, Panel(**{**panel._asdict(), "curves": ordered}), drawn, PAPER)
    return [
        (line.label, look.colour, look.stroke)
        for line, look in zip(present, drawn, strict=True)
        if look.hue is not None
    ]


def _curve(line: Line) -> Curve | None:
    return recorded(line.group.finished, "loss", smooth)


def _legend(figure: Figure, names: Sequence[tuple[str, str, str]]) -> None:
    lines = [figure.axes[0].plot([], [], s, color=c, label=n)[0] for n, c, s in names]
    figure.legend(lines, [n for n, _, _ in names], fontsize=8, loc="outside lower center", ncols=4)


def _save(figure: Figure, path: Path, about: str) -> None:
    figure.savefig(path, metadata={SOURCE: about})
