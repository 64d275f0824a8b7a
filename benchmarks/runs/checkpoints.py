"""The checkpoints of a run: which are kept, and from which one it goes on."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch

from benchmarks.config.errors import ConfigError, warn
from benchmarks.records.files import CHECKPOINT, EARLIER_CHECKPOINTS, GRADIENTS, METRICS, WANDB_ID
from benchmarks.system import atomic_files
from benchmarks.system.atomic_files import relative

from .folder import check_same, unreadable

FORMAT = 1


def save(folder: Path, content: dict[str, Any], keep: int) -> None:
    """Write the newest checkpoint of a run, after the records that it goes with.

    Args:
        folder: the run's folder.
        content: ``state``, ``config`` and ``versions``.
        keep: how many checkpoints there are to be; older ones go.

    Raises:
        WriteError: if that cannot be done; a checkpoint before it is still there then.
    """
    atomic_files.fsync(folder / METRICS)
    if (folder / GRADIENTS).exists():
        atomic_files.fsync(folder / GRADIENTS)
    whole = {**content, "format": FORMAT}
    with contextlib.suppress(FileNotFoundError):
        whole["wandb_id"] = (folder / WANDB_ID).read_text(encoding="utf-8")

    def make_room() -> None:
        if keep > 1:
            for age, path in reversed(list(enumerate(list_checkpoints(folder), 1))):
                path.rename(folder / f"checkpoint-{age}.pt")
        for path in list_checkpoints(folder)[max(1, keep - 1) :]:
            path.unlink()

    write_file(folder / CHECKPOINT, whole, make_room)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run that there are, the newest first."""
    newest = folder / CHECKPOINT
    earlier = folder.glob(EARLIER_CHECKPOINTS)
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
    for path in list_checkpoints(folder):
        try:
            saved = read_file(path)
        except (OSError, zipfile.BadZipFile) as error:
            damaged.append((path, error))
            continue
        except UnpicklingError as error:
            raise unreadable(path, error) from error
        _check(path, saved, config)
        if damaged:
            told = " and ".join(
                f"{relative(bad)} cannot be read ({error})" for bad, error in damaged
            )
            warn(f"{told}: going on from {relative(path)}, of step {saved['state']['step']}")
            with atomic_files.write_errors(path):
                path.replace(folder / CHECKPOINT)
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
            f"{relative(path)} must be of format {FORMAT}, got {saved['format']}, of orthornn "
            f"{saved['versions'].get('orthornn')}; rerun=all trains anew"
        )
    check_same(path, saved["config"], config)


def restore_id(folder: Path, saved: dict[str, Any]) -> None:
    """See that a run keeps its id in W&B also where its folder of W&B is gone."""
    path = folder / WANDB_ID
    if "wandb_id" in saved and not path.exists():
        with atomic_files.write_errors(path):
            path.parent.mkdir(exist_ok=True)
        atomic_files.write_text(path, saved["wandb_id"])


# Note [Damaged checkpoints]
# torch writes the CRC-32 of every member of a checkpoint, a zip archive, but does not check it when
# it loads: a flipped bit becomes a weight. Hence zipfile reads all members first. What lies outside
# of them is either of no effect or refused by one of the two readers, but for one bit of each
# member's attributes, which would make torch take it for an empty folder.
_ARCHIVE_START = b"PK\3\4"  # without it torch would try its former format


def write_file(
    path: Path, content: dict[str, Any], before: Callable[[], object] | None = None
) -> None:
    """Write a checkpoint of tensors and plain containers, whole or not at all.

    Args:
        path: the file.
        content: what :func:`load` returns.
        before: as of :func:`benchmarks.system.atomic_files.write`.

    Raises:
        WriteError: if it cannot be written.
    """
    file = io.BytesIO()
    torch.save(content, file)
    atomic_files.write(path, file.getbuffer(), before)


def read_file(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; tensors and plain containers only.

    Raises:
        OSError: if it cannot be read.
        zipfile.BadZipFile: if its bytes are not those that were written.
        pickle.UnpicklingError: if it holds anything else.
    """
    file = io.BytesIO(path.read_bytes())
    try:
        check_archive(file)
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, UnpicklingError):
        raise
    except Exception as error:  # damaged bytes raise almost anything
        raise zipfile.BadZipFile(f"it is damaged: {type(error).__name__}") from error
    return content


def check_archive(file: BinaryIO) -> None:
    """See that every member of a zip archive is as it was written.

    Raises:
        zipfile.BadZipFile: if one is not, or the file is no such archive.
    """
    if file.read(len(_ARCHIVE_START)) != _ARCHIVE_START:
        raise zipfile.BadZipFile("it is no zip archive")
    with zipfile.ZipFile(file) as archive:
        folders = [member.filename for member in archive.infolist() if member.external_attr]
        damaged = folders[0] if folders else archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"its member {damaged!r} is damaged")
    file.seek(0)
