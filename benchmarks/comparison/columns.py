"""What is measured of a group: for each number its name, its heading and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from benchmarks.records import prefixed, show_loss

from .groups import Group

Better = Literal["higher", "lower"]


class Column(NamedTuple):
    """One number of a run, as a table of groups shows it.

    Attributes:
        name: of the number, in the summary of a run or, after ``test_``, among its test scores.
        heading: for a person.
        show: how a value is written.
        better: which way is better; None where neither is.
        form: ``mean``, with an interval; ``each``, the value of every seed, for what some seeds
            never reach; ``largest`` over the seeds.
        latex: the heading in LaTeX, where it is not the heading.
        needs_target: whether it exists only where a task has a target.
        log: whether groups are compared by its logarithm: losses differ by orders of magnitude.
    """

    name: str
    heading: str
    show: Callable[[float], str]
    better: Better | None = None
    form: Literal["mean", "each", "largest"] = "mean"
    latex: str = ""
    needs_target: bool = False
    log: bool = False

    def values(self, group: Group) -> list[float]:
        """Of the finished runs that have it, in the order of their seeds."""
        found = ({**run.summary, **prefixed(run.about["test"])} for run in group.finished)
        return [f[self.name] for f in found if f.get(self.name) is not None]


def _count(value: float) -> str:
    return f"{value:.0f}"


def _digits(value: float) -> str:
    return f"{value:.3g}"


def _power(value: float) -> str:
    return f"{value:.0e}"


_LOSSES = (
    Column("best_validation_loss", "best validation loss", show_loss, "lower", log=True),
    Column("test_loss", "test loss", show_loss, "lower", log=True),
)
_SPEEDS = (
    Column("steps_below_baseline", "steps to beat the baseline", _count, "lower", "each"),
    Column("steps_to_target", "steps to target", _count, "lower", "each", needs_target=True),
    Column("seconds_to_target", "seconds to target", _count, "lower", "each", needs_target=True),
    Column("steps_per_second", "steps/s", _digits, "higher"),
    Column(
        "largest_orthogonality_error",
        "‖WᵀW-I‖",
        _power,
        "lower",
        "largest",
        latex=r"$\Vert W^\top W - I\Vert$",
    ),
)


def columns(about: dict[str, Any]) -> list[Column]:
    """Those of the task of a run, by its ``run.json``: losses, test scores, speeds."""
    scores = [_score(name, metric) for name, metric in about["metrics"].items()]
    return [*_LOSSES, *scores, *_SPEEDS]


def decisive(about: dict[str, Any]) -> Column:
    """What ranks the groups: the first metric of the task on the test set, or the loss there."""
    for name, metric in about["metrics"].items():
        return _score(name, metric)
    return _LOSSES[1]


def _score(name: str, metric: dict[str, Any]) -> Column:
    show = f"{{:{metric['show']}}}".format
    return Column(f"test_{name}", f"test {name.replace('_', ' ')}", show, metric["better"])
