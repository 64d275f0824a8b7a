"""Disks that are full, read-only or gone: one line says so, and with space the run goes on."""

import re
import shutil
from collections import Counter

import pytest

from benchmarks.records.files import (
    BEST,
    CHECKPOINT,
    CONFIG,
    GRADIENTS,
    GRADIENTS_FIGURE,
    LOSS_FIGURE,
    METADATA,
    METRICS,
)
from tests.faults.disk import can_mount, small_disk
from tests.faults.harness import check_refusal
from tests.faults.run_output import differences
from tests.faults.runs import FOLDER, Run

pytestmark = pytest.mark.slow
mounts = pytest.mark.skipif(
    not can_mount(), reason="only root, also that of `unshare -rm`, can mount a disk"
)

STEPS, CHECKPOINT_STEPS = 80, 30
# the first checkpoint comes late, so that the records take pages of their own before it
RUN = Run(
    "copy",
    (
        *("task.delay=2", "parameter_budget=3000", f"train.steps={STEPS}", "train.batch_size=2"),
        *(
            "train.evaluate_every=30",
            "train.evaluation_batches=1",
            f"train.checkpoint_every={CHECKPOINT_STEPS}",
        ),
        f"train.gradient_flow_every={STEPS}",
    ),
)
FIRST_PAGES = 6  # that are left in turn, from none: the first files are small
FIGURES = (LOSS_FIGURE, GRADIENTS_FIGURE)
FILES = {METADATA, CONFIG, METRICS, GRADIENTS, BEST, CHECKPOINT, "a figure"}
ENOUGH_DISKS = 20  # from which on each of these is to be hit
CAUSES = ("No space left on device", "File too large")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an undisturbed run leaves, and the pages that it takes of a disk."""
    folder = tmp_path_factory.mktemp("whole") / "call"
    with small_disk(folder) as disk:
        return RUN.finish(folder), disk.used


@pytest.fixture(scope="module")
def hit():
    """How often each file was the one that could not be written."""
    return Counter()


@mounts
def test_a_run_without_space_from_the_start_goes_on_with_it(
    full_disk, full_disks, whole, hit, tmp_path
):
    expected, pages = whole
    left = full_disk
    if left >= FIRST_PAGES:
        rest = full_disks - full_disks // 4 - FIRST_PAGES
        left += (pages - 1 - FIRST_PAGES) * (full_disk - FIRST_PAGES) // max(1, rest - 1)
        left -= full_disk - FIRST_PAGES
    with small_disk(tmp_path / "call") as disk:
        disk.fill(leave=left)
        hit[unwritten(RUN.start(disk.path).end())] += 1
        disk.make_space()
        assert differences(expected, RUN.finish(disk.path)) == []


@mounts
def test_a_run_whose_disk_fills_goes_on_with_space(filling_disk, whole, hit, rng, tmp_path):
    with small_disk(tmp_path / "call") as disk:
        started = RUN.start(disk.path)
        # the first just after a checkpoint, so that records are next to need a page
        first = filling_disk < 2
        step = CHECKPOINT_STEPS + 1 if first else rng.randrange(1, STEPS * 9 // 10)
        started.wait_until(has_steps(disk.path, step))
        disk.fill(leave=0 if first else rng.randrange(3))
        hit[unwritten(started.end())] += 1
        disk.make_space()
        assert differences(whole[0], RUN.finish(disk.path)) == []


@mounts
def test_every_kind_of_file_was_one_that_could_not_be_written(full_disks, hit, outcome):
    outcome(", ".join(f"{name} {count}" for name, count in sorted(hit.items())))
    assert full_disks < ENOUGH_DISKS or set(hit) >= FILES


def test_a_limit_to_the_size_of_files_is_one_line_too(tmp_path):
    expected = RUN.finish(tmp_path / "whole")
    most = max(path.stat().st_size for path in (tmp_path / "whole" / FOLDER).iterdir()) - 1
    for share in (0.25, 1) if can_mount() else (0.1, 0.25, 0.5, 1):
        folder = tmp_path / f"{share}"
        unwritten(RUN.start(folder, max_bytes=round(share * most)).end())
        assert differences(expected, RUN.finish(folder)) == []


@mounts
def test_a_read_only_disk_refuses_a_new_run_and_one_that_was_stopped(tmp_path):
    with small_disk(tmp_path / "call") as disk:
        for codes in ([2], [1, 2]):
            disk.read_only(True)
            ended = RUN.start(disk.path).end()
            check_refusal(ended, codes=codes)
            assert "ead-only" in ended.err
            disk.read_only(False)
            started = RUN.start(disk.path)
            started.wait_until(has_steps(disk.path, STEPS // 2))
            started.kill()


@pytest.mark.parametrize("removed", [False, True])
def test_a_folder_that_is_taken_away_is_one_line(removed, tmp_path):
    started = RUN.start(tmp_path / "call")
    started.wait_until(has_steps(tmp_path / "call", STEPS // 2))
    (tmp_path / "call" / FOLDER).rename(tmp_path / "away")
    if removed:
        shutil.rmtree(tmp_path / "away")
    ended = started.end()
    check_refusal(ended)
    assert "cannot be written" in ended.err


def has_steps(folder, number):
    """Whether a run has done so many steps, to be asked again and again."""
    rows = folder / FOLDER / METRICS
    return lambda: rows.exists() and rows.read_bytes().count(b"\n") >= number


def unwritten(ended):
    """The file that a run could not write, as its one line of error names it, with the cause."""
    check_refusal(ended)
    last = ended.err.strip().splitlines()[-1]
    named = re.search(rf"{FOLDER}(?:/([\w.-]+))? cannot be written", last)
    assert named, last
    assert any(cause in last for cause in CAUSES), last
    return "a figure" if named[1] in FIGURES else named[1] or "the folder"
