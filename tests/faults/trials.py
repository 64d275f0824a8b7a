"""The runs that are hurt: real ones of about a second, most of it in writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.faults.bench import Case
from tests.faults.left import Left, left
from tests.faults.starting import Ended, fork

FOLDER = "run"
ANYWHERE = ("threads=1", "logger=disabled", f"hydra.run.dir={FOLDER}")


class Trial(NamedTuple):
    """A run by its command: ``python -m benchmarks.NAME OVERRIDES``."""

    name: str
    overrides: tuple[str, ...]

    def arguments(self, *more: str) -> list[str]:
        """Of its command line, in which the last of two values counts."""
        return [*self.overrides, *ANYWHERE, *more]


# dropout draws from torch's global generator and rows from another; patience, what is remembered
# from batch to batch and momenta are states that a checkpoint has to hold too
KILLED = {
    "copy": Trial(
        "copy",
        (
            *("task.delay=2", "parameter_budget=6000", "train.steps=300", "train.batch_size=2"),
            *("train.evaluate_every=20", "train.evaluation_batches=1", "train.checkpoint_every=1"),
            *("train.gradient_flow_every=200", "optimizer.algorithm.rows=0.5"),
            "optimizer.algorithm.momentum=0.5",
        ),
    ),
    "adding": Trial(
        "adding",
        (
            *("task.length=4", "parameter_budget=9000", "train.steps=300", "train.batch_size=2"),
            *("train.evaluate_every=15", "train.evaluation_batches=1", "train.checkpoint_every=2"),
            *("train.gradient_flow_every=null", "train.patience=1", "train.warmup=20"),
            *("model=gru", "network.num_layers=2", "network.dropout=0.2"),
        ),
    ),
    "language": Trial(
        "language",
        (
            *("data.level=character", "task.window=3", "parameter_budget=20000", "train.steps=300"),
            *("train.epochs=null", "train.batch_size=2", "train.evaluate_every=20"),
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
PLAIN = Trial(
    "copy",
    (
        *("task.delay=5", "parameter_budget=5000", "train.steps=120", "train.batch_size=4"),
        *("train.evaluate_every=10", "train.evaluation_batches=1", "train.checkpoint_every=10"),
        "train.gradient_flow_every=60",
    ),
)


def whole(case: Case, trial: Trial, *more: str) -> Left:
    """What an uninterrupted run leaves, of which a case keeps the folder.

    Raises:
        RuntimeError: if it does not come to its end, without which there is nothing to measure.
    """
    ended = fork(trial.name, trial.arguments(*more), case.call).end()
    if ended.code != 0:
        raise RuntimeError(
            f"an undisturbed run ended with {ended.code}: {ended.err.strip()[-500:]}"
        )
    return left(case.call / FOLDER)


def refused(ended: Ended, words: Sequence[str] = (), codes: Sequence[int] = (1, 2)) -> list[str]:
    """What is wrong with a failure that should be one line on stderr, naming ``words``.

    Lines of progress and a warning may come before it.
    """
    lines = ended.err.strip().splitlines()
    last = lines[-1] if lines else ""
    wrong = []
    if ended.code not in codes:
        wrong.append(f"exit code {ended.code}, expected one of {list(codes)}")
    if "Traceback" in ended.err:
        wrong.append(f"a traceback that ends in {last!r}")
    elif not last.startswith("error: ") or len({x for x in lines if x.startswith("error")}) != 1:
        wrong.append(f"not one line of error at the end, but {last!r}")
    return wrong + [f"no word of {word} in {last!r}" for word in words if word not in last]
