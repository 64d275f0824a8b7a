"""The comparison as one page that needs no network: tables, figures, settings, for a person."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.comparison.figures import panel_svg
from benchmarks.comparison.groups import Group, differing_keys, format_value
from benchmarks.comparison.palette import DARK, LIGHT, MAX_COLORED_GROUPS, STROKES, line_styles
from benchmarks.comparison.panels import Panel, task_panels
from benchmarks.comparison.sentences import headline, legend, problems
from benchmarks.comparison.statistics import VERDICT_WORDS, format_p
from benchmarks.comparison.table import TaskTable
from benchmarks.config.fingerprint import update_keys
from benchmarks.records.files import CONFIG
from benchmarks.records.run import Run

PAGE_TEMPLATE = "page.html.j2"
WIDE_INCHES, NARROW_INCHES, SMALL_INCHES = (12.5, 4.4), (4.2, 3.4), (4.2, 3.1)  # inches


class Drawing(NamedTuple):
    """A figure of the page: one element, or two of which the style shows the one that fits."""

    panel: Panel
    images: dict[str, Markup]


def html_page(tables: list[TaskTable], command: str) -> str:
    """The whole page; ``command`` is the line that made it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    counts: Counter[str] = Counter()
    for table in tables:
        for row in table.rows:
            counts.update(row.group.outcomes)
    return environment.get_template(PAGE_TEMPLATE).render(
        sections=[_section(number, table) for number, table in enumerate(tables)],
        command=command,
        date=f"{dt.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        outcomes={name: count for name, count in counts.items() if count},
        hues=list(zip(LIGHT, DARK, strict=True)),
        words=VERDICT_WORDS,
        format_p=format_p,
        most=MAX_COLORED_GROUPS,
    )


def _section(number: int, table: TaskTable) -> dict[str, Any]:
    groups = [row.group for row in table.rows]
    return {
        "table": table,
        "headline": headline(table),
        "legend": legend(table),
        "problems": problems(table),
        "best": {column.name: table.best(column) for column in table.columns},
        "styles": line_styles(len(groups)),
        "dashes": dict(zip(STROKES, ("", "6 3", "2 2"), strict=True)),
        "drawings": [
            _drawing(panel, f"{number}-{k}") for k, panel in enumerate(task_panels(table))
        ],
        "differing": _settings(groups),
        "configurations": [(group.name, _configuration(group.runs[0])) for group in groups],
        "origin": describe_origin([run for group in groups for run in group.runs]),
    }


def _drawing(panel: Panel, name: str) -> Drawing:
    sizes = (
        {"wide": WIDE_INCHES, "narrow": NARROW_INCHES}
        if name.endswith("-0")
        else {"": SMALL_INCHES}
    )
    images = {kind: Markup(panel_svg(panel, size, name + kind)) for kind, size in sizes.items()}
    return Drawing(panel, images)


def _settings(groups: list[Group]) -> dict[str, list[str]]:
    """The keys in which the groups differ, with the value of each group, empty for none."""
    settings = [group.settings for group in groups]
    return {
        key: [format_value(own[key]) if key in own else "" for own in settings]
        for key in differing_keys(settings)
    }


def _configuration(run: Run) -> str:
    """The text of ``config.yaml``, or, where that is not there, the same from ``run.json``."""
    try:
        return (run.folder / CONFIG).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return json.dumps(update_keys(run.metadata["config"]), indent=2, ensure_ascii=False)


def describe_origin(runs: list[Run]) -> dict[str, str]:
    """Where the numbers come from: machine, threads, versions; how many runs, where they differ."""
    seen: dict[str, Counter[str]] = {}
    for run in runs:
        metadata = run.metadata
        facts = {name: metadata.get(name) for name in ("machine", "commit", "threads")}
        facts |= metadata.get("versions") or {}
        for name, value in facts.items():
            if value is not None:
                seen.setdefault(name, Counter())[str(value)] += 1
    started = sorted(str(run.metadata["started"])[:16].replace("T", " ") for run in runs)
    times = {"started": " to ".join(dict.fromkeys((started[0], started[-1])))}
    return times | {name: _counted(values, len(runs)) for name, values in seen.items()}


def _counted(values: Counter[str], total: int) -> str:
    if list(values.values()) == [total]:
        return next(iter(values))
    return ", ".join(f"{value} ({n} of {total} runs)" for value, n in values.most_common())
