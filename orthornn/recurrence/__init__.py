"""The recurrences, their adjoints, and all ways to run them: one package each, one machinery."""

from .elman.recurrence import ELMAN
from .recurrence import Recurrence
from .switched.recurrence import SWITCHED


def backends() -> dict[str, str | None]:
    """The names that ``OrthoRNN(backend=...)`` takes, each with why it cannot run here, or None."""
    return ELMAN.availability()


__all__ = ["ELMAN", "SWITCHED", "Recurrence", "backends"]
