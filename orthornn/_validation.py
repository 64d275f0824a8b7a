"""Checks of options, each with the error that names what was expected, what came, the choices."""

from __future__ import annotations

from collections.abc import Collection
from types import NoneType

from torch import Tensor

MAX_REPR_CHARS = 80


def short_repr(value: object) -> str:
    """``repr(value)`` in one line, cut where it is long; a tensor by its shape and dtype."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= MAX_REPR_CHARS else f"{text[:MAX_REPR_CHARS]}..."


def check_choice(name: str, value: object, choices: Collection[str | None]) -> None:
    """Refuse an option that is not one of the choices.

    Raises:
        ValueError: naming the option, the choices and the value.
    """
    if not isinstance(value, (str, NoneType)) or value not in choices:
        listed = sorted(choices, key=lambda choice: choice or "")
        raise ValueError(f"{name} must be one of {listed}, got {short_repr(value)}")


def check_type(kind: type, **options: object) -> None:
    """Refuse options of another type, a bool for an int among them, as ``torch.nn.RNN`` does.

    Raises:
        TypeError: naming the option, the type and that of the value.
    """
    for name, value in options.items():
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            got = type(value).__name__
            raise TypeError(f"{name} should be of type {kind.__name__}, got: {got}")


def check_ranges(dropout: float = 0.0, **sizes: int) -> None:
    """Refuse sizes and a dropout out of range, with the value that ``torch.nn.RNN`` leaves out.

    Values of another type are left to torch's own checks.

    Raises:
        ValueError: naming the option and its value.
    """
    for name, size in sizes.items():
        if isinstance(size, int) and size <= 0:
            raise ValueError(f"{name} must be greater than zero, got {size}")
    if isinstance(dropout, (int, float)) and not 0 <= dropout <= 1:
        raise ValueError(
            f"dropout should be a number in range [0, 1] representing the probability of an "
            f"element being zeroed, got {short_repr(dropout)}"
        )
