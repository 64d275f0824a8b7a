"""An experiment as ``results/NAME/experiment.yaml`` defines it: settings, seeds, numbers."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import field
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from benchmarks.comparison.groups import differing
from benchmarks.config.compose import Composed, compose_run, expand
from benchmarks.config.errors import refusing

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "results"
DEFINITION, CONTENTS = "experiment.yaml", "contents.yaml"
STRICT = ConfigDict(extra="forbid")


class DefinitionError(ValueError):
    """A definition cannot be read; the message names the file and the key."""


@dataclass(frozen=True, config=STRICT)
class Row:
    """One model, or one variant of it.

    Attributes:
        name: in tables and figures.
        overrides: of the benchmark's configuration; one with several values (``seed=0,1``, as in a
            sweep) makes a row for each.
        seeds: in place of those of the experiment.
    """

    name: str
    overrides: list[str] = field(default_factory=list)
    seeds: list[int] | None = None


@dataclass(frozen=True, config=STRICT)
class Experiment:
    """Runs of one benchmark on one task.

    Attributes:
        title: what is compared.
        benchmark: the module below ``benchmarks`` that trains.
        rows: what is compared.
        columns: the numbers that are reported, by the names that ``benchmarks.compare`` gives them.
        overrides: those that all rows share.
        seeds: the random seeds.
        choose: for a search over step sizes, by which numbers the best of each name is chosen: by
            the first, the smaller the better; where that is missing or equal, by the next.
        note: what a reader has to know beside the numbers.
    """

    title: str
    benchmark: str
    rows: Annotated[list[Row], Field(min_length=1)]
    columns: list[str]
    overrides: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    choose: list[str] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, config=STRICT)
class Measurement:
    """A program that trains nothing that is kept, and writes its own numbers.

    Attributes:
        title: what is measured.
        command: the arguments of ``python -m``; ``{folder}`` stands for the experiment's folder.
        files: what it writes there; the numbers are in the one that ends in ``.json``.
        shown: whose numbers stand in its table, where not all.
        note: what a reader has to know beside the numbers.
    """

    title: str
    command: list[str]
    files: list[str]
    shown: list[str] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, config=STRICT)
class TableColumn:
    """A column of a summary table: one number of one experiment."""

    heading: str
    experiment: str
    number: str


@dataclass(frozen=True, config=STRICT)
class Summary:
    """A table over several experiments, for the README.

    Attributes:
        columns: its columns.
        rows: the names of its rows, where not all that the experiments have.
        head: the heading of the names.
    """

    columns: list[TableColumn]
    rows: list[str] = field(default_factory=list)
    head: str = "model"


@dataclass(frozen=True, config=STRICT)
class Digest:
    """A table with one number of several experiments, one row for each, for the README.

    Attributes:
        parts: what each experiment varies, and its name.
        number: by its name.
        heading: of the number.
    """

    parts: dict[str, str]
    number: str
    heading: str


@dataclass(frozen=True, config=STRICT)
class Overview:
    """The figure of the first page: learning curves, and gradients through time beside them.

    Attributes:
        learning: the experiment of the curves.
        gradients: the measurement of the gradients.
        rows: which of the rows of both are shown.
    """

    learning: str
    gradients: str
    rows: list[str]


@dataclass(frozen=True, config=STRICT)
class Contents:
    """All experiments in the order in which they are reported, and what is made of several.

    Attributes:
        experiments: their names.
        glossary: what words of the tables mean.
        tables: those over several experiments.
        overview: the figure of the first page.
    """

    experiments: list[str]
    glossary: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Summary | Digest] = field(default_factory=dict)
    overview: Overview | None = None


def load(name: str, results: Path = RESULTS) -> Experiment | Measurement:
    """The definition of an experiment.

    Raises:
        DefinitionError: if there is none, or it is wrong.
    """
    path = results / name / DEFINITION
    if not path.is_file():
        there = ", ".join(sorted(p.parent.name for p in results.glob(f"*/{DEFINITION}"))) or "none"
        raise DefinitionError(f"no experiment {name!r}; there are: {there}")
    content = _read(path)
    kind = Measurement if isinstance(content, dict) and "command" in content else Experiment
    made: Experiment | Measurement = _checked(kind, content, path)
    return made


def contents(results: Path = RESULTS) -> Contents:
    """What there is.

    Raises:
        DefinitionError: if it cannot be read.
    """
    path = results / CONTENTS
    made: Contents = _checked(Contents, _read(path), path)
    return made


def _read(path: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, OmegaConfBaseException) as error:
        raise DefinitionError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # of the YAML parser, whose errors have no kind of their own here
        first = str(error).replace("\n", " ")
        raise DefinitionError(f"{path} is no YAML: {first}") from error


def _checked(kind: Any, content: Any, path: Path) -> Any:
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DefinitionError(f"{path}: {where}: {first['msg']}") from error


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
