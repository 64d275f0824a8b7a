"""On what the numbers were measured: versions, processor, and how busy it was."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

from benchmarks.about import now
from benchmarks.code_version import code_version
from benchmarks.threads import available_cores

from .table import Plan

CPUINFO = Path("/proc/cpuinfo")


def header(plan: Plan) -> dict[str, Any]:
    """What a reader has to know of the machine and of how it was measured."""
    return {
        "date": now(),
        "orthornn": importlib.metadata.version("orthornn"),
        "code": code_version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": plan.device.type,
        "device_name": device_name(plan.device),
        "tf32": plan.device.type == "cuda" and torch.backends.cudnn.allow_tf32,
        "threads": plan.threads,
        "cores": available_cores(),
        "load": load(),
        "repeats": plan.repeats,
        "quick": plan.quick,
    }


def describe(header: dict[str, Any]) -> str:
    """The same in two lines for a person."""
    busy = "" if header["load"] is None else f", load {header['load']:.2f} at the start"
    tf32 = ", torch's layers may multiply in TF32" if header["tf32"] else ""
    return (
        f"orthornn {header['orthornn']} ({header['code']}), torch {header['torch']}, "
        f"Python {header['python']}, {header['date'][:16].replace('T', ' ')}\n"
        f"{header['device']}: {header['device_name']}, {header['threads']} thread(s), "
        f"{header['cores']} cores{busy}{tf32}; "
        f"median of {header['repeats']} [least, most]"
    )


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
