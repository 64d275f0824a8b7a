"""A run's title, losses and scores in words."""

from __future__ import annotations

from typing import Any

from .record import Record

REDUCED = "reduced_"  # before the scores of a model that was reduced after its training


def run_title(metadata: dict[str, Any]) -> str:
    """What was trained on what, for the head of a figure."""
    return (
        f"{metadata['task']}\n{metadata['model']}, hidden size {metadata['hidden_size']}, "
        f"{metadata['parameters']:,} parameters, seed {metadata['seed']}"
    )


def prefix_test_scores(test: Record | None) -> Record:
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


def stream_table(test: Record, stream: dict[str, Any]) -> list[str]:
    """How far a model stays right, as the lines of a table: as it was trained, and reduced.

    Args:
        test: the scores at the end of a run.
        stream: what ``run.json`` says of the stream.
    """
    metrics: dict[str, dict[str, str]] = stream["metrics"]
    names = [name for name in metrics if not name.startswith(REDUCED)]
    rows = [["", *(name.removeprefix("accuracy_") for name in names)]]
    for label, prefix in (("as trained", ""), ("reduced", REDUCED)):
        if f"{prefix}{names[0]}" not in test:
            continue
        size = f" to {test[f'{prefix}size']:.0f}" if f"{prefix}size" in test else ""
        values = [f"{test[prefix + name]:{metrics[name]['show']}}" for name in names]
        rows.append([label + size, *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
