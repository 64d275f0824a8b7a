"""The folder of a run: whether it is taken, what stands in it already, and what to do about it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from . import checkpoint, records
from .refusal import ConfigError
from .setting import setting

Redo = Literal["none", "failed", "all"]
Plan = Literal["begin", "resume", "skip"]
LOCK = ".lock"
MOST_SHOWN = 3  # keys in which two settings differ


class FailedBefore(Exception):
    """The run failed when it was last tried, and is not to be tried again."""


class Taken(ConfigError):
    """Another process is writing the run."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; the lock dies with its owner.

    Raises:
        Taken: if another process has it, at once.
    """
    path = folder / LOCK
    try:
        with FileLock(path, blocking=False):
            path.write_text(f"{os.getpid()} on {platform.node()}\n", encoding="utf-8")
            try:
                yield
            finally:
                if [found.name for found in folder.iterdir()] == [LOCK]:
                    path.unlink()  # nothing was begun
    except Timeout:
        holder = path.read_text(encoding="utf-8").strip()
        raise Taken(f"{short(folder)} is being written by process {holder or 'unknown'}") from None


def plan(folder: Path, config: dict[str, Any], redo: Redo) -> Plan:
    """What to do with a run whose folder may hold one already.

    Args:
        folder: the run's folder.
        config: the resolved configuration of the run to be.
        redo: which runs that are over are wanted again.

    Raises:
        ConfigError: if the folder holds a run of another setting or seed, or an unreadable one.
        FailedBefore: if that run failed and is not wanted again.
    """
    about = None if redo == "all" else look(folder)
    if about is None:
        return "begin"
    check_same(folder, about["config"], config)
    if about["status"] == "finished":
        return "skip"
    if about["status"] == "failed" and redo == "none":
        raise FailedBefore(
            f"{short(folder)} failed before: {about['error']}; redo=failed tries again"
        )
    return "resume" if (folder / records.CHECKPOINT).exists() else "begin"


def look(folder: Path) -> dict[str, Any] | None:
    """What ``run.json`` says; None without one.

    Raises:
        ConfigError: if it cannot be read.
    """
    path = folder / records.ABOUT
    if not path.exists():
        return None
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not {"status", "config", "error", "summary"} <= about.keys():
            raise ValueError("it is not the description of a run")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); redo=all trains anew") from error
    return about


def best_loss(folder: Path) -> float:
    """The best validation loss of a finished run."""
    return float((look(folder) or {})["summary"]["best_validation_loss"])


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
        raise ConfigError(f"{short(folder)} holds another run ({'; '.join([*told, *more])})")


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Write the checkpoint of a run, after the records that it goes with."""
    checkpoint.settle(folder / records.METRICS)
    checkpoint.save(folder / records.CHECKPOINT, content)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run.

    Raises:
        ConfigError: if it cannot be read.
    """
    path = folder / records.CHECKPOINT
    try:
        return checkpoint.load(path)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{path} cannot be read ({first}); redo=all trains anew") from error


def check_whole(folder: Path, rows: list[dict[str, Any]], step: int) -> None:
    """See that there is a record of every step up to the checkpoint's.

    Raises:
        ConfigError: if one is missing.
    """
    if [row["step"] for row in rows] != list(range(1, step + 1)):
        raise ConfigError(
            f"{folder / records.METRICS} must hold steps 1 to {step}, as the checkpoint does, "
            f"got {len(rows)} of them; redo=all trains anew"
        )


def set_aside(folder: Path) -> None:
    """Move what an earlier attempt left, if there was one, below the folder ``earlier``."""
    if not (folder / records.ABOUT).exists():
        return
    left = [path for path in folder.iterdir() if path.name not in (LOCK, records.EARLIER)]
    earlier = folder / records.EARLIER
    earlier.mkdir(exist_ok=True)
    numbers = [int(path.name) for path in earlier.iterdir() if path.name.isdigit()]
    attempt = earlier / str(max(numbers, default=0) + 1)
    attempt.mkdir()
    for path in left:
        path.rename(attempt / path.name)


def cut(path: Path, step: int) -> list[dict[str, Any]]:
    """The rows of a JSON lines file up to a step; what comes after, a crash's half a line, goes.

    Raises:
        ConfigError: if a row before that is damaged.
    """
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        try:
            row = json.loads(line)
            if row["step"] > step:
                break
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is damaged ({error}); redo=all trains anew") from error
        rows.append(row)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    checkpoint.write(path, lambda file: file.write(text.encode()))
    return rows


def short(path: Path) -> Path:
    """A path relative to where the user stands, if it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
