"""Files that are written whole or not at all; checkpoints are read without running their code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain containers."""
    write(path, lambda file: torch.save(content, file))


def write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Let ``fill`` write a file beside ``path``, flush it to the disk, then move it into place."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def settle(path: Path) -> None:
    """See that what was written to a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; tensors and plain containers only."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content
