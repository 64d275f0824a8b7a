"""The results that are kept in ``results/``: ``python -m benchmarks.results COMMAND [NAMES...]``.

run NAMES    train what experiments consist of, keep the records, write tables and figures
keep NAMES   keep the records of runs that have been trained already; write tables and figures
write        write every table and figure again from the records
check        say what is not as the records have it, and which records are not as defined
list         the experiments and how many of their runs there are; of NAMES the command of each run

A run that diverged is a result and is kept; one that failed otherwise is not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.config.errors import CONFIG_ERROR, FAILED, INTERRUPTED, REFUSALS, one_line

from . import check, pages, rerun
from .archive import keep_runs, load_kept
from .definition import RESULTS, DefinitionError, Experiment, Job, Measurement, contents, jobs, load

Definitions = dict[str, Experiment | Measurement]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit code: 1 if something failed or is not right."""
    options = _parser().parse_args(arguments)
    try:
        failures = COMMANDS[options.command](_definitions(options), options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, *REFUSALS) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return CONFIG_ERROR
    for line in failures:
        print(line, file=sys.stderr)
    return FAILED if failures else 0


def _definitions(options: argparse.Namespace) -> Definitions:
    """The experiments that are meant.

    Raises:
        DefinitionError: if there is one that is not.
    """
    there = contents(options.results).experiments
    unlisted = [name for name in options.names if name not in there]
    if unlisted:
        raise DefinitionError(f"no experiment {', '.join(unlisted)}; there are: {', '.join(there)}")
    if options.command in ("run", "keep") and not options.names:
        raise DefinitionError(f"{options.command} which experiments? there are: {', '.join(there)}")
    if options.command in ("write", "check") and options.names:
        raise DefinitionError(f"{options.command} takes no names, it is of all experiments")
    if options.jobs < 1:
        raise DefinitionError(f"--jobs must be at least 1, got {options.jobs}")
    return {name: load(name, options.results) for name in options.names or there}


def _run(definitions: Definitions, options: argparse.Namespace) -> list[str]:
    failures = []
    for name, definition in definitions.items():
        folder = options.results / name
        if isinstance(definition, Measurement):
            failures += rerun.measure(definition, folder)
            continue
        todo = jobs(definition)
        if options.missing:
            kept = load_kept(folder)
            todo = [job for job in todo if not check.as_defined(job, kept.get(job.folder))]
        print(f"{name}: {len(todo)} runs", flush=True)
        try:
            failures += rerun.train(todo, options.runs, options.jobs)
        finally:
            _keep_one(name, definition, options)
    return failures + _write(definitions, options)


def _keep(definitions: Definitions, options: argparse.Namespace) -> list[str]:
    if not options.runs.is_dir():
        raise DefinitionError(f"--runs: no folder {options.runs}")
    for name, definition in definitions.items():
        if isinstance(definition, Experiment):
            _keep_one(name, definition, options)
    return _write(definitions, options)


def _keep_one(name: str, definition: Experiment, options: argparse.Namespace) -> None:
    wanted, folder = jobs(definition), options.results / name
    done = keep_runs(wanted, options.runs, folder)
    told = f"{len(done)} kept from {options.runs}, {_count(wanted, folder)} of {len(wanted)} in all"
    print(f"{name}: {told}", flush=True)


def _count(jobs: Sequence[Job], folder: Path) -> int:
    """How many of the runs of an experiment have been kept."""
    return len({job.folder for job in jobs} & load_kept(folder).keys())


def _write(definitions: Definitions, options: argparse.Namespace) -> list[str]:
    written = pages.write(options.results)
    print(f"written: {', '.join(written) or 'nothing, all is as the records have it'}")
    return []


def _check(definitions: Definitions, options: argparse.Namespace) -> list[str]:
    found = pages.stale(options.results)
    for name, definition in definitions.items():
        if isinstance(definition, Experiment):
            found += check.faults(definition, options.results / name)
    return found


def _list(definitions: Definitions, options: argparse.Namespace) -> list[str]:
    for name, definition in definitions.items():
        if isinstance(definition, Measurement):
            print(f"{name}: {definition.title}")
            continue
        wanted = jobs(definition)
        there = _count(wanted, options.results / name)
        print(f"{name}: {definition.title} ({there} of {len(wanted)} runs)")
        for job in wanted if options.names else ():
            print(f"  {job.command}")
    return []


COMMANDS: dict[str, Callable[[Definitions, argparse.Namespace], list[str]]] = {
    "run": _run,
    "keep": _keep,
    "write": _write,
    "check": _check,
    "list": _list,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("names", nargs="*", metavar="NAMES", help="experiments")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, a thread each")
    parser.add_argument("--missing", action="store_true", help="train only what is not kept yet")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder for all runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    return parser
