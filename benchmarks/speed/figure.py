"""The figure of the ratios: a panel for each table, a bar for each candidate."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter

from benchmarks.diagnostics.figures import BLUE, LINE_GREY, escape_dollars, write_figure

from .environment import describe_header
from .table import MeasuredTable, SpeedRow

PANELS_PER_ROW = 3
PEER_GREY = "#c3c3c3"
RATIO_FLOOR = 1e-3  # where an axis of ratios ends, at the latest
MIN_RATIO_SPREAD = 2.0  # the least factor from the reference that an axis of ratios reaches
RATIO_TICKS = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
)


def plot_ratios(path: Path, about: dict[str, Any], measured: Sequence[MeasuredTable]) -> None:
    """Write the figure, in the format that the file's name says.

    Raises:
        WriteError: if it cannot be written.
    """
    write_figure(path, ratio_figure(about, measured))


def ratio_figure(about: dict[str, Any], measured: Sequence[MeasuredTable]) -> Figure:
    """The panels in rows, of which each part begins one; without those that have no reference."""
    tables = [table for table in measured if all(row.ratio for row in table.rows())]
    rows = [
        same[k : k + PANELS_PER_ROW]
        for _, part in itertools.groupby(tables, key=lambda table: table.part)
        for same in [list(part)]
        for k in range(0, len(same), PANELS_PER_ROW)
    ]
    columns = max((len(row) for row in rows), default=1)
    heights = [0.9 + 0.17 * max(len(table.values) for table in row) for row in rows]
    width = max(7.0, 5.4 * columns)
    drawn = Figure(figsize=(width, 1.1 + sum(heights)), dpi=120, layout="constrained")
    FigureCanvasAgg(drawn)
    grid = drawn.add_gridspec(max(1, len(rows)), columns, height_ratios=heights or None)
    for i, row in enumerate(rows):
        for k, table in enumerate(row):
            _draw_panel(drawn.add_subplot(grid[i, k]), table)
    lines = [textwrap.fill(line, int(13 * width)) for line in describe_header(about).splitlines()]
    drawn.suptitle(escape_dollars("\n".join(lines)), fontsize=8)
    handles = [Patch(color=BLUE, label="orthornn"), Patch(color=PEER_GREY, label="peers")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return drawn


def _draw_panel(axes: Axes, table: MeasuredTable) -> None:
    """The best on top; a whisker from the least to the most of all turns."""
    rows = sorted(table.rows(), key=lambda row: row.median, reverse=table.unit.more)
    ratios = [0.0 if row.ratio is None else row.ratio for row in rows]
    ends = [_ratio_ends(row, ratio) for row, ratio in zip(rows, ratios, strict=True)]
    left = 0.0 if table.unit.more else 1.0
    axes.barh(
        range(len(rows)),
        [ratio - left for ratio in ratios],
        left=left,
        height=0.72,
        color=[BLUE if row.name in table.own else PEER_GREY for row in rows],
        xerr=[
            [abs(ratio - low) for ratio, (low, _) in zip(ratios, ends, strict=True)],
            [abs(high - ratio) for ratio, (_, high) in zip(ratios, ends, strict=True)],
        ],
        error_kw={"lw": 0.8, "ecolor": "#303030", "capsize": 1.5},
    )
    axes.axvline(1.0, color=LINE_GREY, lw=0.9)
    axes.invert_yaxis()
    axes.set_yticks(range(len(rows)), [escape_dollars(row.name) for row in rows], fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_title(
        escape_dollars(table.title.replace(" at ", "\nat ", 1)), fontsize=7.5, loc="left"
    )
    what, better = ("of", "more") if table.unit.more else ("times", "less")
    axes.set_xlabel(escape_dollars(f"{what} {table.reference} ({better} is better)"), fontsize=7)
    _scale_axis(axes, table, min(low for low, _ in ends), max(high for _, high in ends))
    for k, (ratio, (low, high)) in enumerate(zip(ratios, ends, strict=True)):
        shown = f"{100 * ratio:.0f} %" if table.unit.more else f"{ratio:.2f}"
        outward = table.unit.more or ratio >= 1
        axes.annotate(
            shown,
            (high if outward else low, k),
            xytext=(4 if outward else -4, 0),
            textcoords="offset points",
            ha="left" if outward else "right",
            va="center",
            fontsize=6.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        )


def _ratio_ends(row: SpeedRow, ratio: float) -> tuple[float, float]:
    """The least and the most of a row, as multiples of the reference's median."""
    of = ratio / row.median if row.median else 0.0
    return of * row.least, of * row.most


def _scale_axis(axes: Axes, table: MeasuredTable, low: float, high: float) -> None:
    """Shares from 0; ratios on a log scale, where twice and half are equally far from 1."""
    if table.unit.more:
        axes.set_xlim(0, 1.15 * max(1.0, high))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        return
    axes.set_xscale("log")
    low, high = max(min(low, 1 / MIN_RATIO_SPREAD), RATIO_FLOOR), max(high, MIN_RATIO_SPREAD)
    room = (high / low) ** 0.18  # for the numbers
    axes.set_xlim(low / room, high * room)
    apart = 30  # ends of an axis between which only every third tick has room
    axes.set_xticks(
        [t for t in (RATIO_TICKS[::3] if high / low > apart else RATIO_TICKS) if low <= t <= high]
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
