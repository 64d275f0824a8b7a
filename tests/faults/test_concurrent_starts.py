"""The same run started twice at once: one proceeds, the other is refused, and nothing is spoilt."""

import time

import pytest

from tests.faults.harness import check_refusal
from tests.faults.processes import MAX_SECONDS
from tests.faults.run_output import differences, read_output
from tests.faults.runs import FOLDER, SHORT_RUN

pytestmark = pytest.mark.slow

LONGER = "train.steps=200"  # that the first is at it when the second comes


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What a run leaves that is started once."""
    return SHORT_RUN.finish(tmp_path_factory.mktemp("whole") / "call", LONGER)


def test_of_two_starts_of_one_run_exactly_one_proceeds(pair, expected, tmp_path):
    going = [SHORT_RUN.start(tmp_path / "call", LONGER) for _ in range(2)]
    until = time.monotonic() + MAX_SECONDS
    while not (ended := [started for started in going if started.wait(0.01) is not None]):
        assert time.monotonic() < until
    refused = ended[0].end()  # before the other has trained
    check_refusal(refused, ["is being written by process"], codes=[2])
    assert len(refused.err.strip().splitlines()) == 1
    assert sorted(started.end().code for started in going) == [0, 2]
    assert differences(expected, read_output(tmp_path / "call" / FOLDER)) == []
