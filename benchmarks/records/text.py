"""A run's title, losses and scores in words."""

from __future__ import annotations

from typing import Any

from .record import Record


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
