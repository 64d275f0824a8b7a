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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.config.errors import CONFIG_ERROR, FAILED, INTERRUPTED, USER_ERRORS, format_error
from benchmarks.records.run import Run

from . import check, rerun
from .archive import keep_runs, load_kept
from .definition import RESULTS, DefinitionError, Experiment, Measurement
from .outputs import stale_outputs, write_outputs
from .planned_runs import PlannedRun, planned_runs
from .report import Report


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit code: 1 if something failed or is not right."""
    options = _parser().parse_args(arguments)
    try:
        report = Report(options.results)
        _check_options(report, options)
        failures = COMMANDS[options.command](report, options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, *USER_ERRORS) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {format_error(error)}", file=sys.stderr)
        return CONFIG_ERROR
    for line in failures:
        print(line, file=sys.stderr)
    return FAILED if failures else 0


def _check_options(report: Report, options: argparse.Namespace) -> None:
    """Refuse what the command line cannot mean.

    Raises:
        DefinitionError: if it names no experiment, or too many.
    """
    choices = ", ".join(report.definitions)
    unknown = [name for name in options.names if name not in report.definitions]
    if unknown:
        raise DefinitionError(f"no experiment {', '.join(unknown)}; there are: {choices}")
    if options.command in ("run", "keep") and not options.names:
        raise DefinitionError(f"{options.command} which experiments? there are: {choices}")
    if options.command in ("write", "check") and options.names:
        raise DefinitionError(f"{options.command} takes no names, it is of all experiments")
    if options.jobs < 1:
        raise DefinitionError(f"--jobs must be at least 1, got {options.jobs}")


def _run(report: Report, options: argparse.Namespace) -> list[str]:
    failures = []
    for name in options.names:
        definition, folder = report.definition(name), report.folder / name
        if isinstance(definition, Measurement):
            failures += rerun.run_measurement(definition, folder)
            continue
        runs = planned_runs(definition)
        if options.missing:
            kept = load_kept(folder)
            runs = [run for run in runs if not check.as_defined(run, kept.get(run.name))]
        print(f"{name}: {len(runs)} runs", flush=True)
        try:
            failures += rerun.train_runs(runs, options.runs, options.jobs)
        finally:
            _keep_one(definition, options.runs, folder)
    return failures + _write(report, options)


def _keep(report: Report, options: argparse.Namespace) -> list[str]:
    if not options.runs.is_dir():
        raise DefinitionError(f"--runs: no folder {options.runs}")
    for name in options.names:
        definition = report.definition(name)
        if isinstance(definition, Experiment):
            _keep_one(definition, options.runs, report.folder / name)
    return _write(report, options)


def _keep_one(experiment: Experiment, all_runs: Path, folder: Path) -> None:
    runs = planned_runs(experiment)
    added = keep_runs(runs, all_runs, folder)
    count = f"{_count_kept(runs, load_kept(folder))} of {len(runs)} in all"
    print(f"{folder.name}: {len(added)} kept from {all_runs}, {count}", flush=True)


def _count_kept(runs: Sequence[PlannedRun], kept: Mapping[str, Run]) -> int:
    return sum(run.name in kept for run in runs)


def _write(report: Report, options: argparse.Namespace) -> list[str]:
    written = write_outputs(report)
    print(f"written: {', '.join(written) or 'nothing, all is as the records have it'}")
    return []


def _check(report: Report, options: argparse.Namespace) -> list[str]:
    lines = stale_outputs(report)
    for name, definition in report.definitions.items():
        if isinstance(definition, Experiment):
            lines += check.find_faults(name, definition, report.kept(name))
    return lines


def _list(report: Report, options: argparse.Namespace) -> list[str]:
    for name in options.names or report.definitions:
        definition = report.definition(name)
        if isinstance(definition, Measurement):
            print(f"{name}: {definition.title}")
            continue
        runs = planned_runs(definition)
        count = _count_kept(runs, report.kept(name))
        print(f"{name}: {definition.title} ({count} of {len(runs)} runs)")
        for run in runs if options.names else ():
            print(f"  {run.command}")
    return []


COMMANDS: dict[str, Callable[[Report, argparse.Namespace], list[str]]] = {
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
