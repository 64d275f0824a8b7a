"""How long things take that take turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from .table import Action, SpeedPlan, SpeedTable

TURN_SECONDS = 0.02  # seconds: single calls of 0.1 ms cannot be timed
QUICK_TURN_SECONDS = 0.001
SLOW_SECONDS = 0.1  # seconds, beside which it is nothing what the one before left in the caches

OnProgress = Callable[[str], object]
Values = dict[str, list[float]]


def measure_seconds(
    table: SpeedTable, plan: SpeedPlan, on_progress: OnProgress
) -> tuple[Values, dict[str, str]]:
    """The seconds of every turn of every candidate, and what those said that failed.

    Each is made and called once before the first round. One that raises an error then is left out:
    where one runs out of memory the others need not.

    Args:
        table: of the candidates.
        plan: how often, and on which device.
        on_progress: is called with the name of each before it begins.
    """
    clock = Clock(plan.device, QUICK_TURN_SECONDS if plan.quick else TURN_SECONDS)
    actions: dict[str, Action] = {}
    failed: dict[str, str] = {}
    for name, make in table.candidates.items():
        on_progress(name)
        try:
            action = make()
            clock.time(name, action)
        except Exception as error:
            failed[name] = error_text(error)
        else:
            actions[name] = action
    values: Values = {name: [] for name in actions}
    for _ in range(plan.repeats):
        for name, action in actions.items():
            on_progress(name)
            values[name].append(clock.turn(name, action))
    return values, failed


def timing_rounds(plan: SpeedPlan) -> int:
    """How often each candidate is told of."""
    return 1 + plan.repeats


def error_text(error: Exception) -> str:
    """An error in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"


class Clock:
    """Times turns, and remembers how long one call of each candidate takes.

    Args:
        device: what it has finished, at both ends of what is timed.
        length: of a turn at least, in seconds.
    """

    def __init__(self, device: torch.device, length: float) -> None:
        self.device = device
        self.length = length
        self.fastest: dict[str, float] = {}

    def turn(self, name: str, action: Action) -> float:
        """The mean seconds of as many calls as make a turn, after one that does not count.

        Where no call was fast yet, that one is the turn.
        """
        once = self.time(name, action)
        if self.fastest[name] > SLOW_SECONDS:
            return once
        return self.time(name, action, max(1, round(self.length / self.fastest[name])))

    def time(self, name: str, action: Action, calls: int = 1) -> float:
        """The mean seconds of some calls."""
        self._wait()
        began = time.perf_counter()
        for _ in range(calls):
            action()
        self._wait()
        spent = (time.perf_counter() - began) / calls
        self.fastest[name] = min(spent, self.fastest.get(name, spent))
        return spent

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
