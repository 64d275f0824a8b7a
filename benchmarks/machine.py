"""The machine that a number comes from: its processor or GPU, and how busy it is."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def describe(device: torch.device) -> str:
    """The machine in a few words: what computes, the number of cores, and their vector unit."""
    parts = [device_name(device), f"{os.cpu_count()} cores"]
    if device.type == "cpu":
        parts.append(torch.backends.cpu.get_cpu_capability())
    return ", ".join(parts)


def device_name(device: torch.device) -> str:
    """The model of the GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def load() -> float | None:
    """Processes that ran or waited for a core in the last minute; None where nobody counts."""
    with contextlib.suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return None
