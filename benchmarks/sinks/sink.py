"""What takes the records of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from benchmarks.flow import Flow
from benchmarks.record import Record


class Sink(Protocol):
    """Takes every record of a run, then the end of it."""

    def write(self, record: Record) -> None:
        """Take one record."""

    def show(self, step: int, flow: Flow, figure: Path) -> None:
        """A look into the model after a step, 0 being the start, and its drawing."""

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """The run is over, whether it finished or not; ``figures`` are its plots by name."""
