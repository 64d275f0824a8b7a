"""What a run writes while it goes on: records, gradients, summary and figures."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from benchmarks.config.errors import warn
from benchmarks.diagnostics.figures import plot_run
from benchmarks.loggers import JsonlLogger, Logger
from benchmarks.models import SequenceModel
from benchmarks.records.files import CONFIG, GRADIENTS, LOSS_FIGURE, METADATA, METRICS, SAMPLE
from benchmarks.records.record import Record, from_json, validation_scores
from benchmarks.records.summary import summarise
from benchmarks.records.text import prefix_test_scores, run_title
from benchmarks.system import atomic_files
from benchmarks.system.environment import timestamp
from benchmarks.tasks.task import Task
from benchmarks.training.settings import TrainSettings

from . import folder, metadata
from .examination import Findings
from .gradient_monitor import GradientMonitor
from .text import format_header, format_summary


class Recorder:
    """The files of a run beside its weights, and the loggers that see its records.

    Args:
        path: the run's folder.
        description: what ``run.json`` says, as
            :func:`benchmarks.runs.metadata.initial_metadata` makes it.
        task: the task.
        settings: of the training.
        model: the model, which is looked into.
        briefly: whether the end is told in few lines, as in a sweep.
    """

    def __init__(
        self,
        path: Path,
        description: dict[str, Any],
        task: Task,
        settings: TrainSettings,
        model: SequenceModel,
        briefly: bool = False,
    ) -> None:
        self.briefly = briefly
        self.path, self.metadata, self.task = path, description, task
        self.history: list[Record] = []
        self.figures: dict[str, Path] = {}
        self.loggers: list[Logger] = []
        self.gradient_monitor = GradientMonitor(model, task, settings, path, self.loggers)

    def resume(self, step: int) -> None:
        """Take up what was written up to a step; what was written after it goes.

        Raises:
            ConfigError: if it cannot be read, or records are missing.
        """
        self.history += map(from_json, folder.truncate_jsonl(self.path / METRICS, step))
        folder.check_whole(self.path, self.history, step)
        self.gradient_monitor.restore(folder.truncate_jsonl(self.path / GRADIENTS, step))
        before = folder.read_metadata(self.path) or self.metadata
        here = self.metadata["versions"]
        place = self.metadata["machine"]
        again = {"step": step, "at": timestamp(), "machine": place, "versions": here}
        there = [before, *before["resumed"]][-1]["versions"]
        differ = [
            f"{k} {there.get(k)} there, {here[k]} here" for k in here if there.get(k) != here[k]
        ]
        if differ:
            folder_name = atomic_files.relative(self.path)
            warn(f"{folder_name} goes on with other versions ({'; '.join(differ)})")
        self.metadata |= {
            name: before.get(name, self.metadata[name]) for name in ("started", "machine")
        }
        self.metadata["resumed"] = [*before["resumed"], again]

    def open(self, *others: Logger) -> None:
        """Open the file of the records, beside other loggers, which are closed if that fails."""
        self.loggers += others
        try:
            self.loggers.append(JsonlLogger(self.path / METRICS))
        except OSError:
            self._close({"status": "failed"})
            raise

    def print_header(self, config: str) -> None:
        """Write and print what is trained on what.

        Args:
            config: the resolved configuration as YAML.
        """
        self._write_metadata()
        resumed = self.metadata["resumed"]
        again = f", from step {resumed[-1]['step']} on" if resumed else ""
        _say(format_header(self.metadata) + again)
        atomic_files.write_text(self.path / CONFIG, config)
        if not self.history:
            self.gradient_monitor.measure_if_due(0)

    def log(self, record: Record) -> None:
        """Write a record, and a look if one is due."""
        self.history.append(record)
        for logger in self.loggers:
            logger.log_record(record)
        self.gradient_monitor.measure_if_due(int(record["step"]))

    def set_finished(self, step: int, findings: Findings) -> None:
        """The run has reached its end with a step, and this is what was found out then."""
        if findings.text is not None:
            atomic_files.write_text(self.path / SAMPLE, findings.text)
            for logger in self.loggers:
                logger.log_text(step, findings.text)
        self.figures |= findings.figures
        curves = {name: curve._asdict() for name, curve in findings.curves.items()}
        self.metadata |= {"test": findings.scores, "curves": curves, "status": "finished"}

    def set_stopped(self, error: BaseException) -> None:
        """The run ends before its end."""
        self.metadata |= metadata.final_status(error)

    def finish(self) -> None:
        """Draw, write and print what the records say, and close the loggers, whatever fails.

        Raises:
            WriteError: if a file could not be written; the run counts as interrupted then.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: _say(self._description()))
            stack.callback(lambda: self._close(self._ending()))
            stack.callback(self._write_metadata)  # what is called finished has its figures
            summary = summarise(self.history, self.task.baseline, self.task.target_loss)
            scores = validation_scores(summary)
            solved = bool(scores) and self.task.is_solved(scores)
            self.metadata |= {"summary": summary, "solved": solved}
            try:
                self._draw()
            except atomic_files.WriteError as error:
                if self.metadata["status"] == "finished":
                    self.set_stopped(error)
                raise

    def _draw(self) -> None:
        if self.history:
            figure = self.path / LOSS_FIGURE
            plot_run(self.history, self.metadata, figure)
            self.figures["figure"] = figure
        self.figures |= self.gradient_monitor.plot(run_title(self.metadata))

    def _description(self) -> str:
        return format_summary(self.metadata, atomic_files.relative(self.path), self.briefly)

    def _ending(self) -> dict[str, Any]:
        scores = prefix_test_scores(self.metadata["test"])
        return {**self.metadata["summary"], **scores, "status": self.metadata["status"]}

    def _close(self, summary: dict[str, Any]) -> None:
        """Close all loggers, also where one of them fails to."""
        with contextlib.ExitStack() as stack:
            for logger in self.loggers:
                stack.callback(logger.close, summary, self.figures)

    def _write_metadata(self) -> None:
        text = json.dumps(self.metadata, indent=2, ensure_ascii=False) + "\n"
        atomic_files.write_text(self.path / METADATA, text)


def _say(text: str) -> None:
    """Print a text; whoever reads it may be gone, or the disk that it goes to full."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
