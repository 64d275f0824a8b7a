"""Which checkpoints a run keeps, and from which one it goes on."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.config.errors import ConfigError
from benchmarks.runs import checkpoints, folder, metadata
from benchmarks.system import atomic_files, seeding
from tests.benchmarks.commandline import TINY, load
from tests.benchmarks.stopped import LONGER, QUIET, assert_equal, leave_after
from tests.faults.run_output import read_output

pytestmark = pytest.mark.usefixtures("default_signals")

CONFIG = {"task": {"delay": 5}, "seed": 0}


def save(path, step, keep=2, **more):
    content = {"state": {"step": step}, "config": CONFIG, "versions": {"orthornn": "0"}, **more}
    checkpoints.save(path, content, keep)


def names_in(folder):
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "here"
    path.mkdir()
    (path / "metrics.jsonl").touch()
    return path


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_the_last_ones_are_kept_and_the_newest_is_taken(here, keep):
    assert checkpoints.load(here, CONFIG) is None
    for step in range(1, 7):
        save(here, step, keep)
        steps = [
            checkpoints.read_file(path)["state"]["step"]
            for path in checkpoints.list_checkpoints(here)
        ]
        assert steps == list(range(step, 0, -1))[:keep]
        assert checkpoints.load(here, CONFIG)["state"]["step"] == step
    names = {"metrics.jsonl", "checkpoint.pt", *(f"checkpoint-{k}.pt" for k in range(1, keep))}
    assert set(names_in(here)) == names


def test_fewer_are_kept_once_fewer_are_wanted(here):
    for step, keep in ((1, 9), (2, 9), (3, 9), (4, 2), (5, 1)):
        save(here, step, keep)
    assert [path.name for path in checkpoints.list_checkpoints(here)] == ["checkpoint.pt"]


def damage(path):
    data = bytearray(path.read_bytes())
    data[80] ^= 1  # within the first member
    path.write_bytes(data)


def test_a_damaged_one_falls_back_to_the_one_before_it_with_a_warning(here, capsys):
    for step in (1, 2, 3):
        save(here, step, 3)
    damage(here / "checkpoint.pt")
    assert checkpoints.load(here, CONFIG)["state"]["step"] == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    assert told.startswith("warning: here/checkpoint.pt cannot be read (its member")
    assert "going on from here/checkpoint-1.pt, of step 2" in told
    # now the newest is whole again: what is saved next must not push the good one out
    assert [
        checkpoints.read_file(path)["state"]["step"] for path in checkpoints.list_checkpoints(here)
    ] == [
        2,
        1,
    ]
    save(here, 3, 2)
    assert [
        checkpoints.read_file(path)["state"]["step"] for path in checkpoints.list_checkpoints(here)
    ] == [
        3,
        2,
    ]


def test_one_that_is_missing_falls_back_in_silence(here, capsys):
    for step in (1, 2):
        save(here, step)
    (here / "checkpoint.pt").unlink()
    assert checkpoints.load(here, CONFIG)["state"]["step"] == 1
    assert capsys.readouterr().err == ""


def test_if_all_are_damaged_the_newest_is_named(here):
    for step in (1, 2):
        save(here, step)
    damage(here / "checkpoint.pt")
    damage(here / "checkpoint-1.pt")
    with pytest.raises(ConfigError, match=r"here/checkpoint\.pt cannot be read .* rerun=all"):
        checkpoints.load(here, CONFIG)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"config": {**CONFIG, "task": {"delay": 6}}}, "task.delay=6 there, 5 here"),
        ({"config": {**CONFIG, "seed": 1}}, "seed=1 there, 0 here"),
        ({"format": 2}, "must be of format 1, got 2, of orthornn 0"),
        ({"state": None}, "is no checkpoint of a run"),
        ({"versions": None}, "is no checkpoint of a run"),
    ],
)
def test_one_of_another_run_or_format_is_refused_with_what_differs(here, content, words):
    save(here, 1)
    whole = checkpoints.read_file(here / "checkpoint.pt")
    checkpoints.write_file(here / "checkpoint.pt", {**whole, **content})
    with pytest.raises(ConfigError, match=words):
        checkpoints.load(here, CONFIG)


def test_a_pickle_of_more_is_refused_and_not_passed_over(here, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    for step in (1, 2):
        save(here, step)
    checkpoints.write_file(here / "checkpoint.pt", {"state": Evil()})
    with pytest.raises(ConfigError, match=r"here/checkpoint\.pt cannot be read"):
        checkpoints.load(here, CONFIG)
    assert not (tmp_path / "owned").exists()


def test_a_disk_that_is_full_costs_no_checkpoint(here, monkeypatch):
    for step in (1, 2):
        save(here, step)
    for call in ("replace", "rename", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, no_room)
            with pytest.raises(atomic_files.WriteError):
                save(here, 3)
        assert checkpoints.load(here, CONFIG)["state"]["step"] == 2


def no_room(*_):
    raise OSError(28, "No space left on device")


def test_the_id_in_wandb_outlives_its_folder(here):
    (here / "wandb").mkdir()
    (here / "wandb" / "id").write_text("abc")
    save(here, 1)
    (here / "wandb" / "id").unlink()
    (here / "wandb").rmdir()
    checkpoints.restore_id(here, checkpoints.load(here, CONFIG))
    assert (here / "wandb" / "id").read_text() == "abc"


def test_what_a_killed_process_has_left_half_written_goes(here):
    for name in (".checkpoint.pt.tmp", ".run.json.tmp", ".checkpoint-1.pt.tmp", ".mine.tmp"):
        (here / name).touch()
    with folder.locked(here):
        assert sorted(names_in(here)) == [".lock", ".mine.tmp", "metrics.jsonl"]


def test_all_global_generators_return(here):
    cpu = torch.device("cpu")
    checkpoints.write_file(here / "c.pt", seeding.rng_states(cpu))
    draws = []
    for _ in range(2):
        seeding.restore_rng_states(checkpoints.read_file(here / "c.pt"), cpu)
        draws.append((torch.rand(3).tolist(), np.random.rand(3).tolist(), random.gauss(0, 1)))  # noqa: NPY002
    assert draws[0] == draws[1]
    for _ in range(2):
        seeding.seed_all(2**60 + 1)
        draws.append((torch.rand(3).tolist(), np.random.rand(3).tolist(), random.gauss(0, 1)))  # noqa: NPY002
    assert draws[2] == draws[3] != draws[0]


def stop_at_five(command, monkeypatch, *tiny):
    with monkeypatch.context() as patch:
        leave_after(patch, 5, signal.SIGTERM)
        with pytest.raises(SystemExit):
            command(*tiny)


@pytest.mark.parametrize("names", [["checkpoint.pt"], ["best.pt"], ["checkpoint.pt", "best.pt"]])
def test_a_run_with_damaged_files_ends_as_if_nothing_had_been(command, monkeypatch, capsys, names):
    tiny = [*TINY["copy"], *LONGER, QUIET]
    command(*tiny, "hydra.run.dir=whole")
    stop_at_five(command, monkeypatch, *tiny, "hydra.run.dir=parts")
    for name in names:
        damage(Path("parts") / name)
    capsys.readouterr()
    command(*tiny, "hydra.run.dir=parts")
    assert ("warning" in capsys.readouterr().err) == ("checkpoint.pt" in names)
    assert_equal(read_output(Path("whole")), read_output(Path("parts")))
    checkpoints.read_file(Path("parts/best.pt"))


def test_other_versions_are_told(command, monkeypatch, capsys):
    tiny = [*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=here"]
    stop_at_five(command, monkeypatch, *tiny)
    real = metadata.versions
    capsys.readouterr()
    monkeypatch.setattr(metadata, "versions", lambda: {**real(), "torch": "1.0"})
    command(*tiny)
    err = capsys.readouterr().err
    assert f"goes on with other versions (torch {torch.__version__} there, 1.0 here)" in err
    assert load(Path("here"))[0]["status"] == "finished"


def test_slow_steps_are_saved_by_the_clock(command, monkeypatch):
    saved = []
    real = checkpoints.save
    monkeypatch.setattr(
        checkpoints, "save", lambda *given: (saved.append(given[1]["state"]["step"]), real(*given))
    )
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now.__setitem__(0, now[0] + 7) or now[0])
    command(
        *TINY["copy"],
        QUIET,
        "train.steps=9",
        "train.checkpoint_minutes=1",
        "train.checkpoint_every=99",
    )
    assert len(saved) > 2
    assert saved[-1] == 9
