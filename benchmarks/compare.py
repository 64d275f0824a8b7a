"""Compare finished runs: ``python -m benchmarks.compare [FOLDERS...]`` (default: runs).

Runs that differ by their seed alone form a group. For each task the groups stand in a table, with
95 % bootstrap intervals over seeds, and in a figure of their learning curves.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import bootstrap

from .plot import literal, scale_loss
from .records import Run, find, prefixed, read, show_loss
from .setting import setting


class Group(NamedTuple):
    """Runs that differ by their seed alone, under one name."""

    name: str
    runs: list[Run]

    @property
    def finished(self) -> list[Run]:
        """The runs that reached their last step: the only ones that enter a mean or a curve."""
        return [run for run in self.runs if run.about["status"] == "finished"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and write one figure per task; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("runs")])
    parser.add_argument("--figures", type=Path, help="folder for the PNGs (default: the first one)")
    options = parser.parse_args(arguments)
    missing = [str(folder) for folder in options.folders if not folder.is_dir()]
    if missing:
        parser.error(f"not a folder: {', '.join(missing)}")
    runs = _readable(find(options.folders))
    if not runs:
        parser.error(f"no runs below {', '.join(map(str, options.folders))}")
    figures: Path = options.figures or options.folders[0]
    figures.mkdir(parents=True, exist_ok=True)
    for number, (task, groups) in enumerate(by_task(runs).items(), start=1):
        print(f"\n{task}\n\n{table(groups)}\n")
        path = figures / f"compare-{number}.png"
        plot(groups, task, path)
        print(f"learning curves: {path}")
    return 0


def _readable(folders: list[Path]) -> list[Run]:
    runs = []
    for folder in folders:
        try:
            runs.append(read(folder))
        except (OSError, ValueError) as error:
            print(f"skipped {folder}: {error}", file=sys.stderr)
    return runs


def by_task(runs: list[Run]) -> dict[str, list[Group]]:
    """Task title to its groups of runs; within a group only the seed differs.

    A group is named by its model and by the settings in which it differs from another group of
    the same task and model. Of several runs with one seed, the last finished one counts.
    """
    tasks: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        key = json.dumps([run.about["model"], setting(run.about["config"])], sort_keys=True)
        tasks.setdefault(run.about["task"], {}).setdefault(key, []).append(run)
    return {
        task: _named([_one_per_seed(group) for group in groups.values()])
        for task, groups in tasks.items()
    }


def _one_per_seed(runs: list[Run]) -> list[Run]:
    ordered = sorted(runs, key=lambda r: (r.about["status"] == "finished", r.about["started"]))
    return list({run.about["seed"]: run for run in ordered}.values())


def _named(groups: list[list[Run]]) -> list[Group]:
    named = []
    for runs in groups:
        model, own = runs[0].about["model"], setting(runs[0].about["config"])
        others = [setting(g[0].about["config"]) for g in groups if g[0].about["model"] == model]
        keys = sorted({key for other in others for key in other})
        differing = [k for k in keys if any(o.get(k) != own.get(k) for o in others)]
        details = [f"{k.rpartition('.')[2]}={own.get(k)}" for k in differing]
        named.append(Group(", ".join([model, *details]), runs))
    return named


def table(groups: list[Group]) -> str:
    """A Markdown table with one row per group, best validation loss first.

    Means, intervals and steps are those of the finished runs; the scores are those on the test set
    of the weights with the best validation loss. A run beats the baseline at its first loss 5 %
    below it.
    """
    metrics: dict[str, dict[str, str]] = groups[0].runs[0].about["metrics"]
    header = [
        "model",
        "hidden",
        "parameters",
        "seeds",
        "best validation loss",
        "test loss",
        *(f"test {name.replace('_', ' ')}" for name in metrics),
        "steps to beat the baseline",
        "steps to target",
        "steps/s",
        "‖WᵀW-I‖",
    ]
    ordered = sorted(groups, key=lambda group: _mean(group, "best_validation_loss"))
    rows = [header, ["---"] * len(header), *(_row(group, metrics) for group in ordered)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = []
    for row in rows:
        cells = (
            cell.ljust(width, "-" if cell == "---" else " ")
            for cell, width in zip(row, widths, strict=True)
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the mean; None for fewer than three values."""
    if len(values) < 3:
        return None
    if len(set(values)) == 1:
        return values[0], values[0]
    rng = np.random.default_rng(0)
    result = bootstrap((np.asarray(values),), np.mean, method="percentile", rng=rng)
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def plot(groups: list[Group], task: str, path: Path) -> None:
    """Loss against step: the median over seeds, with a band from the lowest to the highest."""
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    drawn: list[float] = []
    for group in groups:
        curves = [run.records for run in group.finished if run.records]
        if not curves:
            continue
        length = min(map(len, curves))
        losses = np.array([[r["loss"] for r in curve[:length]] for curve in curves])
        steps = [r["step"] for r in curves[0][:length]]
        parameters = group.runs[0].about["parameters"]
        label = literal(f"{group.name}, {parameters:,} parameters, {_seeds(len(curves))}")
        (line,) = axes.plot(steps, np.median(losses, 0), lw=1.2, label=label)
        drawn += losses.ravel().tolist()
        if len(curves) > 1:
            band = losses.min(0), losses.max(0)
            axes.fill_between(steps, *band, color=line.get_color(), alpha=0.2, lw=0)
    about = groups[0].runs[0].about
    axes.axhline(about["baseline"], color="0.4", ls="--", lw=1, label="memoryless baseline")
    scale_loss(axes, drawn, about["baseline"])
    for target in sorted({group.runs[0].about["target_loss"] for group in groups} - {None}):
        axes.axhline(target, color="0.4", ls=":", lw=1, label=f"target {target:.0e}")
    axes.set(title=literal(task), xlabel="optimizer step", ylabel="loss")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    figure.savefig(path)


def _row(group: Group, metrics: dict[str, dict[str, str]]) -> list[str]:
    about = group.runs[0].about
    statuses = Counter(run.about["status"] for run in group.runs)
    finished = statuses.pop("finished", 0)
    unfinished = [f"{count} {status}" for status, count in sorted(statuses.items())]
    return [
        group.name,
        str(about["hidden_size"]),
        f"{about['parameters']:,}",
        ", ".join([str(finished), *unfinished]),
        _with_interval(_values(group, "best_validation_loss"), show_loss),
        _with_interval(_values(group, "test_loss"), show_loss),
        *(
            _with_interval(_values(group, f"test_{name}"), f"{{:{metric['show']}}}".format)
            for name, metric in metrics.items()
        ),
        _reached(group, "steps_below_baseline"),
        "-" if about["target_loss"] is None else _reached(group, "steps_to_target"),
        _with_interval(_values(group, "steps_per_second"), "{:.3g}".format),
        _largest(_values(group, "largest_orthogonality_error")),
    ]


def _values(group: Group, name: str) -> list[float]:
    found = ({**run.summary, **prefixed(run.about["test"])}.get(name) for run in group.finished)
    return [value for value in found if value is not None]


def _mean(group: Group, name: str) -> float:
    values = _values(group, name)
    return statistics.fmean(values) if values else float("inf")


def _with_interval(values: list[float], show: Callable[[float], str]) -> str:
    if not values:
        return "-"
    bounds = interval(values)
    text = show(statistics.fmean(values))
    return text if bounds is None else f"{text} [{show(bounds[0])}, {show(bounds[1])}]"


def _largest(values: list[float]) -> str:
    return f"{max(values):.0e}" if values else "-"


def _reached(group: Group, name: str) -> str:
    values = sorted(_values(group, name))
    never = len(group.finished) - len(values)
    return ", ".join([f"{v:.0f}" for v in values] + ["never"] * never) or "-"


def _seeds(count: int) -> str:
    return f"{count} seed" + ("s" if count > 1 else "")


if __name__ == "__main__":
    sys.exit(main())
