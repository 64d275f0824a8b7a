"""How long a name may be at W&B."""

from __future__ import annotations

NAME, TAG = 128, 64  # characters that the server takes
ENDING = 40  # characters of a long name that are kept at its end, where the fingerprint is


def shorten(text: str, most: int) -> str:
    """``text`` in at most ``most`` characters: its middle is left out, its end is kept."""
    if len(text) <= most:
        return text
    ending = text[-min(ENDING, most // 2) :]
    return f"{text[: most - len(ending) - 1]}…{ending}"
