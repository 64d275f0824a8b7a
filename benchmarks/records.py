"""What a run leaves behind, and what its records say: read, summarised, described."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import median_filter

from .record import VALIDATION, Record, numbers, validation_scores
from .wandb_folder import how_to_upload

METRICS, ABOUT, CONFIG = "metrics.jsonl", "run.json", "config.yaml"
CHECKPOINT, BEST = "checkpoint.pt", "best.pt"
FIGURE, CONFUSION = "loss.png", "confusion.png"
LOOKS, FLOW = "gradients.jsonl", "gradients.png"
EARLIER = "earlier"  # the folder of a run's attempts before the present one
SAMPLE = "sample.txt"
THINNED = "thinned"  # in run.json: of how many records how many are kept
EARLIER_CHECKPOINTS = "checkpoint-[0-9]*.pt"  # those before the newest, the latest first
WANDB_ID = "wandb/id"
# all that a run writes into its folder, in the order in which it can be moved away
WRITTEN = [ABOUT, METRICS, CONFIG, CHECKPOINT, EARLIER_CHECKPOINTS, BEST, FIGURE, CONFUSION, LOOKS]
WRITTEN += [FLOW, SAMPLE, "wandb", "tensorboard"]

CLEARLY = 0.95
LASTING = 10


@dataclass(frozen=True)
class Run:
    """One run read back from its folder.

    Attributes:
        folder: where it was found.
        about: ``run.json``: task, model, sizes, seed, versions, status, resolved config.
        records: ``metrics.jsonl``, one record per step.
    """

    folder: Path
    about: dict[str, Any]
    records: list[Record]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """:func:`summarise` of the records; of thinned ones, what it was of all."""
        if THINNED in self.about:
            whole: dict[str, Any] = self.about["summary"]
            return whole
        return summarise(self.records, self.about["baseline"], self.about["target_loss"])


def read(folder: Path) -> Run:
    """Read one run; a last line cut short by a crash is left out.

    Raises:
        OSError: if a file is missing or cannot be read.
        ValueError: if one is damaged.
    """
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    needed = {"task", "model", "seed", "status", "started", "config", "baseline", "target_loss"}
    needed |= {"metrics", "test", "hidden_size", "parameters"}
    if not isinstance(about, dict) or not needed <= set(about):
        raise ValueError(f"{ABOUT} is not the description of a run")
    return Run(folder, about, read_records(folder))


def find(roots: list[Path]) -> list[Path]:
    """Every folder below ``roots`` that holds a run, in the order of their names.

    Earlier attempts at a run are left out.
    """
    found = set()
    for root in roots:
        for folder, below, files in os.walk(root.resolve()):
            if EARLIER in below:
                below.remove(EARLIER)
            if ABOUT in files:
                found.add(Path(folder))
    return sorted(found)


def read_records(folder: Path) -> list[Record]:
    """The records of a run, parsed at once, which is faster than one by one.

    A last line cut short by a crash is left out.

    Raises:
        OSError: if the file is missing or cannot be read.
        ValueError: if a line is no record.
    """
    lines = (folder / METRICS).read_text(encoding="utf-8").split("\n")[:-1]
    found: list[dict[str, Any]] = json.loads(f"[{','.join(lines)}]")
    if len(found) != len(lines) or not all(isinstance(record, dict) for record in found):
        raise ValueError(f"{METRICS} holds lines that are no records")
    return [numbers(row) if None in row.values() else row for row in found]


def first_below(records: list[Record], threshold: float | None) -> Record | None:
    """The first record below ``threshold`` after which the loss stays there; None without any.

    A batch can be easy or hard by chance: the loss is above where the median of ten records in a
    row, or of a twentieth of them all if that is more, is above.
    """
    if threshold is None or not records:
        return None
    losses = np.nan_to_num([r["loss"] for r in records], nan=np.inf)
    width = max(1, min(LASTING, len(losses) // 2), len(losses) // 20)
    centred = median_filter(losses, width, mode="nearest")
    medians = centred[width // 2 : len(losses) - (width - 1) // 2]  # of whole windows alone
    above = np.flatnonzero(~(medians < threshold))
    start = int(above[-1]) + 1 if len(above) else 0
    if start == len(medians):
        return None
    below = np.flatnonzero(losses[start:] < threshold)
    return records[start + int(below[0])]


def summarise(records: list[Record], baseline: float, target_loss: float | None) -> dict[str, Any]:
    """The numbers a reader asks for first; a missing one is None.

    ``steps_below_baseline`` is the first step whose loss is 5 % below the memoryless baseline, by
    :func:`first_below`, ``steps_to_target`` the first one below the task's target; where every
    batch is fresh, these are losses on data the model had never seen.
    """
    summary: dict[str, Any] = {"steps": int(records[-1]["step"]) if records else 0}
    for name, threshold in (("below_baseline", CLEARLY * baseline), ("to_target", target_loss)):
        hit = first_below(records, threshold)
        summary[f"steps_{name}"] = int(hit["step"]) if hit else None
        summary[f"seconds_{name}"] = hit["seconds"] if hit else None
    validated = [r for r in records if "validation_loss" in r]
    last = validated[-1] if validated else {}
    summary["best_validation_loss"] = min((r["validation_loss"] for r in validated), default=None)
    summary |= {name: value for name, value in last.items() if name.startswith(VALIDATION)}
    drifts = [r["orthogonality_error"] for r in records if "orthogonality_error" in r]
    summary["largest_orthogonality_error"] = max(drifts, default=None)
    summary["seconds"] = records[-1]["seconds"] if records else 0.0
    seconds = summary["seconds"]
    summary["steps_per_second"] = round(summary["steps"] / seconds, 3) if seconds else None
    return summary


def title(about: dict[str, Any]) -> str:
    """What was trained on what, for the head of a figure."""
    return (
        f"{about['task']}\n{about['model']}, hidden size {about['hidden_size']}, "
        f"{about['parameters']:,} parameters, seed {about['seed']}"
    )


def introduce(about: dict[str, Any]) -> str:
    """The text shown at the start of a run: what is trained on what."""
    threads = about["threads"]
    return f"{title(about)}, {threads} thread{'s' if threads > 1 else ''}"


def prefixed(test: Record | None) -> Record:
    """The test scores under the names by which a summary keeps them."""
    return {f"test_{name}": value for name, value in (test or {}).items()}


def show_loss(loss: float) -> str:
    """Four digits where they read well, a power of ten where they do not."""
    return f"{loss:.4g}" if 0.1 <= loss < 1000 else f"{loss:.2e}"


def show_scores(scores: Record, metrics: dict[str, dict[str, str]]) -> str:
    """Loss and metrics on one line, each as its task writes it."""
    shown = [
        f"{name.replace('_', ' ')} {scores[name]:{metric['show']}}"
        for name, metric in metrics.items()
        if name in scores
    ]
    return ", ".join([f"loss {show_loss(scores['loss'])}", *shown])


def describe(about: dict[str, Any], folder: Path, briefly: bool = False) -> str:
    """The text shown at the end of a run; briefly, without a word on each file."""
    s = about["summary"]

    def at(name: str) -> str:
        steps, seconds = s[f"steps_{name}"], s[f"seconds_{name}"]
        return "never" if steps is None else f"step {steps} ({seconds:.0f} s)"

    outcome = "solved" if about["solved"] else "not solved"
    if about["target_loss"] is None:
        outcome = "finished"
    if about["status"] != "finished":
        outcome = f"{about['status']}: {about['error']}"
    baseline = f"the memoryless baseline {show_loss(about['baseline'])}"
    lines = [
        f"  {outcome} after {s['steps']} steps in {s['seconds']:.0f} s"
        + (f" ({s['steps_per_second']:.3g} steps/s)" if s["steps_per_second"] else ""),
        f"  loss 5 % below {baseline}: {at('below_baseline')}",
    ]
    if about["target_loss"] is not None:
        lines.append(f"  loss below the target {about['target_loss']:.0e}: {at('to_target')}")
    scores = validation_scores(s)
    if scores:
        lines.append(f"  validation at the end: {show_scores(scores, about['metrics'])}")
    if about["test"]:
        lines.append(f"  test, best weights:    {show_scores(about['test'], about['metrics'])}")
    if s["largest_orthogonality_error"] is not None:
        lines.append(f"  largest ‖WᵀW-I‖ during the run: {s['largest_orthogonality_error']:.1e}")
    if briefly:
        whose = f"{about['model']} seed {about['seed']}: "
        return "\n".join([whose + lines[0].strip(), *lines[1:], f"  written to {folder}"])
    lines.append(f"written to {folder}:")
    kinds = {
        METRICS: "one record per step",
        ABOUT: "summary, sizes, versions",
        CONFIG: "the resolved configuration",
        CHECKPOINT: "model, optimizer and random states; beside it those before it",
        BEST: "the weights with the lowest validation loss",
        FIGURE: "the loss against its baseline",
        CONFUSION: "what was taken for what, on the test set",
        LOOKS: "gradients through time and spectra, at some steps",
        FLOW: "the same, drawn",
        SAMPLE: "what the best weights write",
        "wandb": f"W&B run; {how_to_upload(folder)}",
        "tensorboard": f"`tensorboard --logdir {folder}` shows it",
    }
    names = [name for name in kinds if (folder / name).exists()]
    lines += [f"  {name:<15} {kinds[name]}" for name in names]
    return "\n".join(lines)
