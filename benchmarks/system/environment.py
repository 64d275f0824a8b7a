"""The machine that a number comes from: its processor or GPU, and how busy it is."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import subprocess
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def describe_machine(device: torch.device) -> str:
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


def load_average() -> float | None:
    """Processes that ran or waited for a core in the last minute; None where nobody counts."""
    with contextlib.suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return None


ROOT = Path(__file__).resolve().parents[2]
GIT_TIMEOUT_SECONDS = 5  # seconds for git, which takes milliseconds unless its disk is gone


def git_commit(root: Path = ROOT) -> str:
    """The commit of a checkout, such as ``"8a51d0c"`` or ``"8a51d0c, with changes"``.

    Changes are those of files that git follows. ``"unknown"`` outside a checkout, before its first
    commit, and without git.
    """
    if not (root / ".git").exists():  # the commit of a folder around it would say nothing
        return "unknown"
    command = ["git", "--no-optional-locks", "describe", "--always", "--exclude=*"]
    command += ["--abbrev=7", "--dirty=, with changes"]
    # git sets variables for its hooks that would point to another checkout
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=GIT_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def timestamp() -> str:
    """The time, with its zone."""
    return dt.datetime.now().astimezone().isoformat()
