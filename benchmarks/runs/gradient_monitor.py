"""Periodic gradient-flow measurements of a run, written to gradients.jsonl and plotted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.diagnostics.gradient_flow import (
    GradientFlow,
    measure_gradient_flow,
    plot_gradient_flow,
)
from benchmarks.loggers import Logger
from benchmarks.models import SequenceModel
from benchmarks.records.files import GRADIENTS, GRADIENTS_FIGURE
from benchmarks.system import atomic_files
from benchmarks.tasks.task import Task
from benchmarks.training.settings import TrainSettings

MOST_LINES = 5  # in the figure at the end


class GradientMonitor:
    """Takes a look at the start, at the end and every ``settings.gradient_flow_every`` steps.

    Every look is a line of ``gradients.jsonl`` and goes to the loggers; nothing is done where the
    settings say never. The batch is the first of the validation set, the same for every look.
    """

    def __init__(
        self,
        model: SequenceModel,
        task: Task,
        settings: TrainSettings,
        folder: Path,
        loggers: Sequence[Logger],
    ) -> None:
        self.model, self.task, self.settings = model, task, settings
        self.folder, self.loggers = folder, loggers
        self.flows: dict[int, GradientFlow] = {}

    def restore(self, rows: list[dict[str, Any]]) -> None:
        """Take up the measurements of a run that was stopped, as its file has them."""
        for row in rows:
            self.flows[row["step"]] = GradientFlow(
                **{name: row[name] for name in GradientFlow._fields}
            )

    def measure_if_due(self, step: int) -> None:
        """Look after ``step``, if one is due."""
        every = self.settings.gradient_flow_every
        if every is None or (step % every and step != self.settings.total):
            return
        if step in self.flows:  # before the run was stopped
            return
        batch = next(iter(self.task.held_out("validation", self.settings.batch_size, 1)))
        flow = measure_gradient_flow(self.model, self.task, batch)
        if flow.empty:
            return
        self.flows[step] = flow
        text = json.dumps({"step": step, **flow._asdict()}) + "\n"
        atomic_files.append(self.folder / GRADIENTS, text)
        path = self.folder / GRADIENTS_FIGURE
        plot_gradient_flow({f"step {step}": flow}, f"{self.task.title}, step {step}", path)
        for logger in self.loggers:
            logger.log_gradient_flow(step, flow, path)

    def plot(self, title: str) -> dict[str, Path]:
        """Draw some measurements in one figure; returns it under its name, if there is any."""
        if not self.flows:
            return {}
        steps = list(self.flows)
        places = [round(k * (len(steps) - 1) / (MOST_LINES - 1)) for k in range(MOST_LINES)]
        shown = {f"step {steps[k]}": self.flows[steps[k]] for k in sorted(set(places))}
        path = self.folder / GRADIENTS_FIGURE
        plot_gradient_flow(shown, title, path)
        return {"gradients": path}
