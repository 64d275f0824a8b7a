"""What a finished run has left, less what is about time, and where two of them differ."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from benchmarks.records.files import BEST, CHECKPOINT, METADATA, METRICS
from benchmarks.runs import checkpoints

RunOutput = dict[str, Any]
FILES_WITH_TIMES = (METRICS, METADATA, CHECKPOINT, ".lock")


def read_output(folder: Path) -> RunOutput:
    """Weights, best weights, states, records, looks, scores, and the bytes of all other files.

    Which checkpoints before the newest are kept depends on where a run was stopped: they are read,
    and not compared.
    """
    about = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    text = (folder / METRICS).read_text(encoding="utf-8")
    state = checkpoints.read_file(folder / CHECKPOINT)["state"]
    files: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.name in FILES_WITH_TIMES or path.is_dir():  # an attempt set aside is no part of it
            continue
        if path.suffix != ".pt":
            files[path.name] = path.read_bytes()
        elif path.name == BEST:
            files[path.name] = checkpoints.read_file(path)
        else:
            checkpoints.read_file(path)
    return {
        "status": (about["status"], about["error"]),
        "test": about["test"],
        "rows": [_timeless(json.loads(line)) for line in text.splitlines()],
        "whole last row": text.endswith("\n"),
        "state": _timeless(state),
        "files": files,
    }


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Where two such results differ, bit for bit."""
    if type(a) is not type(b):
        return [f"{where}: {type(a).__name__} and {type(b).__name__}"]
    if isinstance(a, dict):
        keys = [key for key in a if key in b]
        lost = [f"{where}.{key} is missing" for key in a if key not in b]
        more = [f"{where}.{key} is one too many" for key in b if key not in a]
        return (
            lost + more + [d for key in keys for d in differences(a[key], b[key], f"{where}.{key}")]
        )
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return [f"{where} has {len(a)} and {len(b)} entries"]
        pairs = enumerate(zip(a, b, strict=True))
        return [d for k, (x, y) in pairs for d in differences(x, y, f"{where}[{k}]")]
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and _bits(a) == _bits(b)
    else:
        same = a == b or (_is_nan(a) and _is_nan(b))
    return [] if same else [f"{where} differs"]


def _bits(x: torch.Tensor) -> bytes:
    return x.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def _is_nan(x: Any) -> bool:
    return isinstance(x, float) and math.isnan(x)


def _timeless(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "seconds"}
