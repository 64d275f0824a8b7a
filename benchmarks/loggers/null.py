"""No second place for the records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.diagnostics.gradient_flow import GradientFlow
from benchmarks.records.record import Record

from .logger import RunIdentity


class NullLogger:
    """Takes everything and keeps nothing: the files of the run are enough."""

    def __init__(self, identity: RunIdentity) -> None:
        """Nothing to open."""

    def log_record(self, record: Record) -> None:
        """Nothing."""

    def log_gradient_flow(self, step: int, flow: GradientFlow, figure: Path) -> None:
        """Nothing."""

    def log_text(self, step: int, text: str) -> None:
        """Nothing."""

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Nothing."""
