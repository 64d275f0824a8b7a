"""One thread per process, a fixed seed per test, two tiers of tests, numbers of faults."""

import os

import pytest
import torch

from tests.faults.harness import TIMES
from tests.forks import ROOT
from tests.interpreter import interpreted  # noqa: F401 - a fixture
from tests.tiers import mark_slow

torch.set_num_threads(1)
# for the processes that tests start: where the project is, and no word of what a killed one, which
# cannot take back the lock of its progress bar, has leaked
for name, value, between in (
    ("PYTHONPATH", str(ROOT), os.pathsep),
    ("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning", ","),
):
    os.environ[name] = between.join(filter(None, [value, os.environ.get(name)]))


def pytest_addoption(parser):
    for option, (number, what) in TIMES.items():
        parser.getgroup("faults").addoption(f"--{option}", type=int, help=f"{what} ({number})")


def pytest_configure(config):
    given = [config.getoption(option.replace("-", "_")) for option in TIMES]
    if any(given) and config.option.markexpr == "not slow":  # faults are slow
        config.option.markexpr = ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    mark_slow(items)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
