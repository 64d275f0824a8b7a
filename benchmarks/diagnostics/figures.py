"""The figure of one run: its loss against the baseline, and its other scores."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.records.record import Record
from benchmarks.records.text import run_title
from benchmarks.system import atomic_files

BLUE, LINE_GREY, GREEN = "#1f5fa8", "#707070", "#2a8a4a"
SMOOTHING_PARTS = 100
LOG_SCALE_FACTOR = 20  # a loss that changes by more than this factor is drawn on a log scale


def plot_run(records: list[Record], about: dict[str, Any], path: Path) -> None:
    """Write a PNG: the loss with baseline and target, and beside it the metrics that are shares.

    Args:
        records: one per step, at least one.
        about: what ``run.json`` holds of the run.
        path: where the PNG goes.
    """
    steps = [r["step"] for r in records]
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(escape_dollars(run_title(about)), fontsize=10)
    losses = [r["loss"] for r in records]
    axes.plot(steps, losses, color=BLUE, lw=0.6, alpha=0.35)
    axes.plot(steps, running_mean(losses), color=BLUE, lw=1.4, label=f"loss, {_over(losses)}")
    validated = [r for r in records if "validation_loss" in r]
    axes.plot(
        [r["step"] for r in validated],
        [r["validation_loss"] for r in validated],
        "o",
        color=BLUE,
        ms=5,
        label="loss, validation set",
    )
    baseline, target = about["baseline"], about["target_loss"]
    scale_loss(axes, losses, baseline)
    label = f"memoryless baseline {baseline:.3g}"
    axes.axhline(baseline, color=LINE_GREY, ls="--", lw=1, label=label)
    if target is not None:
        axes.axhline(target, color=LINE_GREY, ls=":", lw=1, label=f"target {target:.0e}")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.25)
    handles, labels = axes.get_legend_handles_labels()
    shares = [name for name, m in about["metrics"].items() if m["show"].endswith("%")]
    if shares:
        right = axes.twinx()
        for name, style in zip(shares, ("-", "--", ":", "-."), strict=False):
            values = running_mean([r[name] for r in records])
            (line,) = right.plot(steps, values, style, color=GREEN, lw=1.2, alpha=0.9)
            handles, labels = [*handles, line], [*labels, f"{name}, {_over(losses)}"]
        right.set_ylim(-0.02, 1.02)
        right.set_ylabel(", ".join(shares), color=GREEN)
        right.tick_params(axis="y", colors=GREEN)
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=3)
    write_figure(path, figure)


def escape_dollars(text: str) -> str:
    """Text as it stands, where matplotlib would read a formula between two dollars."""
    return text.replace("$", r"\$")


def write_figure(path: Path, figure: Figure, about: dict[str, str] | None = None) -> None:
    """Write a figure, whole or not at all, in the format that the file's name says.

    Args:
        path: where.
        figure: what.
        about: texts that a PNG carries within it, by their names.

    Raises:
        WriteError: if it cannot be written.
    """
    atomic_files.write(path, render_figure(figure, path.suffix.removeprefix("."), about))


def render_figure(figure: Figure, kind: str, about: dict[str, str] | None = None) -> bytes:
    """What a file of that kind, ``png`` or ``svg``, holds of a figure."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, metadata=about)
    return drawn.getvalue()


def running_mean(values: list[float]) -> list[float]:
    """The mean of each value and those before it, over a hundredth of them all.

    What is not finite is left out; nan where nothing else is left.
    """
    width = max(1, len(values) // SMOOTHING_PARTS)
    finite = np.isfinite(values)
    sums = np.cumsum([0.0, *np.where(finite, values, 0.0)])
    counts = np.cumsum([0, *finite])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    total, count = sums[ends] - sums[starts], counts[ends] - counts[starts]
    means: list[float] = np.where(count > 0, total / np.maximum(count, 1), np.nan).tolist()
    return means


def _over(values: list[float]) -> str:
    width = max(1, len(values) // SMOOTHING_PARTS)
    return "each batch" if width == 1 else f"mean of {width} batches"


def scale_loss(axes: Axes, losses: list[float], baseline: float) -> None:
    """A log scale for a loss that falls by far; else a linear one that a first spike does not fill.

    Far is from the 98th percentile to the least.
    """
    positive = [loss for loss in losses if loss > 0]
    if not positive:
        return
    most = float(np.percentile(positive, 98))
    if most > LOG_SCALE_FACTOR * min(positive):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0.9 * min(*positive, baseline), 1.1 * max(most, baseline))
