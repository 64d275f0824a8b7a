"""The numbers that a reader asks for first, from the records of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import median_filter

from .record import VALIDATION, Record

BASELINE_FACTOR = 0.95


MEDIAN_WINDOW = 10
STAGE_STEPS = 20  # at the end of a run, whose median loss is its last stage's


def first_below(records: list[Record], threshold: float | None) -> Record | None:
    """The first record below ``threshold`` after which the loss stays there; None without any.

    A batch can be easy or hard by chance: the loss is above where the median of ten records in a
    row, or of a twentieth of them all if that is more, is above.
    """
    if threshold is None or not records:
        return None
    losses = np.nan_to_num([r["loss"] for r in records], nan=np.inf)
    width = max(1, min(MEDIAN_WINDOW, len(losses) // 2), len(losses) // 20)
    centred = median_filter(losses, width, mode="nearest")
    medians = centred[width // 2 : len(losses) - (width - 1) // 2]  # of whole windows alone
    above = np.flatnonzero(~(medians < threshold))
    start = int(above[-1]) + 1 if len(above) else 0
    if start == len(medians):
        return None
    below = np.flatnonzero(losses[start:] < threshold)
    return records[start + int(below[0])]


def best_of_last_stage(records: list[Record]) -> float | None:
    """The best validation loss of the last stage of a curriculum that was validated, or of all.

    That of the weights which are tested; an earlier stage may have had a lower one.
    """
    validated = [r for r in records if "validation_loss" in r]
    stage = validated[-1].get("length") if validated else None
    losses = (r["validation_loss"] for r in validated if r.get("length") == stage)
    return min(losses, default=None)


def summarise(records: list[Record], baseline: float, target_loss: float | None) -> dict[str, Any]:
    """The numbers a reader asks for first; a missing one is None.

    ``steps_below_baseline`` is the first step whose loss is 5 % below the memoryless baseline, by
    :func:`first_below`, ``steps_to_target`` the first one below the task's target; where every
    batch is fresh, these are losses on data the model had never seen. Under a curriculum,
    ``stage_length`` is the length of the words of its last stage and ``stage_loss`` the median
    training loss there, of the last steps.
    """
    summary: dict[str, Any] = {"steps": int(records[-1]["step"]) if records else 0}
    for name, threshold in (
        ("below_baseline", BASELINE_FACTOR * baseline),
        ("to_target", target_loss),
    ):
        hit = first_below(records, threshold)
        summary[f"steps_{name}"] = int(hit["step"]) if hit else None
        summary[f"seconds_{name}"] = hit["seconds"] if hit else None
    validated = [r for r in records if "validation_loss" in r]
    last = validated[-1] if validated else {}
    summary["best_validation_loss"] = min((r["validation_loss"] for r in validated), default=None)
    summary |= {name: value for name, value in last.items() if name.startswith(VALIDATION)}
    drifts = [r["orthogonality_error"] for r in records if "orthogonality_error" in r]
    summary["largest_orthogonality_error"] = max(drifts, default=None)
    if staged := [r for r in records if "length" in r]:
        length = staged[-1]["length"]
        losses = [r["loss"] for r in staged if r["length"] == length]
        summary |= {"stage_length": length, "stage_loss": float(np.median(losses[-STAGE_STEPS:]))}
    summary["seconds"] = records[-1]["seconds"] if records else 0.0
    seconds = summary["seconds"]
    summary["steps_per_second"] = round(summary["steps"] / seconds, 3) if seconds else None
    return summary
