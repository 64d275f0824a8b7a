"""The runs that are disturbed: real ones of about a second, most of it in writes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.faults.processes import Started, fork
from tests.faults.run_output import RunOutput, read_output

FOLDER = "run"
ANYWHERE = ("threads=1", "logger=disabled", f"hydra.run.dir={FOLDER}")


class Run(NamedTuple):
    """A run by its command: ``python -m benchmarks.NAME OVERRIDES``."""

    name: str
    overrides: tuple[str, ...]

    def start(self, folder: Path, *more: str, max_bytes: int | None = None) -> Started:
        """Start it in a folder; of two values of a key the last counts."""
        folder.mkdir(parents=True, exist_ok=True)
        return fork(self.name, [*self.overrides, *ANYWHERE, *more], folder, max_bytes)

    def finish(self, folder: Path, *more: str) -> RunOutput:
        """Run it in a folder to its end, and return what it leaves."""
        ended = self.start(folder, *more).end()
        assert ended.code == 0, f"exit code {ended.code}: {ended.err.strip()[-500:]}"
        return read_output(folder / FOLDER)


# dropout draws from torch's global generator and rows from another; patience, what is remembered
# from batch to batch and momenta are states that a checkpoint has to hold too
KILLED_RUNS = {
    "copy": Run(
        "copy",
        (
            *("task.delay=2", "parameter_budget=6000", "train.steps=100", "train.batch_size=2"),
            *("train.evaluate_every=10", "train.evaluation_batches=1", "train.checkpoint_every=1"),
            *("train.gradient_flow_every=80", "optimizer.algorithm.rows=0.5"),
            "optimizer.algorithm.momentum=0.5",
        ),
    ),
    "adding": Run(
        "adding",
        (
            *("task.length=4", "parameter_budget=9000", "train.steps=100", "train.batch_size=2"),
            *("train.evaluate_every=10", "train.evaluation_batches=1", "train.checkpoint_every=2"),
            *("train.gradient_flow_every=null", "train.patience=1", "train.warmup=20"),
            *("model=gru", "network.num_layers=2", "network.dropout=0.2"),
        ),
    ),
    "language": Run(
        "language",
        (
            *("data.level=character", "task.window=3", "parameter_budget=20000", "train.steps=100"),
            *("train.epochs=null", "train.batch_size=2", "train.evaluate_every=10"),
            *(
                "train.evaluation_batches=1",
                "train.checkpoint_every=1",
                "train.gradient_flow_every=null",
            ),
            *("network.embedding_size=8", "network.num_layers=2", "network.dropout=0.5"),
            "train.patience=2",
        ),
    ),
}
SHORT_RUN = Run(
    "copy",
    (
        *("task.delay=5", "parameter_budget=5000", "train.steps=120", "train.batch_size=4"),
        *("train.evaluate_every=10", "train.evaluation_batches=1", "train.checkpoint_every=10"),
        "train.gradient_flow_every=null",
    ),
)
