"""What a run says on the screen when it starts and when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.loggers.wandb_files import how_to_upload
from benchmarks.records.files import (
    ACCURACY_FIGURE,
    BEST,
    CHECKPOINT,
    CONFIG,
    CONFUSION_FIGURE,
    GRADIENTS,
    GRADIENTS_FIGURE,
    LOSS_FIGURE,
    METADATA,
    METRICS,
    SAMPLE,
    STATES_FIGURE,
)
from benchmarks.records.record import validation_scores
from benchmarks.records.text import run_title, show_loss, show_scores, stream_table


def format_header(about: dict[str, Any]) -> str:
    """The text shown at the start of a run: what is trained on what."""
    threads = about["threads"]
    return f"{run_title(about)}, {threads} thread{'s' if threads > 1 else ''}"


def format_summary(about: dict[str, Any], folder: Path, briefly: bool = False) -> str:
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
        if about.get("stream") is not None:
            lines += [f"  {line}" for line in stream_table(about["test"], about["stream"])]
    if s["largest_orthogonality_error"] is not None:
        lines.append(f"  largest ‖WᵀW-I‖ during the run: {s['largest_orthogonality_error']:.1e}")
    if briefly:
        whose = f"{about['model']} seed {about['seed']}: "
        return "\n".join([whose + lines[0].strip(), *lines[1:], f"  written to {folder}"])
    lines.append(f"written to {folder}:")
    kinds = {
        METRICS: "one record per step",
        METADATA: "summary, sizes, versions",
        CONFIG: "the resolved configuration",
        CHECKPOINT: "model, optimizer and random states; beside it those before it",
        BEST: "the weights with the lowest validation loss",
        LOSS_FIGURE: "the loss against its baseline",
        CONFUSION_FIGURE: "what was taken for what, on the test set",
        ACCURACY_FIGURE: "how far the best weights stay right",
        STATES_FIGURE: "the states of the reduced model, in their three dimensions",
        GRADIENTS: "gradients through time and spectra, at some steps",
        GRADIENTS_FIGURE: "the same, drawn",
        SAMPLE: "what the best weights write",
        "wandb": f"W&B run; {how_to_upload(folder)}",
        "tensorboard": f"`tensorboard --logdir {folder}` shows it",
    }
    names = [name for name in kinds if (folder / name).exists()]
    lines += [f"  {name:<15} {kinds[name]}" for name in names]
    return "\n".join(lines)
