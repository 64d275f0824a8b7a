"""Every file that is made of the records: which of them are stale, and writing those again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.system.atomic_files import write_text

from . import figures, text
from .definition import CONTENTS_FILE, DefinitionError, Experiment, FrontFigure, Measurement
from .measurements import load_case_results
from .report import Report
from .rows import ResultRow


class Output(NamedTuple):
    """One file that is made of the records.

    Attributes:
        path: the file.
        fresh: whether it is as the records have it.
        write: makes it again.
    """

    path: Path
    fresh: bool
    write: Callable[[], None]


def write_outputs(report: Report) -> list[str]:
    """Write what is stale; returns its names."""
    written = []
    for output in _outputs(report):
        if not output.fresh:
            output.write()
            written.append(_name(output, report))
    return written


def stale_outputs(report: Report) -> list[str]:
    """A line for everything that is not as the records have it."""
    return [
        f"{_name(output, report)} is not what the records say; "
        "`python -m benchmarks.results write` writes it"
        for output in _outputs(report)
        if not output.fresh
    ]


def _outputs(report: Report) -> Iterator[Output]:
    names = tqdm(report.definitions, "reading records", delay=2, disable=None, leave=False)
    for name in names:
        definition = report.definition(name)
        if isinstance(definition, Experiment) and not definition.choose:
            yield from _experiment_outputs(report.rows(name), report.folder / name)
    if report.contents.overview is not None:
        yield from _front_figure_outputs(report.contents.overview, report)
    yield _text_output(report.folder / text.INDEX_PAGE, text.index_page(report))
    pages = (report.folder.parent / name for name in text.README_PAGES)
    for page in filter(Path.is_file, pages):
        yield _text_output(page, text.fill_page(page, report))


def _experiment_outputs(rows: Sequence[ResultRow], folder: Path) -> Iterator[Output]:
    if any(row.kept for row in rows):
        path = folder / figures.CURVES_FIGURE
        fresh = figures.stored_digest(path) == figures.curves_digest(rows)
        yield Output(path, fresh, lambda: figures.plot_curves(rows, path))
        yield _text_output(folder / text.COMPARE_PAGE, text.compare_page(rows))
    if any(run.metadata.get("curves") for row in rows for run in row.kept):
        drawn = folder / figures.ACCURACY_FIGURE
        current = figures.stored_digest(drawn) == figures.accuracy_digest(rows)
        yield Output(drawn, current, lambda: figures.plot_accuracies(rows, drawn))


def _front_figure_outputs(front: FrontFigure, report: Report) -> Iterator[Output]:
    measurement = report.definition(front.gradients)
    if not isinstance(measurement, Measurement):
        raise DefinitionError(f"{CONTENTS_FILE}: {front.gradients} has no gradients to show")
    results = load_case_results(measurement, report.folder / front.gradients)
    rows = {row.label: row for row in report.rows(front.learning)}
    unknown = [label for label in front.rows if label not in rows]
    if unknown:
        raise DefinitionError(
            f"{CONTENTS_FILE}: overview: no row {', '.join(unknown)} in {front.learning}; "
            f"there are: {'; '.join(rows)}"
        )
    shown = [rows[label] for label in front.rows]
    if results and any(row.kept for row in shown):
        path = report.folder / figures.FRONT_FIGURE
        fresh = figures.stored_digest(path) == figures.front_figure_digest(shown, results)
        yield Output(path, fresh, lambda: figures.plot_front_figure(shown, results, path))


def _text_output(path: Path, content: str) -> Output:
    fresh = path.is_file() and path.read_text(encoding="utf-8") == content
    return Output(path, fresh, lambda: write_text(path, content))


def _name(output: Output, report: Report) -> str:
    return str(output.path.relative_to(report.folder.parent))
