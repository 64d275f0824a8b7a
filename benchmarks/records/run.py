"""What a run leaves behind, and what its records say: read, summarised, described."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .files import EARLIER, METADATA, METRICS, THINNED
from .record import Record, from_json
from .summary import summarise

NEEDED = {
    "task", "model", "seed", "status", "started", "config", "baseline", "target_loss", "metrics",
    "test", "hidden_size", "parameters",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run read back from its folder.

    Attributes:
        folder: where it was found.
        metadata: ``run.json``: task, model, sizes, seed, versions, status, resolved config.
        records: ``metrics.jsonl``, one record per step.
    """

    folder: Path
    metadata: dict[str, Any]
    records: list[Record]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """:func:`summarise` of the records; of thinned ones, what it was of all."""
        if THINNED in self.metadata:
            whole: dict[str, Any] = self.metadata["summary"]
            return whole
        return summarise(self.records, self.metadata["baseline"], self.metadata["target_loss"])


def read_run(folder: Path) -> Run:
    """Read one run; a last line cut short by a crash is left out.

    Raises:
        OSError: if a file is missing or cannot be read.
        ValueError: if one is damaged.
    """
    metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    if not describes_run(metadata):
        raise ValueError(f"{METADATA} is not the description of a run")
    return Run(folder, metadata, read_records(folder))


def describes_run(metadata: Any) -> bool:
    """Whether a value read from JSON is the description of a run."""
    return isinstance(metadata, dict) and metadata.keys() >= NEEDED


def find_runs(roots: list[Path]) -> list[Path]:
    """Every folder below ``roots`` that holds a run, in the order of their names.

    Earlier attempts at a run are left out.
    """
    folders = set()
    for root in roots:
        for folder, below, files in os.walk(root.resolve()):
            if EARLIER in below:
                below.remove(EARLIER)
            if METADATA in files:
                folders.add(Path(folder))
    return sorted(folders)


def read_records(folder: Path) -> list[Record]:
    """The records of a run. A last line cut short by a crash is left out.

    Raises:
        OSError: if the file is missing or cannot be read.
        ValueError: if a line is no record.
    """
    rows = parse_lines((folder / METRICS).read_text(encoding="utf-8"), METRICS)
    return [from_json(row) if None in row.values() else row for row in rows]


def parse_lines(text: str, name: str) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines, parsed at once, which is faster than one by one.

    Args:
        text: of the file; what follows the last end of a line is left out.
        name: of the file, for the error.

    Raises:
        ValueError: if a line is no JSON object.
    """
    lines = text.split("\n")[:-1]
    rows: list[dict[str, Any]] = json.loads(f"[{','.join(lines)}]")
    if len(rows) != len(lines) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{name} holds lines that are no records")
    return rows
