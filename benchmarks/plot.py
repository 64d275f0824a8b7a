"""The figure of one run: its loss against the baseline, and its other scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .records import title
from .train import Record

BLUE, GREY, GREEN = "#1f5fa8", "#707070", "#2a8a4a"
WIDE = 20  # a loss that changes by more than this factor is drawn on a log scale


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
    axes.set_title(title(about), fontsize=10)
    losses = [r["loss"] for r in records]
    axes.plot(steps, losses, color=BLUE, lw=1.2, label="loss, each batch")
    validated = [r for r in records if "validation_loss" in r]
    axes.plot(
        [r["step"] for r in validated],
        [r["validation_loss"] for r in validated],
        "o",
        color=BLUE,
        ms=5,
        label="loss, validation set",
    )
    scale_loss(axes, losses)
    baseline, target = about["baseline"], about["target_loss"]
    label = f"memoryless baseline {baseline:.3g}"
    axes.axhline(baseline, color=GREY, ls="--", lw=1, label=label)
    if target is not None:
        axes.axhline(target, color=GREY, ls=":", lw=1, label=f"target {target:.0e}")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.25)
    handles, labels = axes.get_legend_handles_labels()
    shares = [name for name, m in about["metrics"].items() if m["show"].endswith("%")]
    if shares:
        right = axes.twinx()
        for name, style in zip(shares, ("-", "--", ":", "-."), strict=False):
            values = [r[name] for r in records]
            (line,) = right.plot(steps, values, style, color=GREEN, lw=1, alpha=0.8)
            handles, labels = [*handles, line], [*labels, f"{name}, each batch"]
        right.set_ylim(-0.02, 1.02)
        right.set_ylabel(", ".join(shares), color=GREEN)
        right.tick_params(axis="y", colors=GREEN)
    axes.legend(handles, labels, fontsize=8, loc="center right", framealpha=0.9)
    figure.savefig(path)


def scale_loss(axes: Axes, losses: list[float]) -> None:
    """A log scale for a loss that falls by far, a linear one for one that falls a little."""
    positive = [loss for loss in losses if loss > 0]
    if positive and max(positive) > WIDE * min(positive):
        axes.set_yscale("log")
