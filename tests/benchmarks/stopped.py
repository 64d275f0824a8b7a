"""What the tests of stopped runs share: a signal at a step, and what a run has left."""

import os

import torch

from benchmarks import run, train
from tests.benchmarks.commandline import load

QUIET = "logger=disabled"
LONGER = ["train.steps=9", "train.save_every=2", "train.evaluate_every=2", "train.diagnose_every=4"]


def leave_after(monkeypatch, step, number):
    """Let the process get a signal while it trains, once."""
    calls = []

    def fit(*arguments):
        for record in train.fit(*arguments):
            if record["step"] == step and not calls:
                calls.append(number)
                os.kill(os.getpid(), number)
            yield record

    monkeypatch.setattr(run, "fit", fit)


def contents(path):
    """What a run has left, less what is about time."""
    about, rows = load(path)
    saved = torch.load(path / "checkpoint.pt", weights_only=True)["state"]
    best = torch.load(path / "best.pt", weights_only=True)
    return {
        "rows": [{k: v for k, v in row.items() if k != "seconds"} for row in rows],
        "looks": (path / "gradients.jsonl").read_text(),
        "test": about["test"],
        "best": (best["step"], best["model"]),
        "state": {k: v for k, v in saved.items() if k != "seconds"},
    }


def assert_equal(a, b, where=""):
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{k}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where
