"""Whatever becomes of W&B, a training goes on: with one line, and without losing a row."""

import contextlib
import json
import os
import subprocess
import sys
import time

import pytest
import wandb

from benchmarks.loggers import (
    FailSafeLogger,
    JsonlLogger,
    LoggerUnavailable,
    RunIdentity,
    WandbLogger,
    wandb_files,
)
from benchmarks.loggers.wandb_files import find_parts, last_row
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

    def call(first, last, mode="offline", server=None, timeout=1.0, project="p"):
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
            logger.close(DONE, {})
        return time.monotonic() - began

    yield call
    wandb.teardown()
    os.environ.pop("WANDB_SERVICE", None)


def sync(server, *parts):
    for part in parts:
        command = [sys.executable, "-m", "wandb", "sync", "--no-skip-online", str(part)]
        subprocess.run(command, env=alone(**server.environment), check=True, capture_output=True)
    return [row["step"] for row in server.rows]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("fault", ["nothing", "500", "gone"])
def test_without_a_server_a_run_goes_on_offline_and_says_how_to_upload_it(
    fault, run, tmp_path, capfd
):
    with gone() if fault == "gone" else serving(fault) as server:
        assert run(1, 3, "online", server) < 10
    (part,) = find_parts(tmp_path)
    assert part.name.startswith("offline-run-")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: W&B could not start online (Timed out")
    assert line.endswith(f"; the run goes on offline, `wandb sync {part}` uploads it")
    assert last_row([part]) == 3


@pytest.mark.slow
def test_a_server_that_falls_silent_is_waited_for_half_of_the_time(run, tmp_path, capfd):
    with serving("UpsertBucket") as server:
        assert run(1, 3, "online", server, timeout=4) < 4
    (line,) = capfd.readouterr().err.splitlines()
    (part,) = find_parts(tmp_path)
    assert line.startswith("warning: logger: W&B failed (Timed out finishing run); `wandb sync ")
    assert line.endswith("it takes no more, metrics.jsonl has every record")
    assert not list(part.glob("*.synced"))
    with serving() as server:
        assert sync(server, part) == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("event", ["core killed", "server silent"])
def test_a_process_ends_whatever_becomes_of_wandb(tmp_path, event):
    with serving("UpsertBucket" if event == "server silent" else "") as server:
        mode = "online" if event == "server silent" else "offline"
        began = time.monotonic()
        done = logs(tmp_path, mode, event, "1-3", patience=2, **server.environment)
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
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: logger: W&B could not start (wandb-core exited with code 1")
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3
    assert not (tmp_path / "wandb").exists()


@pytest.mark.slow
def test_a_service_that_does_not_answer_is_ended(run, monkeypatch, capfd):
    monkeypatch.setattr("benchmarks.loggers.wandb.GRACE_SECONDS", 0)
    monkeypatch.setattr("benchmarks.loggers.wandb.DISK_TIMEOUT_SECONDS", 1.0)
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
    (part,) = find_parts(tmp_path)
    (uploaded,) = part.glob("*.synced")
    uploaded.unlink()
    (log,) = part.glob("*.wandb")
    log.write_bytes(log.read_bytes()[:7])  # as after a kill: the server has more than the disk
    with gone() as nobody:
        run(6, 8, "online", nobody)
    with serving() as later:
        later.rows += server.rows
        assert sync(later, *find_parts(tmp_path)) == list(range(1, 9))
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_run_that_went_offline_goes_on_online_and_is_not_uploaded_again(run, tmp_path, capfd):
    run(1, 5)
    with serving() as server:
        run(6, 8, "online", server, timeout=20)
        assert [row["step"] for row in server.rows] == list(range(1, 9))
        assert sync(server, *find_parts(tmp_path)) == list(range(1, 9))
    assert capfd.readouterr().err == ""


def test_a_row_of_a_batch_that_was_passed_over_is_no_fault(run, tmp_path, capfd):
    row = {"step": 1, "loss": None, "seconds": 1, "skipped": 1}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    run(2, 3)  # catches up on the first row, and looks for the best of all
    assert capfd.readouterr().err == ""
    history = of_type(inspected(tmp_path), "history")
    assert [each["item"]["step"] for each in history] == [1, 2, 3]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("fault", ["missing", "hangs", "fails", "nonsense"])
def test_rows_that_cannot_be_read_back_are_taken_to_end_at_the_checkpoint(
    fault, run, tmp_path, monkeypatch, capfd
):
    code = {
        "missing": "",
        "hangs": "import time; time.sleep(60)",
        "fails": "raise SystemExit('no')",
        "nonsense": "print('nonsense')",
    }[fault]
    real = subprocess.run

    def inspect(command, **options):
        if "leet" not in command:  # W&B's own
            return real(command, **options)
        if fault == "missing":
            raise FileNotFoundError(2, "No such file or directory", command[0])
        return real([sys.executable, "-c", code], **options)

    run(1, 5)
    before = find_parts(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(wandb_files.subprocess, "run", inspect)
        patched.setattr(wandb_files, "PATIENCE", 0.5 if fault == "hangs" else 20)
        run(4, 8)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: W&B's rows cannot be read (")
    assert line.endswith("); they are taken to end at 3")
    if fault == "nonsense":
        assert before[0] in find_parts(tmp_path)
        steps = [row["item"]["step"] for row in of_type(inspected(tmp_path), "history")]
        assert steps == [1, 2, 3, 4, 5, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("at", ["init", "finish"])
def test_who_interrupts_the_start_or_the_end_is_heard(signal, at, run, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise signal

    with monkeypatch.context() as patched:
        patched.setattr(*((wandb, at) if at == "init" else (wandb.Run, at)), interrupted)
        with pytest.raises(signal):
            run(1, 3)
    if at == "init":  # the next start is as the first
        assert not (tmp_path / "wandb").exists()
    else:
        assert last_row(find_parts(tmp_path)) == 3


def test_what_is_lost_at_the_start_is_no_refusal():
    assert not issubclass(
        LoggerUnavailable, (ValueError, TypeError, RuntimeError)
    )  # those end a run
