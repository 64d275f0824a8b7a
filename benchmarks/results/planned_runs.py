"""The runs that an experiment consists of: each row with each of its settings and seeds."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from itertools import product
from typing import NamedTuple

from benchmarks.comparison.groups import differing_keys
from benchmarks.config.compose import Composed, compose_run, expand
from benchmarks.config.errors import as_config_error

from .definition import DefinitionError, Experiment, RowDefinition


class PlannedRun(NamedTuple):
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
    def name(self) -> str:
        """By which it is kept."""
        return f"{re.sub(r'[^a-z0-9.]+', '-', self.label.lower()).strip('-')}-seed{self.seed}"

    def composed(self) -> Composed:
        """Its configuration, and its folder below the one for all runs.

        Raises:
            ConfigError: if there is no such configuration.
        """
        overrides = [*self.overrides, f"seed={self.seed}"]
        return as_config_error(self.label, lambda: compose_run(self.benchmark, overrides))

    def arguments(self, *more: str) -> list[str]:
        """Of the interpreter, for a process that does it."""
        return ["-m", f"benchmarks.{self.benchmark}", *self.overrides, f"seed={self.seed}", *more]

    @property
    def command(self) -> str:
        """For a person to type."""
        return shlex.join(["python", *self.arguments("threads=1")])


def planned_runs(experiment: Experiment) -> list[PlannedRun]:
    """All runs of an experiment, row by row.

    Raises:
        DefinitionError: if two of them would have one name, or an override cannot be read.
    """
    expanded = [(row, _expand_row(experiment, row)) for row in experiment.rows]
    runs = []
    for row, settings in expanded:
        namesakes = [s for other, theirs in expanded if other.name == row.name for s in theirs]
        telling = differing_keys([_override_values(setting) for setting in namesakes])
        for overrides, seed in product(settings, row.seeds or experiment.seeds):
            values = _override_values(overrides)
            distinct = [
                f"{key.rpartition('.')[2]}={values[key]}" for key in values if key in telling
            ]
            label = ", ".join([row.name, *distinct])
            runs.append(PlannedRun(row.name, label, experiment.benchmark, tuple(overrides), seed))
    twice = [name for name, count in Counter(run.name for run in runs).items() if count > 1]
    if twice:
        raise DefinitionError(f"several runs of one name: {', '.join(twice)}")
    return runs


def _expand_row(experiment: Experiment, row: RowDefinition) -> list[list[str]]:
    overrides = [*experiment.overrides, *row.overrides]
    return as_config_error(f"overrides of {row.name}", lambda: expand(overrides))


def _override_values(overrides: list[str]) -> dict[str, str]:
    """The values by their keys, of which the last counts."""
    return {key: value for key, _, value in (o.partition("=") for o in overrides)}
