"""Where a measurement is made, and what is noted of it: expectations, and what broke them."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Case:
    """One trial in a folder of its own.

    Attributes:
        folder: of all that belongs to it.
        broken: what was expected and did not hold.
    """

    folder: Path
    broken: list[str] = field(default_factory=list)

    @property
    def call(self) -> Path:
        """The folder from which the benchmark is called; what it prints goes beside it."""
        path = self.folder / "call"
        path.mkdir(exist_ok=True)
        return path

    def expect(self, holds: object, otherwise: str) -> bool:
        """Note what is wrong unless it ``holds``."""
        if not holds:
            self.broken.append(otherwise)
        return bool(holds)


@dataclass
class Row:
    """A line of the table.

    Attributes:
        what: was done.
        times: how often.
        came: what came out.
        seconds: that it took.
        broken: what did not hold, with the folder that shows it.
    """

    what: str
    times: int
    came: str = ""
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


class Bench:
    """Keeps the rows of the table and the folders of the cases.

    Args:
        scratch: the folder below which everything is written.
        seed: of all that is drawn.
        tick: called for each trial that is over.
    """

    def __init__(
        self, scratch: Path, seed: int = 0, tick: Callable[[], object] = lambda: None
    ) -> None:
        self.scratch, self.tick = scratch, tick
        self.dice = random.Random(seed)
        self.rows: list[Row] = []

    @contextlib.contextmanager
    def row(self, what: str, times: int) -> Iterator[Row]:
        """A new line of the table, timed."""
        row = Row(what, times)
        self.rows.append(row)
        began = time.monotonic()
        try:
            yield row
        finally:
            row.seconds = round(time.monotonic() - began, 1)

    @contextlib.contextmanager
    def case(self, row: Row, name: str) -> Iterator[Case]:
        """A trial for a row; its folder goes if all was as expected, and stays as evidence if not.

        An error of the measurement itself is raised, and keeps the folder too.
        """
        folder = self.scratch / name
        number = 1
        while folder.exists():
            number += 1
            folder = self.scratch / f"{name}-{number}"
        folder.mkdir(parents=True)
        case = Case(folder)
        yield case
        if case.broken:
            row.broken += [f"{told} (see {folder})" for told in case.broken]
        else:
            shutil.rmtree(folder)
