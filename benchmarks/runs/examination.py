"""What is found out about a trained model: its test scores, and all that its task can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.diagnostics.accuracy_figure import plot_accuracy
from benchmarks.diagnostics.confusion_matrix import ConfusionMatrix
from benchmarks.diagnostics.horizon import AccuracyCurve, accuracy_curve, follow, score_stream
from benchmarks.models import SequenceModel
from benchmarks.records.files import ACCURACY_FIGURE, CONFUSION_FIGURE
from benchmarks.tasks.task import Scores, Stream, Task
from benchmarks.training.distributed import Processes
from benchmarks.training.loop import evaluate
from benchmarks.training.settings import TrainSettings

from .build import TaskSpec
from .sampling import generate_sample

AS_TRAINED = "as trained"


@dataclass
class Findings:
    """What an examination found.

    Attributes:
        scores: on the test set, and on a stream.
        curves: the accuracy against the position on a stream, by the state of the model.
        figures: the drawings that were written, by name.
        text: what the model writes, if it reads text.
    """

    scores: Scores
    curves: dict[str, AccuracyCurve] = field(default_factory=dict)
    figures: dict[str, Path] = field(default_factory=dict)
    text: str | None = None


def examine(
    model: SequenceModel, task: Task, settings: TrainSettings, folder: Path, processes: Processes
) -> Findings:
    """Test a trained model, and look at it in every way that its task offers.

    A confusion matrix where there are classes, a text where there is a vocabulary, and how far the
    model stays right where there is a stream.

    Args:
        model: the model, with the weights to be tested.
        task: the task.
        settings: of the training, which say how large the test set is.
        folder: where drawings go.
        processes: that share the test set.

    Raises:
        WriteError: if a drawing cannot be written.
    """
    confusion = None if task.classes is None else ConfusionMatrix(task.classes)
    see: Callable[[Any, Any], None] | None = confusion.see if confusion else None
    findings = Findings(evaluate(model, task, settings, "test", see, processes))
    if confusion:
        path = findings.figures["confusion"] = folder / CONFUSION_FIGURE
        confusion.plot(task.title, path)
    if task.vocabulary is not None:
        findings.text = generate_sample(model, TaskSpec.of(task))
    if task.stream is not None:
        _follow_stream(model, task, task.stream, folder, findings)
    return findings


def _follow_stream(
    model: SequenceModel, task: Task, stream: Stream, folder: Path, findings: Findings
) -> None:
    shares = follow(model, stream)
    findings.scores |= score_stream(shares, stream)
    findings.curves[AS_TRAINED] = accuracy_curve(shares)
    path = findings.figures["accuracy"] = folder / ACCURACY_FIGURE
    plot_accuracy(findings.curves, stream, task.title, path)
