"""What the tests of stopped runs share: a signal at a step, and what a run has left."""

import os

from benchmarks.runs import train as run
from benchmarks.training import loop
from tests.faults.run_output import differences

QUIET = "logger=disabled"
LONGER = [
    "train.steps=9",
    "train.checkpoint_every=2",
    "train.evaluate_every=2",
    "train.gradient_flow_every=4",
]


def leave_after(monkeypatch, step, number):
    """Let the process get a signal while it trains, once."""
    calls = []

    def fit(*arguments):
        for record in loop.train(*arguments):
            if record["step"] == step and not calls:
                calls.append(number)
                os.kill(os.getpid(), number)
            yield record

    monkeypatch.setattr(run, "fit", fit)


def assert_equal(a, b):
    """Two results are the same bit for bit."""
    wrong = differences(a, b)
    assert wrong == [], wrong
