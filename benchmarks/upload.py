"""Bring runs to W&B from their files: ``python -m benchmarks.upload FOLDER ...``.

For runs that were offline, were killed, or whose server fell silent. The rows that W&B has already
are left out, so a run may be uploaded again, and may still go on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .config.errors import CONFIG_ERROR, FAILED
from .loggers import LoggerUnavailable
from .loggers.wandb_files import read_options
from .loggers.wandb_run import WandbRun
from .records.files import CONFUSION_FIGURE, GRADIENTS_FIGURE, LOSS_FIGURE
from .records.run import find_runs, read_run
from .records.text import prefix_test_scores
from .runs.folder import locked

FIGURES = {
    "figure": LOSS_FIGURE,
    "gradients": GRADIENTS_FIGURE,
    "confusion": CONFUSION_FIGURE,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload the runs; returns the exit code, 1 where one could not be uploaded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upload", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of runs")
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="seconds to wait for W&B (default: 60)"
    )
    options = parser.parse_args(arguments)
    folders = find_runs(options.folders)
    if not folders:
        print(f"error: no run in {', '.join(map(str, options.folders))}", file=sys.stderr)
        return CONFIG_ERROR
    code = 0
    for folder in folders:
        try:
            with locked(folder):
                upload(folder, options.timeout)
            print(f"{folder} is at W&B")
        except (OSError, ValueError, LoggerUnavailable) as error:
            print(f"error: {folder}: {error}", file=sys.stderr)
            code = FAILED
    return code


def upload(folder: Path, timeout: float) -> None:
    """Upload one run.

    Raises:
        OSError: if its files cannot be read.
        ValueError: if they are damaged, or W&B refuses.
        LoggerUnavailable: if W&B fails.
    """
    options, kinds = read_options(folder)
    run = read_run(folder)
    test = prefix_test_scores(run.metadata["test"])
    figures = {name: folder / file for name, file in FIGURES.items() if (folder / file).exists()}
    uploaded = WandbRun(folder, options, kinds, "online", timeout)
    uploaded.log_files()
    uploaded.finish({**run.summary, **test, "status": run.metadata["status"]}, figures)


if __name__ == "__main__":
    sys.exit(main())
