"""Compare finished runs: ``python -m benchmarks.compare [FOLDERS...]`` (default: runs).

Runs that differ by their seed alone form a group. For each task the groups stand in a table, with
95 % bootstrap intervals over seeds and a test against the best one, and in a figure of their
learning curves.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from .comparison.figures import plot_accuracy_curves, plot_learning_curves
from .comparison.groups import group_by_task
from .comparison.table import make_table
from .comparison.writers.csv import csv_text
from .comparison.writers.latex import latex_text
from .comparison.writers.markdown import markdown_text
from .records.run import Run, find_runs, read_run

PROGRESS_DELAY_SECONDS = 2  # seconds of reading before a progress bar appears
FORMATS = ("csv", "latex", "html")
FIGURE_NAME, ACCURACY_FIGURE_NAME = "compare-{}.png", "compare-{}-accuracy.png"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, write one figure per task and what else is asked for; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    folders: list[Path] = options.folders
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        parser.error(f"not a folder: {', '.join(missing)}")
    wanted: dict[str, str] = {k: getattr(options, k) for k in FORMATS if getattr(options, k)}
    if list(wanted.values()).count("-") > 1:
        parser.error("only one of --csv, --latex and --html can go to the standard output")
    figures: Path = options.figures or folders[0]
    try:
        for name in (str(figures / FIGURE_NAME.format(1)), *wanted.values()):
            _check_writable(name)
    except OSError as error:
        parser.error(f"cannot be written: {error}")
    runs = _read_runs(find_runs(folders))
    if not runs:
        parser.error(f"no runs below {', '.join(map(str, folders))}")
    tables = [make_table(task, groups) for task, groups in group_by_task(runs).items()]
    screen = sys.stderr if "-" in wanted.values() else sys.stdout
    for number, table in enumerate(tables, start=1):
        path = figures / FIGURE_NAME.format(number)
        plot_learning_curves(table, path)
        print(f"\n{markdown_text(table)}\n\nlearning curves: {path}", file=screen)
        path = figures / ACCURACY_FIGURE_NAME.format(number)
        if plot_accuracy_curves(table, path):
            print(f"accuracy against position: {path}", file=screen)
    if "csv" in wanted:
        _write(wanted["csv"], csv_text(tables))
    if "latex" in wanted:
        _write(wanted["latex"], latex_text(tables))
    if "html" in wanted:
        from .comparison.writers.html import html_page

        command_line = sys.argv[1:] if arguments is None else arguments
        _write(wanted["html"], html_page(tables, f"{parser.prog} {shlex.join(command_line)}"))
    for kind, name in wanted.items():
        if name != "-":
            print(f"{kind}: {name}", file=screen)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("runs")])
    parser.add_argument("--figures", type=Path, help="folder for the PNGs (default: the first one)")
    parser.add_argument("--html", metavar="FILE", help="one page with tables, figures, settings")
    parser.add_argument("--csv", metavar="FILE", help="the numbers, for other programs")
    parser.add_argument("--latex", metavar="FILE", help="the tables, for a paper; needs booktabs")
    parser.epilog = "FILE may be - for the standard output; the tables then go to stderr."
    return parser


def _check_writable(name: str) -> None:
    """Open what is to be written before any work is done; a file that is there stays as it is.

    Raises:
        OSError: if it cannot be written.
    """
    if name == "-":
        return
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", encoding="utf-8"):
        pass
    if new:
        path.unlink()


def _write(name: str, text: str) -> None:
    if name == "-":
        sys.stdout.write(text)
    else:
        Path(name).write_text(text, encoding="utf-8")


def _read_runs(folders: list[Path]) -> list[Run]:
    runs = []
    for folder in tqdm(
        folders, "reading runs", unit="", delay=PROGRESS_DELAY_SECONDS, disable=None, leave=False
    ):
        try:
            runs.append(read_run(folder))
        except (OSError, ValueError) as error:
            tqdm.write(f"skipped {folder}: {error}", file=sys.stderr)
    return runs


if __name__ == "__main__":
    sys.exit(main())
