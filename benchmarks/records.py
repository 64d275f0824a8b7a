"""What a run leaves behind, and what its records say: read, summarised, described."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .train import EVALUATION, Record, evaluation_scores

METRICS, ABOUT, CONFIG = "metrics.jsonl", "run.json", "config.yaml"
CHECKPOINT, FIGURE = "checkpoint.pt", "loss.png"


CLEARLY = 0.95


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
        """:func:`summarise` of the records."""
        return summarise(self.records, self.about["baseline"], self.about["target_loss"])


def read(folder: Path) -> Run:
    """Read one run; a last line cut short by a crash is left out.

    Raises:
        OSError: if a file is missing or cannot be read.
        ValueError: if one is damaged.
    """
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    needed = {"task", "model", "seed", "status", "started", "config", "baseline", "target_loss"}
    if not isinstance(about, dict) or not needed <= set(about):
        raise ValueError(f"{ABOUT} is not the description of a run")
    lines = (folder / METRICS).read_text(encoding="utf-8").split("\n")
    return Run(folder, about, [json.loads(line) for line in lines[:-1]])


def find(roots: list[Path]) -> list[Path]:
    """Every folder below ``roots`` that holds a run, in the order of their names."""
    return sorted({path.parent for root in roots for path in root.resolve().rglob(ABOUT)})


def first_below(records: list[Record], threshold: float) -> Record | None:
    """The first record whose loss is below ``threshold``, or None."""
    return next((r for r in records if r["loss"] < threshold), None)


def summarise(records: list[Record], baseline: float, target_loss: float) -> dict[str, Any]:
    """The numbers a reader asks for first; a missing one is None.

    ``steps_below_baseline`` is the first step whose loss, on data the model had never seen, is
    5 % below the memoryless baseline (a blind model is a little below it on every other batch);
    ``steps_to_target`` the first one below the task's target.
    """
    summary: dict[str, Any] = {"steps": int(records[-1]["step"]) if records else 0}
    for name, threshold in (("below_baseline", CLEARLY * baseline), ("to_target", target_loss)):
        hit = first_below(records, threshold)
        summary[f"steps_{name}"] = int(hit["step"]) if hit else None
        summary[f"seconds_{name}"] = hit["seconds"] if hit else None
    evaluated = [r for r in records if evaluation_scores(r)]
    last = evaluated[-1] if evaluated else {}
    summary |= {name: value for name, value in last.items() if name.startswith(EVALUATION)}
    drifts = [r["orthogonality_error"] for r in records if "orthogonality_error" in r]
    summary["largest_orthogonality_error"] = max(drifts, default=None)
    summary["seconds"] = records[-1]["seconds"] if records else 0.0
    seconds = summary["seconds"]
    summary["steps_per_second"] = round(summary["steps"] / seconds, 3) if seconds else None
    return summary


def introduce(about: dict[str, Any]) -> str:
    """The text shown at the start of a run: what is trained on what."""
    threads = about["threads"]
    return (
        f"{about['task']}\n{about['model']}, hidden size {about['hidden_size']}, "
        f"{about['parameters']:,} parameters, seed {about['seed']}, "
        f"{threads} thread{'s' if threads > 1 else ''}"
    )


def describe(about: dict[str, Any], folder: Path) -> str:
    """The text shown at the end of a run."""
    s = about["summary"]

    def at(name: str) -> str:
        steps, seconds = s[f"steps_{name}"], s[f"seconds_{name}"]
        return "never" if steps is None else f"step {steps} ({seconds:.0f} s)"

    solved = "solved" if about["solved"] else "not solved"
    if about["status"] != "finished":
        solved = f"{about['status']}: {about['error']}"
    lines = [
        f"  {solved} after {s['steps']} steps in {s['seconds']:.0f} s"
        + (f" ({s['steps_per_second']:.3g} steps/s)" if s["steps_per_second"] else ""),
        f"  loss 5 % below the memoryless baseline {about['baseline']:.2e}: {at('below_baseline')}",
        f"  loss below the target {about['target_loss']:.0e}: {at('to_target')}",
    ]
    scores = evaluation_scores(s)
    if scores:
        metrics = [f"{name} {value:.2%}" for name, value in scores.items() if name != "loss"]
        lines.append(", ".join([f"  evaluation: loss {scores['loss']:.2e}", *metrics]))
    if s["largest_orthogonality_error"] is not None:
        lines.append(f"  largest ‖WᵀW-I‖ during the run: {s['largest_orthogonality_error']:.1e}")
    lines.append(f"written to {folder}:")
    kinds = {
        METRICS: "one record per step",
        ABOUT: "summary, sizes, versions",
        CONFIG: "the resolved configuration",
        CHECKPOINT: "model, optimizer and random states",
        FIGURE: "the loss against its baseline",
        "wandb": f"W&B run; `wandb sync {folder}/wandb/offline-run-*` uploads it",
    }
    if not list((folder / "wandb").glob("offline-run-*")):
        kinds["wandb"] = "files of the W&B run"
    names = [name for name in kinds if (folder / name).exists()]
    lines += [f"  {name:<14} {kinds[name]}" for name in names]
    return "\n".join(lines)
