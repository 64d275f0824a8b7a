"""The checkpoints of a run: which are kept, and from which one it goes on."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.config.errors import ConfigError, warn
from benchmarks.records.files import CHECKPOINT, EARLIER_CHECKPOINTS, LOOKS, METRICS, WANDB_ID
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
    if (folder / LOOKS).exists():
        atomic_files.fsync(folder / LOOKS)
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
        except (OSError, Damaged) as error:
            damaged.append((path, error))
            continue
        except Exception as error:  # torch refuses what somebody else has sealed in many ways
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
            f"{saved['versions'].get('orthornn')}; redo=all trains anew"
        )
    check_same(path, saved["config"], config)


def restore_id(folder: Path, saved: dict[str, Any]) -> None:
    """See that a run keeps its id in W&B also where its folder of W&B is gone."""
    path = folder / WANDB_ID
    if "wandb_id" in saved and not path.exists():
        with atomic_files.write_errors(path):
            path.parent.mkdir(exist_ok=True)
        atomic_files.write_text(path, saved["wandb_id"])


# Note [The seal]
# torch reads a checkpoint's tensors without looking at the checksums that the file, a zip archive,
# has of them: a flipped bit becomes a weight. Hence the archive's comment, which ends the file, is
# the SHA-256 of all bytes before it. Any program that reads torch's files reads the sealed ones.
SEAL = b"orthornn sha256 "
_LENGTH = len(SEAL) + 2 * hashlib.sha256().digest_size
_NO_COMMENT = bytes(2)  # how an archive without a comment ends: the comment's length


class Damaged(ValueError):
    """The bytes of a checkpoint are not those that were written."""


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
    seal(file)
    atomic_files.write(path, file.getbuffer(), before)


def read_file(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; tensors and plain containers only.

    Raises:
        OSError: if it cannot be read.
        Damaged: if its seal is missing or broken, before torch sees it.
        pickle.UnpicklingError: if it holds anything else.
    """
    sealed = path.read_bytes()
    check_seal(sealed)
    file = io.BytesIO(sealed)
    content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return content


def seal(archive: io.BytesIO) -> None:
    """Give a zip archive the SHA-256 of what comes before it as its comment."""
    if bytes(archive.getbuffer()[-len(_NO_COMMENT) :]) != _NO_COMMENT:
        raise ValueError("a checkpoint must be a zip archive without a comment")
    archive.seek(-len(_NO_COMMENT), io.SEEK_END)
    archive.write(_LENGTH.to_bytes(len(_NO_COMMENT), "little"))
    archive.write(_seal_of(archive.getbuffer()))


def check_seal(sealed: bytes) -> None:
    """See that a seal is that of the bytes before it.

    Raises:
        Damaged: if it is missing, or of other bytes.
    """
    archive, ending = memoryview(sealed)[:-_LENGTH], sealed[-_LENGTH:]
    if not ending.startswith(SEAL):
        raise Damaged("its seal is missing: it was cut short, or is of another program")
    if ending != _seal_of(archive):
        raise Damaged("its SHA-256 is not the one that it was written with: it is damaged")


def _seal_of(archive: memoryview) -> bytes:
    return SEAL + hashlib.sha256(archive).hexdigest().encode()
