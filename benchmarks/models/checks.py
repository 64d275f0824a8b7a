"""Refusals of options that are not of their type or out of their range."""

from __future__ import annotations

import math
from typing import Any

MAX_MAGNITUDE = 1e30  # more is none in float32, or not for long


def check_number(
    name: str, value: Any, least: float, most: float = math.inf, above: bool = False
) -> None:
    """Refuse what is no finite number from ``least`` to ``most``, or not ``above`` the least."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not least <= value <= most or not math.isfinite(value) or (above and value == least):
        limits = f"{'>' if above else '>='} {least}"
        if most != math.inf:
            limits = f"{limits} and <= {most}" if above else f"from {least} to {most}"
        raise ValueError(f"{name} must be a finite number {limits}, got {value}")


def check_bool(name: str, value: Any) -> None:
    """Refuse what is only like true or false, such as 0 or "no"."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be true or false, got {value!r}")


def check_one_layer(num_layers: int, bidirectional: bool, dropout: float) -> None:
    """Refuse several layers or directions, and a dropout that is no share; it has no place here."""
    if num_layers != 1:
        raise ValueError(f"network.num_layers must be 1 for this model, got {num_layers}")
    if bidirectional:
        raise ValueError("network.bidirectional must be false for this model, got true")
    check_number("dropout", dropout, 0, 1)
