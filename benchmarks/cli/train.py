"""The command of every benchmark: ``conf/<name>.yaml`` with the command line's overrides."""

from __future__ import annotations

from benchmarks.runs.train import run
from benchmarks.training import distributed

from . import hydra_main


def main(name: str) -> None:
    """Run the benchmark of ``conf/<name>.yaml`` with the overrides of the command line."""
    with distributed.process_group():
        hydra_main.main(name, run)
