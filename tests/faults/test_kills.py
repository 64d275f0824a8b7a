"""Runs that are killed at random moments, again and again, end as if they never had been.

A share of the kills comes while a run starts. A share is aimed: at its random moment it waits for
the next file to be begun, and comes while that is written or just after. The rest come blindly.
"""

import contextlib
import re
import signal
import time
from dataclasses import dataclass

import pytest

from benchmarks.records.files import GRADIENTS, METRICS
from benchmarks.runs import checkpoints
from tests.faults.run_output import differences, read_output
from tests.faults.runs import FOLDER, KILLED_RUNS

pytestmark = pytest.mark.slow

STARTING_SHARE, AIMED_SHARE = 0.15, 0.5  # of the kills
STARTING_SECONDS = 0.5  # that a fork takes until it trains
TRAINING_SECONDS = 0.3  # in which the other kills come
WRITING_SECONDS = 0.0005  # that an aimed kill waits at most when a file has been begun
LOOKS_FOR_A_FILE = 20  # between two for the run's end
WRITING_SHARE = 0.25  # of the kills, that is to come inside a write
ENOUGH_KILLS = 100  # from which on such a share says something


@dataclass
class Count:
    kills: int = 0
    in_a_write: int = 0
    runs: int = 0


@pytest.fixture(scope="module")
def counts():
    """What the tests of this module have done."""
    return []


@pytest.mark.parametrize("name", KILLED_RUNS)
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(
    name, kills, counts, rng, outcome, tmp_path
):
    run, count = KILLED_RUNS[name], Count()
    counts.append(count)
    expected = run.finish(tmp_path / "whole")
    while count.kills < -(-kills // len(KILLED_RUNS)):
        folder = tmp_path / str(count.runs)
        kill_repeatedly(run, folder, rng, count, -(-kills // len(KILLED_RUNS)))
        count.runs += 1
        assert differences(expected, read_output(folder / FOLDER)) == []
    outcome(f"{count.kills} kills, {count.in_a_write} in a write; {count.runs} runs bit-identical")


def test_a_share_of_the_kills_comes_inside_a_write(counts):
    kills = sum(count.kills for count in counts)
    if kills < ENOUGH_KILLS:
        pytest.skip(f"{kills} kills say nothing of a share")
    assert sum(count.in_a_write for count in counts) >= WRITING_SHARE * kills


def kill_repeatedly(run, folder, rng, count, kills):
    """See a run to its end, killing it as long as fewer than ``kills`` are done."""
    code = None
    while code is None:
        saved = saved_step(folder / FOLDER)
        started = run.start(folder)
        if count.kills < kills:
            code = kill_at_random(started, folder / FOLDER, rng)
        else:
            code = started.end().code
        if code is None:
            count.kills += 1
            count.in_a_write += is_inside_a_write(folder / FOLDER)
        else:
            assert code == 0, started.end().err
        check_progress(run, folder / FOLDER, started.out, saved)


def kill_at_random(started, folder, rng):
    """Kill a run at a random moment; its exit code if it came to its end before that."""
    starting, aimed = rng.random() < STARTING_SHARE, rng.random() < AIMED_SHARE
    if not starting:  # it trains once it has said something
        started.wait_until(lambda: started.out.stat().st_size)
    code = started.wait(rng.uniform(0, STARTING_SECONDS if starting else TRAINING_SECONDS))
    if code is None and aimed:
        started.wait_until(lambda: begins_a_file(folder), TRAINING_SECONDS)
        time.sleep(rng.uniform(0, WRITING_SECONDS))
    started.kill()
    return None if (code := started.wait(0)) == -signal.SIGKILL else code


def begins_a_file(folder):
    """Whether a run has begun a file, looking often: it is there for a millisecond."""
    for _ in range(LOOKS_FOR_A_FILE):
        with contextlib.suppress(FileNotFoundError):
            if any(path.name.endswith(".tmp") for path in folder.iterdir()):
                return True
    return False


def is_inside_a_write(folder):
    """Whether a killed run left a file or a line that it had not written to its end."""
    if not folder.is_dir():
        return False
    lines = [folder / name for name in (METRICS, GRADIENTS)]
    half = [p for p in lines if p.exists() and not (b"\n" + p.read_bytes()).endswith(b"\n")]
    return bool(half) or any(folder.glob(".*.tmp"))


def saved_step(folder):
    """The step of a run's newest checkpoint, 0 without one; a kill has damaged none."""
    saved = [checkpoints.read_file(path) for path in sorted(folder.glob("*.pt"))]
    return max([0, *(each["state"]["step"] for each in saved if "state" in each)])


def check_progress(run, folder, out, before):
    """Assert that a run went on from where it was saved, and that what it wrote is saved now."""
    now = saved_step(folder)
    went_on = re.search(r"from step (\d+) on", out.read_text(encoding="utf-8"))
    assert went_on is None or int(went_on[1]) == before
    rows = folder / METRICS
    lines = rows.read_bytes().count(b"\n") if rows.exists() else 0
    every = int(dict(o.split("=") for o in run.overrides)["train.checkpoint_every"])
    due = max(0, lines - 1) // every * every  # the last row may be there before its checkpoint
    assert now >= max(before, due)
