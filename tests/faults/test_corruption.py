"""Checkpoints with damaged bytes: none is loaded in silence, and the one before takes over."""

import zipfile

import pytest

from benchmarks.records.files import BEST, CHECKPOINT, METRICS
from benchmarks.runs import checkpoints
from tests.faults.corruption import damage
from tests.faults.harness import check_refusal
from tests.faults.run_output import differences, read_output
from tests.faults.runs import FOLDER, SHORT_RUN

pytestmark = pytest.mark.slow

STEPS_BEFORE_A_KILL = 60
PREVIOUS = "checkpoint-1.pt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    SHORT_RUN.finish(folder)
    return folder / FOLDER


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run that was killed when it had checkpoints."""
    started = SHORT_RUN.start(tmp_path / "call")
    rows = tmp_path / "call" / FOLDER / METRICS
    assert started.wait_until(
        lambda: rows.exists() and rows.read_bytes().count(b"\n") > STEPS_BEFORE_A_KILL
    )
    started.kill()
    return rows.parent


@pytest.mark.parametrize("name", [CHECKPOINT, BEST])
def test_no_damaged_file_of_weights_is_loaded_as_another(name, damages, whole, rng, tmp_path):
    data, content = (whole / name).read_bytes(), checkpoints.read_file(whole / name)
    for _ in range(damages // 2):
        kind, changed = damage(data, rng)
        (tmp_path / name).write_bytes(changed)
        try:
            loaded = checkpoints.read_file(tmp_path / name)
        except zipfile.BadZipFile:
            continue
        assert differences(content, loaded) == [], kind


def test_a_run_goes_on_past_a_damaged_checkpoint(damaged_run, whole, stopped, rng):
    for name in [CHECKPOINT, BEST][: 1 + damaged_run % 2]:
        damage_for_good(stopped / name, rng)
    ended = SHORT_RUN.start(stopped.parent).end()
    assert ended.code == 0, ended.err
    warned = [line for line in ended.err.splitlines() if CHECKPOINT in line and PREVIOUS in line]
    assert len(warned) == 1
    assert "from step" in ended.out
    assert "from step 0" not in ended.out
    assert differences(read_output(whole), read_output(stopped)) == []


def test_a_run_without_a_sound_checkpoint_is_refused_and_stays_as_it_is(stopped, rng):
    for path in stopped.glob("checkpoint*.pt"):
        damage_for_good(path, rng)
    before = {path: path.read_bytes() for path in stopped.glob("*.pt")}
    check_refusal(SHORT_RUN.start(stopped.parent).end(), codes=[2])
    assert before == {path: path.read_bytes() for path in stopped.glob("*.pt")}


def damage_for_good(path, rng):
    """Damage a file so that it cannot be read."""
    data = path.read_bytes()
    while True:
        path.write_bytes(damage(data, rng)[1])
        try:
            checkpoints.read_file(path)
        except zipfile.BadZipFile:
            return
