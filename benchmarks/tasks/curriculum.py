"""Short sequences first: the same task in stages, each begun when the one before is mastered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .task import Scores, Task

FIRST_LENGTH = 2  # steps
MASTERED = 0.95  # mean of the score above which the length is doubled
WINDOW = 20  # batches that the mean is over


class LengthCurriculum:
    """Sequences of 2 steps, doubled whenever they are mastered, up to the whole length.

    They are mastered when the mean of a score over the last 20 batches of their length exceeds
    0.95. As the score is that of the training, nothing is measured beside it.

    Args:
        at_length: the task with sequences of so many steps.
        length: steps T of the last stage.
        score: the name of what is watched, of which more is better.
    """

    def __init__(self, at_length: Callable[[int], Task], length: int, score: str) -> None:
        self.at_length, self.length, self.score = at_length, length, score
        self._recent: list[float] = []
        self._begin(min(FIRST_LENGTH, length))

    @property
    def task(self) -> Task:
        """The task of the present stage."""
        return self._task

    def update(self, scores: Scores) -> None:
        """Take the scores of a batch; the next one may belong to the next stage."""
        self._recent = [*self._recent[-WINDOW + 1 :], scores[self.score]]
        mastered = len(self._recent) == WINDOW and sum(self._recent) / WINDOW > MASTERED
        if mastered and self._task.length < self.length:
            self._begin(min(2 * self._task.length, self.length))

    def state_dict(self) -> dict[str, Any]:
        """Plain containers: where the course stands."""
        return {"length": self._task.length, "recent": list(self._recent)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Return to the moment of :meth:`state_dict`."""
        self._begin(saved["length"])
        self._recent = list(saved["recent"])

    def _begin(self, length: int) -> None:
        self._task = self.at_length(length)
        self._recent = []
