"""A sink whose failure does not end a training: it is given up, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.config.errors import warn
from benchmarks.diagnostics.gradient_flow import Flow
from benchmarks.records.record import Record

from .logger import Sink


class Lost(Exception):
    """A place for records cannot be had, or no more; the message is for the user, on one line."""


class Guarded:
    """Passes everything on until the first error, says so in one line, and takes no more.

    The file of the records is not guarded: what it cannot take is nowhere, and ends the run.

    Args:
        name: what the sink is to the user.
        make: builds the sink.

    Raises:
        ValueError: what ``make`` raises: the sink refuses its configuration.
    """

    def __init__(self, name: str, make: Callable[[], Sink]) -> None:
        self.name = name
        self.sink: Sink | None = None
        try:
            self.sink = make()
        except ValueError:
            raise
        except Exception as error:
            self._give_up(error)

    def write(self, record: Record) -> None:
        """Pass a record on."""
        self._attempt(lambda sink: sink.write(record))

    def show(self, step: int, flow: Flow, figure: Path) -> None:
        """Pass a look on."""
        self._attempt(lambda sink: sink.show(step, flow, figure))

    def sample(self, step: int, text: str) -> None:
        """Pass a text on."""
        self._attempt(lambda sink: sink.sample(step, text))

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """Pass the end on."""
        self._attempt(lambda sink: sink.close(summary, figures))

    def _attempt(self, action: Callable[[Sink], None]) -> None:
        if self.sink is None:
            return
        try:
            action(self.sink)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.sink = None
        told = describe(error)
        warn(f"{self.name}: {told}; it takes no more, metrics.jsonl has every record")


def describe(error: Exception) -> str:
    """An error on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, Lost):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
