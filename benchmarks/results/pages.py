"""Everything that is made of the records: which of it is stale, and writing it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.system.atomic_files import write_text

from . import figures, measurements
from . import text as readme
from .definition import CONTENTS, RESULTS, DefinitionError, Experiment, Measurement, contents, load
from .tables import Line, lines


class Made(NamedTuple):
    """One file that is made of the records.

    Attributes:
        path: the file.
        fresh: whether it is as the records have it.
        write: makes it again.
    """

    path: Path
    fresh: bool
    write: Callable[[], None]


def write(results: Path = RESULTS) -> list[str]:
    """Write what is stale; returns its names."""
    written = []
    for made in _all(results):
        if not made.fresh:
            made.write()
            written.append(_named(made, results))
    return written


def stale(results: Path = RESULTS) -> list[str]:
    """A line for everything that is not as the records have it."""
    how = "`python -m benchmarks.results write` writes it"
    return [
        f"{_named(m, results)} is not what the records say; {how}"
        for m in _all(results)
        if not m.fresh
    ]


def _all(results: Path) -> Iterator[Made]:
    for name in tqdm(
        contents(results).experiments, "reading records", delay=2, disable=None, leave=False
    ):
        definition = load(name, results)
        if isinstance(definition, Experiment) and not definition.choose:
            yield from _of_runs(lines(name, results)[1], results / name)
    yield from _overview(results)
    yield _text(results / readme.INDEX, readme.index(results))
    for page in filter(Path.is_file, (results.parent / name for name in readme.PAGES)):
        yield _text(page, readme.filled(page, results))


def _of_runs(found: list[Line], folder: Path) -> Iterator[Made]:
    if any(line.known for line in found):
        path = folder / figures.CURVES
        fresh = figures.source(path) == figures.learned(found)
        yield Made(path, fresh, lambda: figures.curves(found, path))
        yield _text(folder / readme.COMPARED, readme.compared(found))


def _overview(results: Path) -> Iterator[Made]:
    shown = contents(results).overview
    if shown is None:
        return
    measurement = load(shown.gradients, results)
    if not isinstance(measurement, Measurement):
        raise DefinitionError(f"{CONTENTS}: {shown.gradients} has no gradients to show")
    stories = measurements.stories(measurement, results / shown.gradients)
    there = {line.label: line for line in lines(shown.learning, results)[1]}
    unknown = [row for row in shown.rows if row not in there]
    if unknown:
        raise DefinitionError(
            f"{CONTENTS}: overview: no row {', '.join(unknown)} in {shown.learning}; there are: "
            f"{'; '.join(there)}"
        )
    found = [there[row] for row in shown.rows]
    if stories and any(line.known for line in found):
        path = results / figures.OVERVIEW
        fresh = figures.source(path) == figures.overviewed(found, stories)
        yield Made(path, fresh, lambda: figures.overview(found, stories, path))


def _text(path: Path, text: str) -> Made:
    fresh = path.is_file() and path.read_text(encoding="utf-8") == text
    return Made(path, fresh, lambda: write_text(path, text))


def _named(made: Made, results: Path) -> str:
    return str(made.path.relative_to(results.parent))
