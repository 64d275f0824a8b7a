"""Numbers of faults from the command line, and a line of outcome for each test that has one."""

import random

import pytest

from tests.faults.harness import TIMES


def times(config, option):
    """How often a fault is tried."""
    given = config.getoption(option.replace("-", "_"))
    return TIMES[option][0] if given is None else given


def pytest_generate_tests(metafunc):
    count = lambda option: times(metafunc.config, option)  # noqa: E731
    numbers = {
        "damaged_run": max(1, count("damages") // 100),
        "full_disk": count("full-disks") - count("full-disks") // 4,
        "filling_disk": count("full-disks") // 4,
        "pair": count("concurrent"),
    }
    for name in numbers.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(name, range(numbers[name]))


@pytest.fixture
def kills(request):
    return times(request.config, "kills")


@pytest.fixture
def damages(request):
    return times(request.config, "damages")


@pytest.fixture
def full_disks(request):
    return times(request.config, "full-disks")


@pytest.fixture
def rng(request):
    """Random numbers that are the same in every session."""
    return random.Random(request.node.name)


@pytest.fixture
def outcome(record_property):
    """Report a line on what came out."""
    return lambda line: record_property("outcome", line)


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed"):
        for key, line in report.user_properties:
            if key == "outcome":
                terminalreporter.line(f"{report.nodeid.rpartition('::')[2]}: {line}")
