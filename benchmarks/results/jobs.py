"""The runs that an experiment consists of, and where each of them is."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.cli import compose_run
from benchmarks.sweep import expand

from .experiment import DefinitionError, Experiment

RECORDS = "records"  # the folder of the runs of an experiment


class Job(NamedTuple):
    """One run.

    Attributes:
        row: the name of its row.
        label: of its group: the row's, with what tells it from the others of a search.
        benchmark: the module that trains.
        overrides: all that make the setting.
        seed: the random seed.
    """

    row: str
    label: str
    benchmark: str
    overrides: tuple[str, ...]
    seed: int

    @property
    def folder(self) -> str:
        """The name of its records below an experiment's folder."""
        return f"{re.sub(r'[^a-z0-9.]+', '-', self.label.lower()).strip('-')}-seed{self.seed}"

    @property
    def trains_in(self) -> Path:
        """Its folder below the one for all runs, as the benchmark itself names it."""
        return Path(compose_run(self.benchmark, [*self.overrides, f"seed={self.seed}"]).folder)

    def arguments(self, *more: str) -> list[str]:
        """Of the interpreter, for a process that does it."""
        return ["-m", f"benchmarks.{self.benchmark}", *self.overrides, f"seed={self.seed}", *more]

    @property
    def command(self) -> str:
        """For a person to type."""
        return shlex.join(["python", *self.arguments("threads=1")])


def jobs(experiment: Experiment) -> list[Job]:
    """All runs of an experiment, row by row.

    Raises:
        DefinitionError: if two of them would have one name.
    """
    expanded = [(r, expand([*experiment.overrides, *r.overrides])) for r in experiment.rows]
    found = []
    for row, settings in expanded:
        namesakes = [s for other, theirs in expanded if other.name == row.name for s in theirs]
        several = {key for key, values in _values(namesakes).items() if len(values) > 1}
        for overrides, seed in product(settings, row.seeds or experiment.seeds):
            told = [
                f"{_key(o).rpartition('.')[2]}={_value(o)}" for o in overrides if _key(o) in several
            ]
            label = ", ".join([row.name, *told])
            found.append(Job(row.name, label, experiment.benchmark, tuple(overrides), seed))
    twice = [name for name, count in Counter(job.folder for job in found).items() if count > 1]
    if twice:
        raise DefinitionError(f"several runs of one name: {', '.join(twice)}")
    return found


def _values(settings: list[list[str]]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for override in (o for setting in settings for o in setting):
        values.setdefault(_key(override), set()).add(_value(override))
    return values


def _key(override: str) -> str:
    return override.partition("=")[0]


def _value(override: str) -> str:
    return override.partition("=")[2]
