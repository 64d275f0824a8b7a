"""Benchmarks called as on a command line, in this process and in an empty folder."""

import os
import signal
import sys

import pytest
import torch
from hydra._internal.hydra import Hydra
from matplotlib.figure import Figure

from benchmarks.cli.train import main
from benchmarks.diagnostics import figures

rendered = figures.render_figure
EMPTY = {}


@pytest.fixture
def default_signals():
    """Signals act as they do in a terminal, also under nohup or in the background of a script."""
    handlers = {signal.SIGINT: signal.default_int_handler}
    handlers |= {signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def undrawn(request, monkeypatch):
    """Figures of runs are put together but not drawn, which would take most of a tiny run's time;
    they are where a test is marked as ``drawn``."""

    def render(figure, kind, about=None):
        if about is not None:
            return rendered(figure, kind, about)
        if kind not in EMPTY:
            EMPTY[kind] = rendered(Figure(figsize=(1, 1), dpi=10), kind)
        return EMPTY[kind]

    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr(figures, "render_figure", render)


@pytest.fixture
def command(tmp_path, monkeypatch, undrawn):
    """Run ``python -m benchmarks.NAME ...``; returns the folders of all runs so far, by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("WANDB_SILENT", "true")
    # Hydra composes the configuration twice, at first to look for a mode, which no file sets
    monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)
    threads = torch.get_num_threads()

    def call(*arguments, name="copy"):
        monkeypatch.setattr(sys, "argv", [f"benchmarks.{name}", *arguments])
        os.environ["HYDRA_FULL_ERROR"] = "0"
        main(name)
        return sorted(path.parent for path in tmp_path.rglob("run.json"))

    yield call
    torch.set_num_threads(threads)


@pytest.fixture
def results(tmp_path):
    """A folder of results with what ``define`` has put into it."""
    root = tmp_path / "project" / "results"
    root.mkdir(parents=True)
    return root
