"""How much memory there is, and how much a training step takes at least."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup/memory.max")  # of a container or a job of Slurm
FLOAT32_BYTES = 4  # bytes of a float32


def total_memory(device: torch.device) -> int:
    """Bytes that this process could have at most on a device."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limits.append(int(CGROUP.read_text()))
    return min(limits)


def min_memory(parameters: int, states: int = 0) -> int:
    """Bytes that a training step takes at the very least.

    Args:
        parameters: numbers that the model trains: each is kept with its gradient.
        states: numbers that the backward pass needs: inputs, states and outputs of a batch.
    """
    return FLOAT32_BYTES * (2 * parameters + states)


def format_gigabytes(number: int) -> str:
    """A number of bytes for a person."""
    return f"{number / 1e9:,.3g} GB"
