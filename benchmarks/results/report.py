"""All experiments of a folder of results, of which every file is read once."""

from __future__ import annotations

from pathlib import Path

from benchmarks.records.run import Run

from .archive import load_kept
from .definition import (
    RESULTS,
    DefinitionError,
    Experiment,
    Measurement,
    load_contents,
    load_definition,
)
from .rows import ResultRow, make_rows


class Report:
    """The definitions, read at once, and the kept runs, read when they are asked for.

    Args:
        folder: of the results.

    Raises:
        DefinitionError: if a definition cannot be read.
    """

    def __init__(self, folder: Path = RESULTS) -> None:
        self.folder = folder
        self.contents = load_contents(folder)
        self.definitions = {
            name: load_definition(name, folder) for name in self.contents.experiments
        }
        self._kept: dict[str, dict[str, Run]] = {}
        self._rows: dict[str, list[ResultRow]] = {}

    def definition(self, name: str) -> Experiment | Measurement:
        """The definition of that name.

        Raises:
            DefinitionError: if there is none.
        """
        if name not in self.definitions:
            choices = ", ".join(self.definitions)
            raise DefinitionError(f"no experiment {name!r}; there are: {choices}")
        return self.definitions[name]

    def kept(self, name: str) -> dict[str, Run]:
        """The kept runs of an experiment, by their names.

        Raises:
            OSError: if a file cannot be read.
            ValueError: if one is damaged.
        """
        if name not in self._kept:
            self._kept[name] = load_kept(self.folder / name)
        return self._kept[name]

    def rows(self, name: str) -> list[ResultRow]:
        """The rows of an experiment, with their kept runs.

        Raises:
            DefinitionError: if there is no such experiment of runs.
            OSError: if a file cannot be read.
            ValueError: if one is damaged.
        """
        if name not in self._rows:
            experiment = self.definition(name)
            if not isinstance(experiment, Experiment):
                raise DefinitionError(f"{name} has no runs")
            self._rows[name] = make_rows(experiment, self.kept(name))
        return self._rows[name]
