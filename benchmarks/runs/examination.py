"""What is found out about a trained model: its test scores, and all that its task can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.config.errors import warn
from benchmarks.diagnostics.accuracy_figure import AccuracyCurve, plot_accuracy
from benchmarks.diagnostics.confusion_matrix import ConfusionMatrix
from benchmarks.diagnostics.horizon import accuracy_curve, follow, score_stream
from benchmarks.diagnostics.states_figure import DIMENSIONS, mean_states, plot_states
from benchmarks.models import SequenceModel, reduce_model
from benchmarks.records.files import ACCURACY_FIGURE, CONFUSION_FIGURE, STATES_FIGURE
from benchmarks.records.text import REDUCED
from benchmarks.tasks.stream import REDUCED_SIZE
from benchmarks.tasks.task import Batch, Scores, Stream, Task
from benchmarks.training.distributed import Processes
from benchmarks.training.loop import evaluate
from benchmarks.training.settings import TrainSettings
from orthornn import SwitchedOrthoRNN

from .build import TaskSpec
from .sampling import generate_sample

AS_TRAINED, AS_REDUCED = "as trained", "reduced"
SAMPLE_WORDS = 64  # by whose states a model is reduced


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
    model: SequenceModel,
    task: Task,
    settings: TrainSettings,
    folder: Path,
    title: str,
    processes: Processes,
) -> Findings:
    """Test a trained model, and look at it in every way that its task offers.

    A confusion matrix where there are classes, a text where there is a vocabulary, and how far the
    model stays right where there is a stream.

    Args:
        model: the model, with the weights to be tested.
        task: the task.
        settings: of the training, which say how large the test set is.
        folder: where drawings go.
        title: of the run, for the head of a drawing.
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
        _follow_stream(model, task, task.stream, folder, title, findings)
    return findings


def _follow_stream(
    model: SequenceModel,
    task: Task,
    stream: Stream,
    folder: Path,
    title: str,
    findings: Findings,
) -> None:
    """Follow a model on a stream and then, if it can be made smaller, the smaller one."""
    tracked = follow(model, stream)
    findings.scores |= score_stream(tracked, stream)
    findings.curves[AS_TRAINED] = accuracy_curve(tracked.accuracy)
    (sample,) = task.held_out("validation", SAMPLE_WORDS, 1)
    smaller = _reduce(model, sample)
    if smaller is not None:
        tracked = follow(smaller, stream)
        scores = score_stream(tracked, stream)
        findings.scores[REDUCED_SIZE] = float(smaller.hidden_size)
        findings.scores |= {f"{REDUCED}{name}": value for name, value in scores.items()}
        findings.curves[AS_REDUCED] = accuracy_curve(tracked.accuracy)
        if smaller.hidden_size == DIMENSIONS:
            path = findings.figures["states"] = folder / STATES_FIGURE
            plot_states(mean_states(smaller, sample), title, path)
    path = findings.figures["accuracy"] = folder / ACCURACY_FIGURE
    plot_accuracy(findings.curves, stream.trained_length, stream.chance, title, path)


def _reduce(model: SequenceModel, sample: Batch) -> SequenceModel | None:
    """The smaller model; None, and a word on why, where there is none."""
    if not isinstance(model.core, SwitchedOrthoRNN):
        return None
    try:
        return reduce_model(model, sample.input.to(model.readout.weight.device))
    except ValueError as error:
        warn(f"the model is not reduced: {error}")
        return None
