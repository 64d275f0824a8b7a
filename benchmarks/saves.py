"""The checkpoints of a run: which are kept, and from which one it goes on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from . import checkpoint, records, storage
from .folder import check_same, unreadable
from .refusal import ConfigError, warn
from .storage import short

FORMAT = 1


def save(folder: Path, content: dict[str, Any], keep: int) -> None:
    """Write the newest checkpoint of a run, after the records that it goes with.

    Args:
        folder: the run's folder.
        content: ``state``, ``config`` and ``versions``.
        keep: how many checkpoints there are to be; older ones go.

    Raises:
        Unwritable: if that cannot be done; a checkpoint before it is still there then.
    """
    storage.settle(folder / records.METRICS)
    if (folder / records.LOOKS).exists():
        storage.settle(folder / records.LOOKS)
    whole = {**content, "format": FORMAT}
    with contextlib.suppress(FileNotFoundError):
        whole["wandb_id"] = (folder / records.WANDB_ID).read_text(encoding="utf-8")

    def make_room() -> None:
        if keep > 1:
            for age, path in reversed(list(enumerate(find(folder), 1))):
                path.rename(folder / f"checkpoint-{age}.pt")
        for path in find(folder)[max(1, keep - 1) :]:
            path.unlink()

    checkpoint.save(folder / records.CHECKPOINT, whole, make_room)


def find(folder: Path) -> list[Path]:
    """The checkpoints of a run that there are, the newest first."""
    newest = folder / records.CHECKPOINT
    earlier = folder.glob(records.EARLIER_CHECKPOINTS)
    by_age = sorted(earlier, key=lambda path: int(path.stem.partition("-")[2]))
    return [newest, *by_age] if newest.exists() else by_age


def load(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """The newest checkpoint of a run that is not damaged; None if there was none yet.

    One that is damaged is passed over, with a warning, and makes place for the one before it.

    Args:
        folder: the run's folder.
        config: the resolved configuration of the run to be.

    Raises:
        ConfigError: if all are damaged, or the first whole one is of another run or format.
    """
    damaged: list[tuple[Path, Exception]] = []
    for path in find(folder):
        try:
            saved = checkpoint.load(path)
        except (OSError, checkpoint.Damaged) as error:
            damaged.append((path, error))
            continue
        except Exception as error:  # torch refuses what somebody else has sealed in many ways
            raise unreadable(path, error) from error
        _check(path, saved, config)
        if damaged:
            told = " and ".join(f"{short(bad)} cannot be read ({error})" for bad, error in damaged)
            warn(f"{told}: going on from {short(path)}, of step {saved['state']['step']}")
            with storage.writing(path):
                path.replace(folder / records.CHECKPOINT)
        return saved
    if damaged:
        raise unreadable(*damaged[0])
    return None


def _check(path: Path, saved: dict[str, Any], config: dict[str, Any]) -> None:
    needed = {"format": int, "state": dict, "config": dict, "versions": dict}
    if not all(isinstance(saved.get(key), kind) for key, kind in needed.items()):
        raise unreadable(path, ValueError("it is no checkpoint of a run"))
    if saved["format"] != FORMAT:
        raise ConfigError(
            f"{short(path)} must be of format {FORMAT}, got {saved['format']}, of orthornn "
            f"{saved['versions'].get('orthornn')}; redo=all trains anew"
        )
    check_same(path, saved["config"], config)


def restore_id(folder: Path, saved: dict[str, Any]) -> None:
    """See that a run keeps its id in W&B also where its folder of W&B is gone."""
    path = folder / records.WANDB_ID
    if "wandb_id" in saved and not path.exists():
        with storage.writing(path):
            path.parent.mkdir(exist_ok=True)
        storage.write_text(path, saved["wandb_id"])
