"""The folder of a run: whether it is taken, what stands in it already, and what to do about it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from benchmarks.config.errors import ConfigError
from benchmarks.config.fingerprint import setting
from benchmarks.records.files import EARLIER, METADATA, METRICS, RUN_FILES
from benchmarks.records.run import read_records
from benchmarks.records.summary import best_of_last_stage
from benchmarks.system import atomic_files
from benchmarks.system.atomic_files import relative

Rerun = Literal["none", "failed", "all"]
Plan = Literal["begin", "resume", "skip"]
LOCK = ".lock"
MOST_SHOWN = 3  # keys in which two settings differ


class FailedBefore(Exception):
    """The run failed when it was last tried, and is not to be tried again."""


class RunLocked(ConfigError):
    """Another process is writing the run."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; the lock dies with its owner.

    Files that a killed process has left half written are removed.

    Raises:
        RunLocked: if another process has it, at once.
        ConfigError: if the folder cannot be written.
    """
    path = folder / LOCK
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
        path.write_text(f"{os.getpid()} on {platform.node()}\n", encoding="utf-8")
        for name in RUN_FILES:
            for left in folder.glob(atomic_files.temporary_name(name)):
                left.unlink()
    except Timeout:
        holder = "another process"
        with contextlib.suppress(OSError):
            holder = f"process {path.read_text(encoding='utf-8').strip()}"
        raise RunLocked(f"{relative(folder)} is being written by {holder}") from None
    except OSError as error:
        lock.release()
        told = error.strerror or error
        raise ConfigError(f"{relative(folder)} cannot be written: {told}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if [found.name for found in folder.iterdir()] == [LOCK]:
                path.unlink()  # nothing was begun
        lock.release()


def resume_plan(folder: Path, config: dict[str, Any], rerun: Rerun) -> Plan:
    """What to do with a run whose folder may hold one already.

    Args:
        folder: the run's folder.
        config: the resolved configuration of the run to be.
        rerun: which runs that are over are wanted again.

    Raises:
        ConfigError: if the folder holds a run of another setting or seed, or an unreadable one.
        FailedBefore: if that run failed and is not wanted again.
    """
    try:
        about = read_metadata(folder)
    except ConfigError:
        if rerun != "all":
            raise
        about = None
    if about is None:
        return "begin"
    check_same(folder, about["config"], config)
    if rerun == "all":
        return "begin"
    if about["status"] == "finished":
        return "skip"
    if about["status"] == "failed" and rerun == "none":
        raise FailedBefore(
            f"{relative(folder)} failed before: {about['error']}; rerun=failed tries again"
        )
    return "resume"


def read_metadata(folder: Path) -> dict[str, Any] | None:
    """What ``run.json`` says; None without one.

    Raises:
        ConfigError: if it cannot be read.
    """
    path = folder / METADATA
    if not path.exists():
        return None
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"config": dict, "summary": dict, "resumed": list, "threads": int, "started": str}
        right = all(isinstance(about.get(key), kind) for key, kind in kinds.items())
        if not right or not {"status", "error", "task", "baseline"} <= about.keys():
            raise ValueError("it is not the description of a run")
    except (OSError, ValueError, AttributeError) as error:
        raise unreadable(path, error) from error
    return about


def best_loss(folder: Path) -> float:
    """The best validation loss of a finished run, of its last stage; nan if it does not say."""
    try:
        loss = best_of_last_stage(read_records(folder))
    except (OSError, ValueError):  # the description is enough for a run that has no stages
        loss = (read_metadata(folder) or {"summary": {}})["summary"].get("best_validation_loss")
    return math.nan if loss is None else float(loss)


def check_same(folder: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """See that a folder holds the run of this configuration.

    Raises:
        ConfigError: if it does not, with what differs.
    """
    old, new = ({**setting(c), "seed": c.get("seed")} for c in (there, here))
    differ = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if differ:
        told = [f"{key}={old.get(key)} there, {new.get(key)} here" for key in differ[:MOST_SHOWN]]
        more = [f"and {len(differ) - MOST_SHOWN} more"] if len(differ) > MOST_SHOWN else []
        raise ConfigError(f"{relative(folder)} holds another run ({'; '.join([*told, *more])})")


def check_data(folder: Path, before: dict[str, Any], here: dict[str, Any]) -> None:
    """See that a run has the data it began with, by its task and what blindness costs.

    Args:
        folder: the run's folder.
        before: what ``run.json`` says.
        here: what it would say now; what is not in it is not compared.

    Raises:
        ConfigError: if the data are others.
    """
    for key in ("task", "baseline"):
        if key in here and before[key] != here[key]:
            raise ConfigError(
                f"{relative(folder)} was begun with other data ({key} {before[key]!r} there, "
                f"{here[key]!r} here); rerun=all trains anew"
            )


def check_whole(folder: Path, rows: list[dict[str, Any]], step: int) -> None:
    """See that there is a record of every step up to the checkpoint's.

    Raises:
        ConfigError: if one is missing.
    """
    if [row["step"] for row in rows] != list(range(1, step + 1)):
        raise ConfigError(
            f"{relative(folder / METRICS)} must hold steps 1 to {step}, as the checkpoint "
            f"does, got {len(rows)} of them; rerun=all trains anew"
        )


def archive(folder: Path) -> Path | None:
    """Move what an earlier attempt left, if there was one, below the folder ``earlier``.

    Returns where it lies now. Other files stay.
    """
    left = [path for name in RUN_FILES for path in sorted(folder.glob(name))]
    if not left:
        return None
    earlier = folder / EARLIER
    with atomic_files.write_errors(earlier):
        earlier.mkdir(exist_ok=True)
        taken = [int(path.name) for path in earlier.iterdir() if path.name.isdigit()]
        attempt = earlier / str(max(taken, default=0) + 1)
        attempt.mkdir()
        for path in left:  # run.json first: without it, what is left is an attempt to set aside
            path.rename(attempt / path.name)
    return attempt


def restore(folder: Path, attempt: Path) -> None:
    """Undo :func:`archive`, as long as nothing new has been written."""
    for name in reversed(RUN_FILES):
        for path in sorted(attempt.glob(name)):
            if not (folder / path.name).exists():
                path.rename(folder / path.name)
    with contextlib.suppress(OSError):
        attempt.rmdir()
        attempt.parent.rmdir()


def truncate_jsonl(path: Path, step: int) -> list[dict[str, Any]]:
    """The rows of a JSON lines file up to a step; what comes after, a crash's half a line, goes.

    Raises:
        ConfigError: if a row before that is damaged.
    """
    if not path.exists():
        return []
    rows, lines = [], []
    try:
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            row = json.loads(line)
            if row["step"] > step:
                break
            rows.append(row)
            lines.append(f"{line}\n")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable(path, error) from error
    atomic_files.write_text(path, "".join(lines))
    return rows


def unreadable(path: Path, error: Exception) -> ConfigError:
    """The refusal of a file of a run; torch's errors say much after their first line."""
    first = str(error).partition("\n")[0] or type(error).__name__
    return ConfigError(f"{relative(path)} cannot be read ({first}); rerun=all trains anew")
