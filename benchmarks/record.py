"""One step's record: a flat dictionary of numbers, in which some steps carry validation scores."""

from __future__ import annotations

Record = dict[str, float]

VALIDATION = "validation_"


def validation_scores(record: Record) -> Record:
    """The scores on the validation set that a record holds, without their prefix."""
    return {
        name.removeprefix(VALIDATION): value
        for name, value in record.items()
        if name.startswith(VALIDATION)
    }
