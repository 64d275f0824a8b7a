"""A logger that fails costs one line, and no training."""

import shutil
import sys
import threading

import pytest

from benchmarks.loggers import (
    FailSafeLogger,
    LoggerUnavailable,
    ProgressBar,
    RunIdentity,
    TensorBoardLogger,
)
from tests.benchmarks.commandline import TINY, load

RECORD = {"step": 1, "loss": 1.0, "seconds": 1.0}
FULL = OSError(28, "No space left on device")
DONE = {"status": "finished"}


class Full:
    """A logger that fails at a step, whatever it is asked to do then."""

    def __init__(self, at, error=FULL):
        self.at, self.error, self.calls = at, error, 0

    def take(self, *arguments):
        self.calls += 1
        if self.calls >= self.at:
            raise self.error

    log_record = log_gradient_flow = log_text = close = take


def use(logger):
    logger.log_record(RECORD)
    logger.log_gradient_flow(1, None, None)
    logger.log_text(1, "text")
    logger.close(DONE, {})


@pytest.mark.parametrize("at", range(1, 5))
def test_after_the_first_error_a_sink_is_asked_no_more(at, capsys):
    full = Full(at)
    use(FailSafeLogger("logger", lambda: full))
    assert full.calls == at
    assert capsys.readouterr().err == (
        "warning: logger: OSError: [Errno 28] No space left on device; "
        "it takes no more, metrics.jsonl has every record\n"
    )


def test_without_an_error_all_is_passed_on(capsys):
    full = Full(9)
    use(FailSafeLogger("logger", lambda: full))
    assert full.calls == 4
    assert capsys.readouterr().err == ""


def test_a_refusal_and_an_interruption_pass():
    def refuse():
        raise ValueError("no such project")

    with pytest.raises(ValueError, match="no such project"):
        FailSafeLogger("logger", refuse)
    for signal in (KeyboardInterrupt, SystemExit):
        with pytest.raises(signal):
            use(FailSafeLogger("logger", lambda signal=signal: Full(1, signal())))


@pytest.mark.parametrize("where", ["construction", "write", "image"])
def test_tensorboard_whose_folder_is_gone_costs_one_line(where, tmp_path, monkeypatch, capfd):
    # its thread shows a traceback of its own
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    if where == "construction":
        (tmp_path / "tensorboard").write_text("not a folder")
    identity = RunIdentity(tmp_path, "n", "g", "copy", (), {"name": "copy"}, {})
    logger = FailSafeLogger("logger", lambda: TensorBoardLogger(identity))
    if where == "write":
        while (tmp_path / "tensorboard").exists():  # its thread may be writing into it
            shutil.rmtree(tmp_path / "tensorboard", ignore_errors=True)
    for step in range(1, 200):
        logger.log_record({"step": step, "loss": 1.0, "seconds": 1.0})
    (tmp_path / "broken.png").write_text("not an image")
    logger.close(DONE, {"figure": tmp_path / "broken.png"})
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: logger: ")
    assert line.endswith("; it takes no more, metrics.jsonl has every record")


class Gone:
    """A terminal that is closed."""

    def write(self, text):
        raise OSError(5, "Input/output error")

    flush = isatty = lambda self: False


def test_who_watched_and_left_is_no_error(monkeypatch):
    logger = FailSafeLogger("progress", lambda: ProgressBar(3, 1.0, "label", {}))
    monkeypatch.setattr(sys, "stderr", Gone())
    logger.log_record(RECORD)
    assert logger.wrapped is None
    use(logger)


def test_a_training_goes_on_without_its_logger(command, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "tensorboard").symlink_to(tmp_path / "nowhere" / "at" / "all")
    command(*TINY["copy"], "logger=tensorboard", f"hydra.run.dir={folder}")
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("warning: ")]
    assert len(lines) == 1
    about, records = load(folder)
    assert about["status"] == "finished"
    assert len(records) == 3


def test_a_message_of_many_lines_is_told_on_one(capsys):
    FailSafeLogger("logger", lambda: Full(1, LoggerUnavailable("one\n  two"))).log_record(RECORD)
    assert capsys.readouterr().err.startswith("warning: logger: one two; it takes no more")
