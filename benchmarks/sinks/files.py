"""Records in a file, the source of truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from benchmarks.flow import Flow
from benchmarks.record import Record


class JsonLines:
    """``metrics.jsonl``: one JSON object per step, flushed at once; the source of truth."""

    def __init__(self, path: Path) -> None:
        self.file: TextIO = path.open("a", encoding="utf-8")

    def write(self, record: Record) -> None:
        """Append the record as one line."""
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def show(self, step: int, flow: Flow, figure: Path) -> None:
        """Nothing: looks have a file of their own."""

    def sample(self, step: int, text: str) -> None:
        """Nothing: a text has a file of its own."""

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Close the file; the summary has one of its own."""
        self.file.close()
