"""How a value that is refused is named in the error: in one line, however large it is."""

from __future__ import annotations

from torch import Tensor

LONGEST = 80


def named(value: object) -> str:
    """``repr(value)``, cut where it is long; a tensor by its shape and dtype."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
