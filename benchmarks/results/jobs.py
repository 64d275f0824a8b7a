"""The runs that an experiment consists of, and where each of them is."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from itertools import product
from typing import NamedTuple

from benchmarks.cli import Composed, compose_run
from benchmarks.comparison.groups import differing
from benchmarks.refusal import refusing
from benchmarks.sweep import expand

from .experiment import DefinitionError, Experiment, Row


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

    def composed(self) -> Composed:
        """Its configuration, and its folder below the one for all runs.

        Raises:
            ConfigError: if there is no such configuration.
        """
        overrides = [*self.overrides, f"seed={self.seed}"]
        return refusing(self.label, lambda: compose_run(self.benchmark, overrides))

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
        DefinitionError: if two of them would have one name, or an override cannot be read.
    """
    expanded = [(row, _settings(experiment, row)) for row in experiment.rows]
    found = []
    for row, settings in expanded:
        namesakes = [s for other, theirs in expanded if other.name == row.name for s in theirs]
        telling = differing([_values(setting) for setting in namesakes])
        for overrides, seed in product(settings, row.seeds or experiment.seeds):
            values = _values(overrides)
            told = [f"{key.rpartition('.')[2]}={values[key]}" for key in values if key in telling]
            label = ", ".join([row.name, *told])
            found.append(Job(row.name, label, experiment.benchmark, tuple(overrides), seed))
    twice = [name for name, count in Counter(job.folder for job in found).items() if count > 1]
    if twice:
        raise DefinitionError(f"several runs of one name: {', '.join(twice)}")
    return found


def _settings(experiment: Experiment, row: Row) -> list[list[str]]:
    overrides = [*experiment.overrides, *row.overrides]
    return refusing(f"overrides of {row.name}", lambda: expand(overrides))


def _values(overrides: list[str]) -> dict[str, str]:
    """The values by their keys, of which the last counts."""
    return {key: value for key, _, value in (o.partition("=") for o in overrides)}
