"""The figure of one run: its loss against the baseline, and its other scores."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .train import Record, task_metrics

BLUE, GREY, GREEN = "#1f5fa8", "#707070", "#2a8a4a"


def plot_run(
    records: list[Record], title: str, baseline: float, target_loss: float, path: Path
) -> None:
    """Write a PNG: the loss on a log scale with baseline and target, the task's metrics beside."""
    steps = [r["step"] for r in records]
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.semilogy(steps, [r["loss"] for r in records], color=BLUE, lw=1.2, label="loss, each batch")
    evaluated = [r for r in records if "evaluation_loss" in r]
    axes.semilogy(
        [r["step"] for r in evaluated],
        [r["evaluation_loss"] for r in evaluated],
        "o",
        color=BLUE,
        ms=5,
        label="loss, evaluation set",
    )
    axes.axhline(baseline, color=GREY, ls="--", lw=1, label=f"memoryless baseline {baseline:.2e}")
    axes.axhline(target_loss, color=GREY, ls=":", lw=1, label=f"target {target_loss:.0e}")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.25)
    handles, labels = axes.get_legend_handles_labels()
    metrics = list(task_metrics(records[0]))
    if metrics:
        right = axes.twinx()
        for name, style in zip(metrics, ("-", "--", ":", "-."), strict=False):
            values = [r[name] for r in records]
            (line,) = right.plot(steps, values, style, color=GREEN, lw=1, alpha=0.8)
            handles, labels = [*handles, line], [*labels, f"{name}, each batch"]
        right.set_ylim(-0.02, 1.02)
        right.set_ylabel(", ".join(metrics), color=GREEN)
        right.tick_params(axis="y", colors=GREEN)
    axes.legend(handles, labels, fontsize=8, loc="center right", framealpha=0.9)
    figure.savefig(path)
