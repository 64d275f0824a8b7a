"""Benchmarks called as on a command line, in this process and in an empty folder."""

import os
import sys

import pytest
import torch

from benchmarks import run


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run ``python -m benchmarks.NAME ...``; returns the folders of all runs so far, by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("WANDB_SILENT", "true")
    threads = torch.get_num_threads()

    def call(*arguments, name="copy"):
        monkeypatch.setattr(sys, "argv", [f"benchmarks.{name}", *arguments])
        os.environ["HYDRA_FULL_ERROR"] = "0"
        run.main(name)
        return sorted(path.parent for path in tmp_path.rglob("run.json"))

    yield call
    torch.set_num_threads(threads)


@pytest.fixture
def results(tmp_path):
    """A folder of results with what ``define`` has put into it."""
    root = tmp_path / "project" / "results"
    root.mkdir(parents=True)
    return root
