"""One curve for all seeds of a group: the median, with a band from the lowest to the highest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from benchmarks.diagnostics.figures import running_mean
from benchmarks.records.files import GRADIENTS
from benchmarks.records.run import Run

MAX_POINTS = 500


class Curve(NamedTuple):
    """A number against a step, over seeds.

    Attributes:
        x: the steps that all seeds have.
        middle: the median over seeds.
        low, high: the least and the greatest of the seeds.
        seeds: how many there are.
    """

    x: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def smooth(values: np.ndarray) -> np.ndarray:
    """The mean over the last hundredth of all steps."""
    return np.array(running_mean(values.tolist()))


def record_curve(
    runs: Sequence[Run],
    name: str,
    prepare: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Curve | None:
    """The number ``name`` of the records, prepared per seed; None if no run has it."""
    sides = []
    for run in runs:
        by_step = {r["step"]: r[name] for r in run.records if name in r}
        if by_step:
            values = np.fromiter(by_step.values(), dtype=float)
            sides.append((np.fromiter(by_step, dtype=float), prepare(values)))
    return _over_seeds(sides)


def accuracy_curve(runs: Sequence[Run], state: str) -> Curve | None:
    """The accuracy against the position on a stream, as trained or reduced; None without any."""
    found = [(run.metadata.get("curves") or {}).get(state) for run in runs]
    return _over_seeds(
        [
            (np.array(curve["positions"], dtype=float), np.array(curve["accuracies"], dtype=float))
            for curve in found
            if curve is not None
        ]
    )


def gradient_curve(runs: Sequence[Run]) -> tuple[Curve, int] | None:
    """``‖∂L/∂h_t‖ / ‖∂L/∂h_T‖`` against t at the last look of each run, and the step of that look.

    None if no run has looked, or nothing could be seen.
    """
    sides, step = [], 0
    for run in runs:
        last = _last_gradient_flow(run)
        norms = np.array(last.get("gradient_norms") or [0.0], dtype=float)
        if np.isfinite(norms).all() and norms[-1] > 0:
            sides.append((np.arange(1.0, len(norms) + 1), norms / norms[-1]))
            step = int(last["step"])
    curve = _over_seeds(sides)
    return None if curve is None else (curve, step)


def thin_curve(curve: Curve, most: int = MAX_POINTS) -> Curve:
    """At most ``most`` points: of each stretch the least and the greatest, and all of its band."""
    count = len(curve.x)
    if count <= most:
        return curve
    edges = np.linspace(0, count, most // 2 + 1).astype(int)
    kept, low, high = [], [], []
    for start, stop in pairwise(edges.tolist()):
        part = curve.middle[start:stop]
        gap = np.isnan(part).all()
        for place in [0] if gap else sorted({int(np.nanargmin(part)), int(np.nanargmax(part))}):
            kept.append(start + place)
            low.append(_least(curve.low[start:stop]))
            high.append(-_least(-curve.high[start:stop]))
    return Curve(curve.x[kept], curve.middle[kept], np.array(low), np.array(high), curve.seeds)


def _over_seeds(sides: list[tuple[np.ndarray, np.ndarray]]) -> Curve | None:
    if not sides:
        return None
    x = reduce(np.intersect1d, (steps for steps, _ in sides))
    if not len(x):
        return None
    stacked = np.array([values[np.isin(steps, x)] for steps, values in sides])
    stacked = np.where(np.isfinite(stacked), stacked, np.nan)
    # the median of a step at which any seed is not finite is not known either
    return Curve(x, np.median(stacked, 0), stacked.min(0), stacked.max(0), len(sides))


def _least(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.min()) if len(known) else float("nan")


def _last_gradient_flow(run: Run) -> dict[str, Any]:
    """The last whole line of ``gradients.jsonl``; empty without one."""
    try:
        lines = (run.folder / GRADIENTS).read_text(encoding="utf-8").split("\n")[:-1]
        last = json.loads(lines[-1]) if lines else {}
    except (OSError, ValueError):
        return {}
    return last if isinstance(last, dict) else {}
