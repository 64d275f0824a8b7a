"""Records in a file, the source of truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.diagnostics.gradient_flow import GradientFlow
from benchmarks.records.record import Record, to_json
from benchmarks.system import atomic_files


class JsonlLogger:
    """``metrics.jsonl``: one JSON object per step, written at once; the source of truth.

    Raises:
        WriteError: if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with atomic_files.write_errors(path):
            self.file = path.open("ab", buffering=0)

    def log_record(self, record: Record) -> None:
        """Append the record as one line.

        Raises:
            WriteError: if that cannot be done.
        """
        with atomic_files.write_errors(self.path):
            atomic_files.write_all(self.file, to_json(record).encode())

    def log_gradient_flow(self, step: int, flow: GradientFlow, figure: Path) -> None:
        """Nothing: looks have a file of their own."""

    def log_text(self, step: int, text: str) -> None:
        """Nothing: a text has a file of its own."""

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Close the file; the summary has one of its own."""
        self.file.close()
