"""Whatever becomes of W&B, a training goes on: with one line, and without losing a row."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import time

import pytest
import wandb

from benchmarks import upload
from benchmarks.loggers import (
    FailSafeLogger,
    JsonlLogger,
    LoggerUnavailable,
    RunIdentity,
    WandbLogger,
)
from benchmarks.loggers.wandb_files import offline_files
from benchmarks.records.run import NEEDED, read_run
from tests import forked
from tests.benchmarks.wandb_runs import alone, inspected, logs, of_type
from tests.benchmarks.wandb_server import gone, serving

CORE = "wandb.sdk.lib.service.service_process.get_core_path"
DONE = {"status": "finished"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Log the steps FIRST to LAST of a run that goes on after FIRST - 1; returns the seconds."""
    for name in ("WANDB_RUN_ID", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    os.environ.pop("WANDB_SERVICE", None)  # for good: a service that has ended is none to return to
    monkeypatch.setenv("WANDB_SILENT", "true")

    def call(first, last, mode="offline", server=None, timeout=1.0, project="p", close=True):
        wandb.teardown()
        for name, value in (server.environment if server else {}).items():
            monkeypatch.setenv(name, value)
        began = time.monotonic()
        identity = RunIdentity(tmp_path, "n", "g", "copy", (), {}, {}, first - 1)
        logger = FailSafeLogger(
            "logger", lambda: WandbLogger(identity, project=project, mode=mode, timeout=timeout)
        )
        with contextlib.ExitStack() as stack:
            records = JsonlLogger(tmp_path / "metrics.jsonl")
            stack.callback(records.close, {}, {})
            for step in range(first, last + 1):
                for each in (logger, records):
                    each.log_record({"step": step, "loss": 1 / step, "seconds": step})
            if close:
                logger.close(DONE, {})
        return time.monotonic() - began

    yield call
    wandb.teardown()
    os.environ.pop("WANDB_SERVICE", None)


def steps_in(folder):
    return [row["item"]["step"] for row in of_type(inspected(folder), "history")]


def describe_run(folder, steps):
    """Write what an upload reads beside the records."""
    described = dict.fromkeys(NEEDED) | {"baseline": 1.0, "status": "running", "metrics": {}}
    (folder / "run.json").write_text(json.dumps(described))
    assert len(read_run(folder).records if steps else []) == steps


def upload_to(server, folder):
    code = "import sys; from benchmarks import upload; sys.exit(upload.main(sys.argv[1:]))"
    done = forked.python(code, str(folder), environment=alone(**server.environment))
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("fault", ["nothing", "500", "gone"])
def test_without_a_server_a_run_goes_on_offline_and_says_how_to_upload_it(
    fault, run, tmp_path, capfd
):
    with gone() if fault == "gone" else serving(fault) as server:
        assert run(1, 3, "online", server) < 10
    assert len(offline_files(tmp_path)) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: W&B could not start online (")
    command = f"`python -m benchmarks.upload {tmp_path}` uploads it"
    assert line.endswith(f"; the run goes on offline, {command}")
    assert steps_in(tmp_path) == [1, 2, 3]


def test_what_an_earlier_version_has_written_stays_without_a_server(run, tmp_path):
    (tmp_path / "wandb" / "offline-run-1").mkdir(parents=True)
    (tmp_path / "wandb" / "id").write_text("0" * 16)
    with gone() as server:
        run(1, 3, "online", server, close=False)
    assert (tmp_path / "wandb" / "id").read_text() == "0" * 16
    assert (tmp_path / "wandb" / "offline-run-1").is_dir()


@pytest.mark.slow
def test_a_server_that_falls_silent_is_waited_for_half_of_the_time(run, tmp_path, capfd):
    with serving("UpsertBucket") as server:
        assert run(1, 3, "online", server, timeout=4) < 4
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: logger: W&B failed (Timed out finishing run); `python -m ")
    assert line.endswith("it takes no more, metrics.jsonl has every record")
    describe_run(tmp_path, 3)
    with serving() as server:
        assert upload_to(server, tmp_path)[0] == 0
        assert [row["step"] for row in server.rows] == [1, 2, 3]


@pytest.mark.parametrize("event", ["core killed", "server silent"])
def test_a_process_ends_whatever_becomes_of_wandb(tmp_path, event):
    with serving("UpsertBucket" if event == "server silent" else "") as server:
        began = time.monotonic()
        done = logs(tmp_path, "online", event, "1-3", patience=2, **server.environment)
        assert time.monotonic() - began < 40
    assert done.returncode == 0
    assert "the training ended" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: logger: W&B failed (")


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_service_that_dies_at_its_start_costs_one_line(mode, run, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(CORE, lambda: "/bin/false")
    with serving() as server:
        run(1, 3, mode, server)
    *first, last = capfd.readouterr().err.splitlines()
    assert last.startswith("warning: logger: W&B could not start (wandb-core exited with code 1")
    assert len(first) == (mode == "online")
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3
    assert not list(tmp_path.rglob("*run-*"))


@pytest.mark.slow
def test_a_service_that_does_not_answer_is_ended(run, monkeypatch, capfd):
    monkeypatch.setattr("benchmarks.loggers.wandb_run.GRACE_SECONDS", 0)
    monkeypatch.setattr("benchmarks.loggers.wandb_run.DISK_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(wandb.Run, "finish", lambda run, **_: time.sleep(2) or run.log({"a": 1}))
    run(1, 3)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: logger: W&B failed (")


def test_a_folder_that_cannot_be_written_costs_one_line(run, tmp_path, capfd):
    (tmp_path / "wandb").write_text("not a folder")
    run(1, 3)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: logger: W&B could not start ([Errno 17] File exists")
    assert (tmp_path / "wandb").read_text() == "not a folder"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"project": "a/b"}, "Invalid project name 'a/b'"),
        ({"mode": "onlin"}, "Input should be 'online', 'offline'"),
        ({"mode": "online"}, "No API key configured"),
        ({"timeout": 0.0}, "timeout must be a number of seconds > 0, got 0.0"),
    ],
)
def test_what_no_server_would_mend_is_refused_and_leaves_nothing(
    options, told, run, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where a key would be
    monkeypatch.delenv("NETRC", raising=False)
    with gone() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.environment["WANDB_BASE_URL"])
    with pytest.raises(ValueError, match=told):
        run(1, 3, **options)
    assert not list(tmp_path.rglob("*run-*"))
    assert not (tmp_path / "wandb").exists()


@pytest.mark.slow
def test_a_run_that_went_online_goes_on_offline_without_gap_or_repetition(run, tmp_path, capfd):
    with serving() as server:
        run(1, 5, "online", server, timeout=20)
    with gone() as nobody:
        run(6, 8, "online", nobody)
    (file,) = offline_files(tmp_path)
    assert steps_in(tmp_path) == list(range(1, 9))
    with serving() as later:
        later.rows += server.rows
        command = [sys.executable, "-m", "wandb", "sync", str(file)]
        subprocess.run(command, env=alone(**later.environment), check=True, capture_output=True)
        assert [row["step"] for row in later.rows] == list(range(1, 9))
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_run_that_went_offline_goes_on_online_with_all_its_rows(run, tmp_path, capfd):
    run(1, 5)
    assert len(offline_files(tmp_path)) == 1
    with serving() as server:
        run(6, 8, "online", server, timeout=20)
        assert [row["step"] for row in server.rows] == list(range(1, 9))
    assert offline_files(tmp_path) == []
    assert capfd.readouterr().err == ""


def test_a_run_that_was_killed_is_uploaded_from_its_files(run, tmp_path, capfd):
    flow = {"gradient_norms": [0.5, 1.0], "jacobian": [], "spectrum": [2.0], "saturation": None}
    (tmp_path / "gradients.jsonl").write_text(json.dumps({"step": 0} | flow) + "\n")
    run(1, 5, close=False)
    describe_run(tmp_path, 5)
    with serving() as server:
        for _ in range(2):  # what is there is left out
            assert upload_to(server, tmp_path) == (0, f"{tmp_path} is at W&B\n")
        rows = [(row["_step"], row["step"], row["loss"]) for row in server.rows if "loss" in row]
        assert rows == [(k, k, 1 / k) for k in range(1, 6)]
        assert server.rows[0]["flow/gradient_first_to_last"] == 0.5
        assert server.rows[0]["flow/log10_spectrum"]["_type"] == "histogram"
        assert server.summary["loss"] == {"min": 0.2, "last": 0.2}
        assert server.summary["steps"] == 5


def test_what_cannot_be_uploaded_is_one_line_each(tmp_path, capsys):
    assert upload.main([str(tmp_path)]) == 2
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        describe_run(folder, 0)
    assert upload.main([str(tmp_path)]) == 1
    empty, *missing = capsys.readouterr().err.splitlines()
    assert empty == f"error: no run in {tmp_path}"
    assert missing == [
        f"error: {folder}: wandb/options.json is missing: the run was trained without W&B"
        for folder in folders
    ]
    (folders[0] / "wandb" / "offline-run-1").mkdir(parents=True)  # of an earlier version
    assert upload.main([str(folders[0])]) == 1
    assert "offline-run-*; do wandb sync $part; done` uploads it" in capsys.readouterr().err


def test_a_row_of_a_batch_that_was_passed_over_is_no_fault(run, tmp_path, capfd):
    row = {"step": 1, "loss": None, "seconds": 1, "skipped": 1}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    run(2, 3)
    assert capfd.readouterr().err == ""
    assert steps_in(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("at", ["init", "finish"])
def test_who_interrupts_the_start_or_the_end_is_heard(signal, at, run, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise signal

    with monkeypatch.context() as patched:
        patched.setattr(*((wandb, at) if at == "init" else (wandb.Run, at)), interrupted)
        with pytest.raises(signal):
            run(1, 3)
    open_files = [h for h in logging.getLogger("wandb").handlers if hasattr(h, "baseFilename")]
    assert open_files == []
    run(4, 5)
    assert steps_in(tmp_path) == [1, 2, 3, 4, 5]


def test_what_is_lost_at_the_start_is_no_refusal():
    assert not issubclass(
        LoggerUnavailable, (ValueError, TypeError, RuntimeError)
    )  # those end a run
