"""One thread per process, a fixed seed per test."""

import pytest
import torch

from tests.interpreter import interpreted  # noqa: F401 - a fixture

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
