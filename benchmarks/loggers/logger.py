"""What takes the records of a run, and what it is told of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.diagnostics.gradient_flow import GradientFlow
from benchmarks.records.record import Record
from benchmarks.tasks.task import Metric


@dataclass(frozen=True)
class RunIdentity:
    """By what a run is known outside its folder.

    Attributes:
        folder: where its files are.
        name: model, overrides and seed.
        group: what the runs that differ by the seed alone share; it ends in their fingerprint.
        job_type: the benchmark.
        tags: the task and the model.
        config: the resolved configuration with sizes and versions, as plain data.
        metrics: the task's scores beside the loss, by name.
        step: 0, or the step after which the run goes on.
    """

    folder: Path
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    metrics: Mapping[str, Metric]
    step: int = 0


class Logger(Protocol):
    """Takes every record of a run, then the end of it."""

    def log_record(self, record: Record) -> None:
        """Take one record."""

    def log_gradient_flow(self, step: int, flow: GradientFlow, figure: Path) -> None:
        """A look into the model after a step, 0 being the start, and its drawing."""

    def log_text(self, step: int, text: str) -> None:
        """What the model wrote after a step."""

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """The run is over, whether it finished or not; ``figures`` are its plots by name."""
