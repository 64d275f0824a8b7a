"""Random streams that depend on a seed and a purpose, and the names of the held-out sets."""

from __future__ import annotations

import hashlib
from typing import Literal

from torch import Generator

Split = Literal["validation", "test"]


def stream(seed: int, purpose: str) -> Generator:
    """A generator whose numbers depend on the seed and on what they are for, and on nothing else.

    Training, initialisation and each held-out set draw from streams of their own.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:7], "big"))
