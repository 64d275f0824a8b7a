"""The results that are kept in ``results/``: ``python -m benchmarks.results COMMAND [NAMES...]``.

run      train what an experiment consists of and keep its records; write tables and figures
keep     keep the records of runs that have been trained already; write tables and figures
write    write every table and figure again from the records
check    say what is not as the records have it; exit code 1 if anything is
list     the experiments, how many of their runs there are, and the commands of those runs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from . import jobs as of
from . import keep, pages, rerun
from .experiment import RESULTS, DefinitionError, Experiment, contents, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        there = contents(options.results).experiments
        names = options.names or there
        definitions = {name: load(name, options.results) for name in names}
        unlisted = [name for name in names if name not in there]
        if unlisted:
            raise DefinitionError(f"not in contents.yaml: {', '.join(unlisted)}")
    except DefinitionError as error:
        parser.error(str(error))
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    failures = []
    if options.command == "list":
        for name, definition in definitions.items():
            print(_listed(name, definition, options.results, bool(options.names)))
        return 0
    if options.command in ("run", "keep"):
        for name, definition in definitions.items():
            failures += _gather(name, definition, options)
    stale = pages.stale(options.results) if options.command == "check" else []
    if options.command != "check":
        written = pages.write(options.results)
        print("written: " + (", ".join(written) or "nothing has changed"))
    for line in [*failures, *stale]:
        print(line, file=sys.stderr)
    return 1 if failures or stale else 0


def _gather(name: str, definition: object, options: argparse.Namespace) -> list[str]:
    """Bring the records of one experiment into its folder; what failed."""
    folder: Path = options.results / name
    if not isinstance(definition, Experiment):
        if options.command == "keep":
            return []
        code = rerun.measure(definition, folder)  # type: ignore[arg-type]
        return [f"{name}: its command ended with {code}"] if code else []
    wanted = of.jobs(definition)
    failures = []
    if options.command == "run":
        todo = [j for j in wanted if not options.missing or keep.kept(j, folder) is None]
        print(f"{name}: {len(todo)} runs", flush=True)
        failures = rerun.train(todo, options.runs, options.jobs)
    kept = keep.keep(wanted, options.runs, folder)
    print(f"{name}: {len(kept)} of {len(wanted)} runs kept from {options.runs}", flush=True)
    return failures


def _listed(name: str, definition: object, results: Path, commands: bool) -> str:
    if not isinstance(definition, Experiment):
        return f"{name}: {definition.title}"  # type: ignore[attr-defined]
    wanted = of.jobs(definition)
    there = [
        job for job in tqdm(wanted, name, leave=False, delay=2) if keep.kept(job, results / name)
    ]
    head = f"{name}: {definition.title} ({len(there)} of {len(wanted)} runs)"
    return "\n  ".join([head, *(job.command for job in wanted if commands)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("run", "keep", "write", "check", "list"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, a thread each")
    parser.add_argument("--missing", action="store_true", help="train only what is not kept yet")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder for all runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    return parser
