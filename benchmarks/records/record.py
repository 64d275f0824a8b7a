"""One step's record: a flat dictionary of numbers, in which some steps carry validation scores."""

from __future__ import annotations

import json
import math
from typing import Any

Record = dict[str, float]

VALIDATION = "validation_"
SKIPPED = "skipped"  # batches passed over so far, in the record of one that was


def validation_scores(record: Record) -> Record:
    """The scores on the validation set that a record holds, without their prefix."""
    return {
        name.removeprefix(VALIDATION): value
        for name, value in record.items()
        if name.startswith(VALIDATION)
    }


def to_json(record: Record, **more: str) -> str:
    """A record as a line of JSON, which has no number that is not finite: null stands for it.

    Args:
        record: the record.
        more: what stands before it on the line.
    """
    plain = {name: value if math.isfinite(value) else None for name, value in record.items()}
    return json.dumps({**more, **plain}) + "\n"


def from_json(row: dict[str, Any]) -> Record:
    """A row of JSON as a record: nan for null."""
    return {name: math.nan if value is None else value for name, value in row.items()}
