"""What ``results/NAME/experiment.yaml`` and ``results/contents.yaml`` define, read and checked."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RESULTS = REPOSITORY / "results"
DEFINITION_FILE, CONTENTS_FILE = "experiment.yaml", "contents.yaml"
FORBID_EXTRA = ConfigDict(extra="forbid")


class DefinitionError(ValueError):
    """A definition cannot be read; the message names the file and the key."""


@dataclass(frozen=True, config=FORBID_EXTRA)
class RowDefinition:
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


@dataclass(frozen=True, config=FORBID_EXTRA)
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
            the first; where that is missing or equal, by the next.
        note: what a reader has to know beside the numbers.
    """

    title: str
    benchmark: str
    rows: Annotated[list[RowDefinition], Field(min_length=1)]
    columns: list[str]
    overrides: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    choose: list[str] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, config=FORBID_EXTRA)
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


@dataclass(frozen=True, config=FORBID_EXTRA)
class TableColumn:
    """A column of a summary table: one number of one experiment."""

    heading: str
    experiment: str
    number: str


@dataclass(frozen=True, config=FORBID_EXTRA)
class SummaryTable:
    """A table over several experiments, for the README.

    Attributes:
        columns: its columns.
        rows: the names of its rows, where not all that the experiments have.
        head: the heading of the names.
    """

    columns: list[TableColumn]
    rows: list[str] = field(default_factory=list)
    head: str = "model"


@dataclass(frozen=True, config=FORBID_EXTRA)
class AblationTable:
    """A table with one number of several experiments, one row for each, for the README.

    Attributes:
        parts: what each experiment varies, and its name.
        number: by its name.
        heading: of the number.
    """

    parts: dict[str, str]
    number: str
    heading: str


@dataclass(frozen=True, config=FORBID_EXTRA)
class FrontFigure:
    """The figure of the first page: learning curves, and gradients through time beside them.

    Attributes:
        learning: the experiment of the curves.
        gradients: the measurement of the gradients.
        rows: which of the rows of both are shown.
    """

    learning: str
    gradients: str
    rows: list[str]


@dataclass(frozen=True, config=FORBID_EXTRA)
class ReportContents:
    """All experiments in the order in which they are reported, and what is made of several.

    Attributes:
        experiments: their names.
        glossary: what words of the tables mean.
        tables: those over several experiments.
        overview: the figure of the first page.
    """

    experiments: list[str]
    glossary: dict[str, str] = field(default_factory=dict)
    tables: dict[str, SummaryTable | AblationTable] = field(default_factory=dict)
    overview: FrontFigure | None = None


def load_definition(name: str, results: Path = RESULTS) -> Experiment | Measurement:
    """The definition of an experiment.

    Raises:
        DefinitionError: if there is none, or it is wrong.
    """
    path = results / name / DEFINITION_FILE
    if not path.is_file():
        choices = (
            ", ".join(sorted(p.parent.name for p in results.glob(f"*/{DEFINITION_FILE}"))) or "none"
        )
        raise DefinitionError(f"no experiment {name!r}; there are: {choices}")
    content = _read_yaml(path)
    kind = Measurement if isinstance(content, dict) and "command" in content else Experiment
    made: Experiment | Measurement = _validate(kind, content, path)
    return made


def load_contents(results: Path = RESULTS) -> ReportContents:
    """The experiments and tables of a folder of results.

    Raises:
        DefinitionError: if it cannot be read.
    """
    path = results / CONTENTS_FILE
    made: ReportContents = _validate(ReportContents, _read_yaml(path), path)
    return made


def _read_yaml(path: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, OmegaConfBaseException) as error:
        raise DefinitionError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # of the YAML parser, whose errors have no kind of their own here
        first = str(error).replace("\n", " ")
        raise DefinitionError(f"{path} is no YAML: {first}") from error


def _validate(kind: Any, content: Any, path: Path) -> Any:
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DefinitionError(f"{path}: {where}: {first['msg']}") from error
