"""On what the numbers were measured: versions, processor, and how busy it was."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import torch

from benchmarks.system.environment import device_name, git_commit, load_average, timestamp
from benchmarks.system.threads import available_cores

from .table import SpeedPlan


def make_header(plan: SpeedPlan) -> dict[str, Any]:
    """What a reader has to know of the machine and of how it was measured."""
    return {
        "date": timestamp(),
        "orthornn": importlib.metadata.version("orthornn"),
        "code": git_commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": plan.device.type,
        "device_name": device_name(plan.device),
        "tf32": plan.device.type == "cuda" and torch.backends.cudnn.allow_tf32,
        "threads": plan.threads,
        "cores": available_cores(),
        "load": load_average(),
        "repeats": plan.repeats,
        "quick": plan.quick,
    }


def describe_header(header: dict[str, Any]) -> str:
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
