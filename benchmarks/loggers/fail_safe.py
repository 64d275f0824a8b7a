"""A logger whose failure does not end a training: it is given up, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.config.errors import warn
from benchmarks.diagnostics.gradient_flow import GradientFlow
from benchmarks.records.record import Record

from .logger import Logger


class LoggerUnavailable(Exception):
    """A place for records cannot be had, or no more; the message is for the user, on one line."""


class FailSafeLogger:
    """Passes everything on until the first error, says so in one line, and takes no more.

    The file of the records is not guarded: what it cannot take is nowhere, and ends the run.

    Args:
        name: what the logger is to the user.
        make: builds the logger.

    Raises:
        ValueError: what ``make`` raises: the logger refuses its configuration.
    """

    def __init__(self, name: str, make: Callable[[], Logger]) -> None:
        self.name = name
        self.wrapped: Logger | None = None
        try:
            self.wrapped = make()
        except ValueError:
            raise
        except Exception as error:
            self._give_up(error)

    def log_record(self, record: Record) -> None:
        """Pass a record on."""
        self._attempt(lambda logger: logger.log_record(record))

    def log_gradient_flow(self, step: int, flow: GradientFlow, figure: Path) -> None:
        """Pass a look on."""
        self._attempt(lambda logger: logger.log_gradient_flow(step, flow, figure))

    def log_text(self, step: int, text: str) -> None:
        """Pass a text on."""
        self._attempt(lambda logger: logger.log_text(step, text))

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Pass the end on."""
        self._attempt(lambda logger: logger.close(summary, figures))

    def _attempt(self, action: Callable[[Logger], None]) -> None:
        if self.wrapped is None:
            return
        try:
            action(self.wrapped)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.wrapped = None
        told = one_line_error(error)
        warn(f"{self.name}: {told}; it takes no more, metrics.jsonl has every record")


def one_line_error(error: Exception) -> str:
    """An error on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, LoggerUnavailable):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
