"""The texts that the records make: the README's tables, and the pages of ``results/``.

A README says where a table goes: between ``<!-- results: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.comparison.table import table
from benchmarks.comparison.writers.markdown import markdown
from benchmarks.records.run import Run
from benchmarks.records.text import show_loss

from . import measurements, tables
from .definition import (
    RESULTS,
    Contents,
    DefinitionError,
    Digest,
    Experiment,
    Measurement,
    Summary,
    contents,
    load,
)
from .figures import CURVES
from .tables import Line, lines

OPEN, END = "<!-- results: ", "<!-- end -->"
BEGUN = re.compile(rf"^{OPEN}", re.MULTILINE)
BLOCK = re.compile(rf"^({OPEN}([\w-]+) -->\n).*?({END})", re.DOTALL | re.MULTILINE)
PAGES = ("README.md", "benchmarks/README.md", "orthornn/README.md")  # beside the results
INDEX, COMPARED = "README.md", "compare.md"
RUN = "python -m benchmarks.results run"
HEAD = """# Results

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


def blocks(results: Path = RESULTS) -> Mapping[str, Callable[[], str]]:
    """What can stand in a README, by its name."""
    there = contents(results)
    found = {
        name: partial(_block, load(name, results), name, results) for name in there.experiments
    }
    return found | {
        name: partial(_block, table, name, results) for name, table in there.tables.items()
    }


def _block(made: Experiment | Measurement | Summary | Digest, name: str, results: Path) -> str:
    if isinstance(made, Summary):
        return tables.of_summary(made, results)
    if isinstance(made, Digest):
        return tables.of_digest(made, results)
    if isinstance(made, Measurement):
        return measurements.table(made, results / name)
    return tables.of_experiment(*lines(name, results))


def filled(page: Path, results: Path = RESULTS) -> str:
    """The text of a page with all its tables as the records have them.

    Raises:
        DefinitionError: if it names a table that there is not, or the end of one is missing.
    """
    text, known = page.read_text(encoding="utf-8"), blocks(results)
    begun, whole = len(BEGUN.findall(text)), len(BLOCK.findall(text))
    if begun != whole:
        raise DefinitionError(
            f"{page}: {begun} tables begin with {OPEN}NAME -->, {whole} end with {END}"
        )

    def fill(match: re.Match[str]) -> str:
        head, name, end = match.groups()
        if name not in known:
            raise DefinitionError(f"{page}: no table {name!r}; there are: {', '.join(known)}")
        return f"{head}{known[name]()}\n{end}"

    return BLOCK.sub(fill, text)


def index(results: Path = RESULTS) -> str:
    """The page of all experiments."""
    there: Contents = contents(results)
    words = [_wrapped(f"- *{word}*: {meaning}") for word, meaning in there.glossary.items()]
    sections = [_section(name, results) for name in there.experiments]
    return "\n\n".join(filter(None, [HEAD, "\n".join(words), *sections])) + "\n"


def _wrapped(item: str) -> str:
    """An item of a list, in lines of at most 100 characters."""
    return textwrap.fill(item, 100, subsequent_indent="  ", break_on_hyphens=False)


def compared(found: list[Line]) -> str:
    """The table that ``benchmarks.compare`` prints, under the names of the rows."""
    groups = [line.group for line in found if line.known]
    return markdown(table(groups[0].runs[0].metadata["task"], groups)) + "\n"


def _section(name: str, results: Path) -> str:
    definition = load(name, results)
    parts = [f"## {definition.title}", f"`{RUN} {name}`"]
    if isinstance(definition, Measurement):
        parts += [measurements.table(definition, results / name)]
        parts += [f"![{name}]({name}/{f})" for f in definition.files if f.endswith(".png")]
    else:
        found: list[Line] = lines(name, results)[1]
        if not any(line.known for line in found):
            return "\n\n".join([*parts, "Not run yet."])
        parts += [facts(definition, found), tables.of_experiment(definition, found)]
        if not definition.choose:
            parts.append(f"![learning curves]({name}/{CURVES})")
            parts.append(f"[Means, intervals and tests]({name}/{COMPARED})")
    return "\n\n".join(filter(None, [*parts, definition.note.strip()]))


KIND = re.compile(r"\w+, \d+ cores")  # "x86_64, 2 cores"


def facts(experiment: Experiment, found: Sequence[Line]) -> str:
    """In sentences; of lines of which at least one was run."""
    runs = [run for line in found for run in line.known]
    told = [_task(runs[0]), _training(runs)]
    if any("second" in name for name in experiment.columns):
        told += _machines(found)
    return " ".join(told)


def _task(run: Run) -> str:
    title = run.metadata["task"]
    baseline = show_loss(run.metadata["baseline"])
    return f"{title[0].upper()}{title[1:]}; memoryless baseline {baseline}."


def _training(runs: Sequence[Run]) -> str:
    """How long it was, in batches of which size, and by which optimizer."""
    configs = [run.metadata["config"] for run in runs]
    steps = sorted({run.summary["steps"] for run in runs if run.metadata["status"] == "finished"})
    sizes = sorted({config["train"]["batch_size"] for config in configs})
    names = sorted({_optimizer(config) for config in configs})
    told = [f"{_either(steps)} steps"] if steps else []
    return ", ".join([*told, f"batches of {_either(sizes)}", _either(names)]) + "."


def _optimizer(config: dict[str, Any]) -> str:
    target: str = config["optimizer"]["algorithm"]["_target_"]
    return target.rpartition(".")[2].removeprefix("Riemannian")


def _either(values: Sequence[object]) -> str:
    return " or ".join(map(str, values))


def _machines(found: Sequence[Line]) -> list[str]:
    """On which machine each row was run, where that is not the same for all."""
    rows: dict[str, list[str]] = {}
    for line in found:
        for name in dict.fromkeys(name for run in line.known for name in _places(run)):
            rows.setdefault(name, []).append(line.label)
    if len(rows) < 2:
        return []
    told = "; ".join(f"{machine}: {', '.join(names)}" for machine, names in rows.items())
    return [f"Of several machines, so that seconds and steps/s do not compare: {told}."]


def _places(run: Run) -> list[str]:
    """The machines that a run was on; of an old record the kind alone is known."""
    parts = [run.metadata, *run.metadata["resumed"]]
    names = [str(part["machine"]) for part in parts if "machine" in part]
    return ["not recorded" if KIND.fullmatch(name) else name for name in names]
