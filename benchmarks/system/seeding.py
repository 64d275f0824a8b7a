"""The global random generators of Python, NumPy and torch, as plain data."""

from __future__ import annotations

import hashlib
import random
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator

TorchRngStates = dict[str, torch.Tensor]


def seed_all(number: int) -> None:
    """Let all of them start from the same number, on every device."""
    torch.manual_seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002
    random.seed(number)


def torch_rng_states(device: torch.device) -> TorchRngStates:
    """The states of torch's global generators, of the CPU and of a GPU in use."""
    states = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def rng_states(device: torch.device) -> dict[str, Any]:
    """All states, as :func:`restore` takes them; loadable with ``weights_only=True``."""
    name, key, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        **torch_rng_states(device),
        "numpy": (name, np.asarray(key).tolist(), *rest),
        "python": random.getstate(),
    }


def restore_rng_states(saved: dict[str, Any], device: torch.device) -> None:
    """Set the generators of which there is a state."""
    torch.set_rng_state(saved["torch"])
    if "cuda" in saved and device.type == "cuda":
        torch.cuda.set_rng_state(saved["cuda"], device)
    if "numpy" in saved:
        np.random.set_state(saved["numpy"])  # noqa: NPY002
    if "python" in saved:
        random.setstate(saved["python"])


Split = Literal["validation", "test"]


def named_generator(seed: int, purpose: str) -> Generator:
    """A generator whose numbers depend on the seed and on what they are for, and on nothing else.

    Training, initialisation and each held-out set draw from streams of their own.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:7], "big"))
