"""The pages that the records make: those of ``results/``, and the tables in the READMEs.

A README says where a table goes: between ``<!-- results: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.table import make_table
from benchmarks.comparison.writers.markdown import markdown_text

from .definition import AblationTable, DefinitionError, Measurement, SummaryTable
from .figures import CURVES_FIGURE
from .measurements import measurement_table
from .report import Report
from .rows import ResultRow
from .run_facts import describe_runs
from .tables import ablation_table, experiment_table, summary_table

BLOCK_START, BLOCK_END = "<!-- results: ", "<!-- end -->"
BLOCK_STARTS = re.compile(rf"^{BLOCK_START}", re.MULTILINE)
WHOLE_BLOCK = re.compile(
    rf"^({BLOCK_START}([\w-]+) -->\n).*?({BLOCK_END})", re.DOTALL | re.MULTILINE
)
README_PAGES = ("README.md", "benchmarks/README.md", "orthornn/README.md")  # beside the results
INDEX_PAGE, COMPARE_PAGE = "README.md", "compare.md"
RUN_COMMAND = "python -m benchmarks.results run"
INDEX_HEAD = """# Results

Written by `python -m benchmarks.results write` from the records below; each section names the
command that makes them anew. A folder holds the definition (`experiment.yaml`), the description of
every run with its resolved configuration, one a line (`runs.jsonl.gz`), their records, thinned
(`records.jsonl.gz`, each with the name of its run), the learning curves, and the table of
`benchmarks.compare` with confidence intervals and tests (`compare.md`, which sorts the numbers of
the seeds).

Several numbers in a cell are those of the seeds, in their order; a run that diverged is shown as
such, and `> 300` is one that had not got there when it ended, after 300 steps. Steps are optimizer
steps. Seconds are of one thread on a shared machine with other work on it, so that runs of the same
length can differ by a half; where rows come from several machines, it is said which."""


def index_page(report: Report) -> str:
    """The page of all experiments."""
    glossary = [
        _wrap(f"- *{word}*: {meaning}") for word, meaning in report.contents.glossary.items()
    ]
    sections = [_section(name, report) for name in report.definitions]
    return "\n\n".join(filter(None, [INDEX_HEAD, "\n".join(glossary), *sections])) + "\n"


def compare_page(rows: Sequence[ResultRow]) -> str:
    """The table that ``benchmarks.compare`` prints, under the names of the rows."""
    groups = [row.group for row in rows if row.kept]
    return markdown_text(make_table(groups[0].runs[0].metadata["task"], groups)) + "\n"


def fill_page(page: Path, report: Report) -> str:
    """The text of a page with all its tables as the records have them.

    Raises:
        DefinitionError: if it names a table that there is not, or the end of one is missing.
    """
    text = page.read_text(encoding="utf-8")
    starts, whole = len(BLOCK_STARTS.findall(text)), len(WHOLE_BLOCK.findall(text))
    if starts != whole:
        raise DefinitionError(
            f"{page}: {starts} tables begin with {BLOCK_START}NAME -->, "
            f"{whole} end with {BLOCK_END}"
        )

    def fill(match: re.Match[str]) -> str:
        head, name, end = match.groups()
        choices = report.contents.tables.keys() | report.definitions.keys()
        if name not in choices:
            raise DefinitionError(
                f"{page}: no table {name!r}; there are: {', '.join(sorted(choices))}"
            )
        return f"{head}{readme_table(name, report)}\n{end}"

    return WHOLE_BLOCK.sub(fill, text)


def readme_table(name: str, report: Report) -> str:
    """The table of that name: one over several experiments, or that of an experiment.

    Raises:
        DefinitionError: if there is none.
    """
    table = report.contents.tables.get(name)
    if isinstance(table, SummaryTable):
        return summary_table(table, report)
    if isinstance(table, AblationTable):
        return ablation_table(table, report)
    definition = report.definition(name)
    if isinstance(definition, Measurement):
        return measurement_table(definition, report.folder / name)
    return experiment_table(definition, report.rows(name))


def _section(name: str, report: Report) -> str:
    definition = report.definition(name)
    parts = [f"## {definition.title}", f"`{RUN_COMMAND} {name}`"]
    if isinstance(definition, Measurement):
        parts.append(readme_table(name, report))
        parts += [f"![{name}]({name}/{f})" for f in definition.files if f.endswith(".png")]
    elif not any(row.kept for row in report.rows(name)):
        return "\n\n".join([*parts, "Not run yet."])
    else:
        parts += [describe_runs(definition, report.rows(name)), readme_table(name, report)]
        if not definition.choose:
            parts.append(f"![learning curves]({name}/{CURVES_FIGURE})")
            parts.append(f"[Means, intervals and tests]({name}/{COMPARE_PAGE})")
    return "\n\n".join(filter(None, [*parts, definition.note.strip()]))


def _wrap(item: str) -> str:
    """An item of a list, in lines of at most 100 characters."""
    return textwrap.fill(item, 100, subsequent_indent="  ", break_on_hyphens=False)
