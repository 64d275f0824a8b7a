"""What a run leaves behind, and what its records say: read, summarised, described."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .files import ABOUT, EARLIER, FLOW, METRICS, SAMPLE, THINNED, WRITTEN
from .record import Record, numbers
from .summary import summarise

WRITTEN += [FLOW, SAMPLE, "wandb", "tensorboard"]


@dataclass(frozen=True)
class Run:
    """One run read back from its folder.

    Attributes:
        folder: where it was found.
        about: ``run.json``: task, model, sizes, seed, versions, status, resolved config.
        records: ``metrics.jsonl``, one record per step.
    """

    folder: Path
    about: dict[str, Any]
    records: list[Record]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """:func:`summarise` of the records; of thinned ones, what it was of all."""
        if THINNED in self.about:
            whole: dict[str, Any] = self.about["summary"]
            return whole
        return summarise(self.records, self.about["baseline"], self.about["target_loss"])


def read(folder: Path) -> Run:
    """Read one run; a last line cut short by a crash is left out.

    Raises:
        OSError: if a file is missing or cannot be read.
        ValueError: if one is damaged.
    """
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    needed = {"task", "model", "seed", "status", "started", "config", "baseline", "target_loss"}
    needed |= {"metrics", "test", "hidden_size", "parameters"}
    if not isinstance(about, dict) or not needed <= set(about):
        raise ValueError(f"{ABOUT} is not the description of a run")
    return Run(folder, about, read_records(folder))


def find(roots: list[Path]) -> list[Path]:
    """Every folder below ``roots`` that holds a run, in the order of their names.

    Earlier attempts at a run are left out.
    """
    found = set()
    for root in roots:
        for folder, below, files in os.walk(root.resolve()):
            if EARLIER in below:
                below.remove(EARLIER)
            if ABOUT in files:
                found.add(Path(folder))
    return sorted(found)


def read_records(folder: Path) -> list[Record]:
    """The records of a run, parsed at once, which is faster than one by one.

    A last line cut short by a crash is left out.

    Raises:
        OSError: if the file is missing or cannot be read.
        ValueError: if a line is no record.
    """
    lines = (folder / METRICS).read_text(encoding="utf-8").split("\n")[:-1]
    found: list[dict[str, Any]] = json.loads(f"[{','.join(lines)}]")
    if len(found) != len(lines) or not all(isinstance(record, dict) for record in found):
        raise ValueError(f"{METRICS} holds lines that are no records")
    return [numbers(row) if None in row.values() else row for row in found]
