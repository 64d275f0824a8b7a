"""Checkpoints: torch's files under a seal, so that no damage to them goes unseen."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import storage

# Note [The seal]
# torch reads a checkpoint's tensors without looking at the checksums that the file, a zip archive,
# has of them: a flipped bit becomes a weight. Hence the archive's comment, which ends the file, is
# the SHA-256 of all bytes before it. Any program that reads torch's files reads the sealed ones.
SEAL = b"orthornn sha256 "
_LENGTH = len(SEAL) + 2 * hashlib.sha256().digest_size
_NO_COMMENT = bytes(2)  # how an archive without a comment ends: the comment's length


class Damaged(ValueError):
    """The bytes of a checkpoint are not those that were written."""


def save(path: Path, content: dict[str, Any], before: Callable[[], object] | None = None) -> None:
    """Write a checkpoint of tensors and plain containers, whole or not at all.

    Args:
        path: the file.
        content: what :func:`load` returns.
        before: as of :func:`benchmarks.storage.write`.

    Raises:
        Unwritable: if it cannot be written.
    """
    file = io.BytesIO()
    torch.save(content, file)
    seal(file)
    storage.write(path, file.getbuffer(), before)


def load(path: Path) -> dict[str, Any]:
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
