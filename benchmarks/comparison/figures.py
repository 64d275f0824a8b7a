"""The curves of a task drawn: as a PNG beside the runs, as SVG inside a page."""

from __future__ import annotations

import io
import re
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from benchmarks.diagnostics.accuracy_figure import mark_positions
from benchmarks.diagnostics.figures import escape_dollars, scale_loss

from .curves import Curve, thin_curve
from .palette import LIGHT, MAX_COLORED_GROUPS, OTHERS_GREY, LineStyle, line_styles
from .panels import Panel, accuracy_panels, learning_panel
from .table import GroupRow, TaskTable

MAX_GREY_POINTS = 100  # of a curve without a colour of its own
MAX_DOTS = 40
LABEL_CHARACTERS_PER_INCH = 13  # of the names of groups, beside their lines


class Colors(NamedTuple):
    """The colours of a figure: of text and axes, of the grid, of grey curves, of the hues."""

    text: str
    grid: str
    grey: str
    hues: tuple[str, ...]


PAPER_COLORS = Colors("black", "0.85", OTHERS_GREY, LIGHT)
# stand for the variables of the page's style, which differ by day and night
SCREEN_COLORS = Colors(
    "#010101", "#010102", "#010103", tuple(f"#0102{k:02d}" for k in range(len(LIGHT)))
)
CSS_VARIABLES = {
    SCREEN_COLORS.text: "currentColor",
    SCREEN_COLORS.grid: "var(--grid)",
    SCREEN_COLORS.grey: "var(--grey)",
    **{colour: f"var(--hue-{k})" for k, colour in enumerate(SCREEN_COLORS.hues)},
}


def plot_learning_curves(table: TaskTable, path: Path) -> None:
    """Write a PNG of the learning curves, with the groups' names below."""
    _plot_panels(table, [learning_panel(table)], path)


def plot_accuracy_curves(table: TaskTable, path: Path) -> bool:
    """Write a PNG of the accuracies against the position; whether there are any."""
    panels = accuracy_panels([row.group.finished for row in table.rows])
    if panels:
        _plot_panels(table, panels, path)
    return bool(panels)


def _plot_panels(table: TaskTable, panels: list[Panel], path: Path) -> None:
    """Panels beside each other, with the groups' names below."""
    width = 8 if len(panels) == 1 else 6 * len(panels)
    drawn = line_styles(len(table.rows))
    labels = {
        place: fill(_label(row, curve), int(width * LABEL_CHARACTERS_PER_INCH))
        for place, (row, curve, look) in enumerate(
            zip(table.rows, panels[0].curves, drawn, strict=True)
        )
        if curve is not None and look.hue is not None
    }
    longest = max(map(len, labels.values()), default=0)
    columns = 2 if 2 * longest <= width * LABEL_CHARACTERS_PER_INCH else 1
    lines = 1 + sum(label.count("\n") + 1 for label in labels.values())
    figure = Figure(
        figsize=(width, 4.5 + 0.2 * -(-lines // columns)), dpi=120, layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes, *others = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, panel in zip([axes, *others], panels, strict=True):
        draw_panel(place, panel, drawn, PAPER_COLORS)
    figure.suptitle(escape_dollars(table.task), fontsize=10)
    for place, label in labels.items():
        look = drawn[place]
        axes.plot([], [], look.stroke, color=look.color, label=escape_dollars(label))
    if len(table.rows) > MAX_COLORED_GROUPS:
        axes.plot(
            [],
            [],
            color=OTHERS_GREY,
            lw=0.6,
            label=f"{len(table.rows) - MAX_COLORED_GROUPS} others",
        )
    if axes.get_legend_handles_labels()[0]:
        figure.legend(fontsize=8, loc="outside lower center", ncols=columns)
    figure.savefig(path)


def _label(row: GroupRow, curve: Curve) -> str:
    seeds = f"{curve.seeds} seed{'s' if curve.seeds > 1 else ''}"
    return f"{row.group.name}, {row.parameters:,} parameters, {seeds}"


def panel_svg(panel: Panel, size: tuple[float, float], name: str) -> str:
    """A panel as an ``svg`` element whose colours are those of the page around it.

    Args:
        panel: what to draw.
        size: width and height in inches.
        name: tells the figure from the others of the page.
    """
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw_panel(figure.add_subplot(), panel, line_styles(len(panel.curves)), SCREEN_COLORS)
        text = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    return _slim_svg(text.getvalue())


def draw_panel(axes: Axes, panel: Panel, drawn: list[LineStyle], ink: Colors) -> None:
    """Every group's median, with its band; the best groups on top."""
    seen: list[float] = []
    for place, (curve, look) in enumerate(zip(panel.curves, drawn, strict=True)):
        if curve is None:
            continue
        coloured = look.hue is not None
        colour = ink.grey if look.hue is None else ink.hues[look.hue]
        shown = thin_curve(curve) if coloured else thin_curve(curve, MAX_GREY_POINTS)
        dots = "." if panel.dots and coloured and len(shown.x) <= MAX_DOTS else ""
        width = 1.6 if coloured else 0.6
        order = 3 - place / len(drawn)
        style: dict[str, Any] = {"color": colour, "lw": width, "zorder": order, "marker": dots}
        axes.plot(shown.x, shown.middle, ls=look.stroke, **style)
        if curve.seeds > 1 and coloured:
            band = shown.low, shown.high
            axes.fill_between(shown.x, *band, color=colour, alpha=0.18, lw=0, zorder=order - 1)
        seen += shown.middle[~np.isnan(shown.middle)].tolist()
    if panel.stream is not None:
        longest = max(int(curve.x[-1]) for curve in panel.curves if curve is not None)
        mark_positions(
            axes, longest, panel.stream["trained_length"], panel.stream["chance"], ink.grey
        )
    elif panel.baseline is not None:
        scale_loss(axes, seen, panel.baseline)
    elif any(value > 0 for value in seen):
        axes.set_yscale("log")
    for value, name in panel.lines:
        axes.axhline(value, color=ink.text, ls=(0, (4, 3)), lw=0.8, alpha=0.6, zorder=1)
        where = ("axes fraction", "data")
        axes.annotate(
            name, (0.01, value), xycoords=where, xytext=(0, 2), textcoords="offset points",
            color=ink.text, fontsize=8, annotation_clip=True,
        )  # fmt: skip
    axes.set_xlabel(panel.x, color=ink.text)
    axes.set_ylabel(panel.y, color=ink.text)
    axes.grid(color=ink.grid, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=ink.text)
    for spine in axes.spines.values():
        spine.set_color(ink.text)
        spine.set_linewidth(0.6)


def _slim_svg(text: str) -> str:
    """The element alone: a tenth of a point is enough, and ids that nothing refers to collide."""
    text = text[text.index("<svg") :]
    used = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", text)
    text = re.sub(r' d="[^"]*"', lambda m: re.sub(r"(\.\d)\d+", r"\1", m[0]), text)
    for stand_in, variable in CSS_VARIABLES.items():
        text = text.replace(stand_in, variable)
    return re.sub(r"\n\s*", "\n", text)
