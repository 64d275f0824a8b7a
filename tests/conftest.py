"""One thread per process, a fixed seed per test, two tiers of tests."""

import pytest
import torch

from tests.interpreter import interpreted  # noqa: F401 - a fixture
from tests.tiers import mark_slow

torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    mark_slow(items)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
