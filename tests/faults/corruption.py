"""Ways in which the bytes of a file are damaged."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

BLOCK = 512  # bytes
END = 200  # bytes, of the directory at the end of the archive
DIRECTORY = 6000  # bytes at the end, of the archive's directory


def _anywhere(data: bytearray, rng: Random) -> int:
    """A position: every second one of all, the others of the first and the last bytes."""
    size = len(data)
    start, end = rng.choice(
        [(0, size)] * 3 + [(0, BLOCK), (size - DIRECTORY, size), (size - END, size)]
    )
    return rng.randrange(max(0, start), min(end, size))


def _flip_bit(data: bytearray, rng: Random) -> bytes:
    data[_anywhere(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _change_byte(data: bytearray, rng: Random) -> bytes:
    data[_anywhere(data, rng)] ^= rng.randrange(1, 256)
    return bytes(data)


def _zero(data: bytearray, rng: Random) -> bytes:
    start = _anywhere(data, rng)
    end = min(start + BLOCK, len(data))
    data[start:end] = bytes(end - start)
    return bytes(data)


def _truncate(data: bytearray, rng: Random) -> bytes:
    return bytes(data[: _anywhere(data, rng)])


def _append(data: bytearray, rng: Random) -> bytes:
    return bytes(data) + rng.randbytes(rng.randrange(1, BLOCK))


def _swap(data: bytearray, rng: Random) -> bytes:
    a, b = sorted(
        (
            _anywhere(data, rng) // BLOCK * BLOCK,
            _anywhere(data, rng) // BLOCK * BLOCK,
        )
    )
    first, second = data[a : a + BLOCK], data[b : b + BLOCK]
    if a + BLOCK > b:
        return bytes(data)
    return bytes(data[:a] + second + data[a + BLOCK : b] + first + data[b + BLOCK :])


def _empty(data: bytearray, rng: Random) -> bytes:
    return b""


DAMAGES: dict[str, Callable[[bytearray, Random], bytes]] = {
    "a flipped bit": _flip_bit,
    "a changed byte": _change_byte,
    "a zeroed block": _zero,
    "a cut end": _truncate,
    "appended bytes": _append,
    "two swapped blocks": _swap,
    "an empty file": _empty,
}
WEIGHTS = (40, 15, 12, 12, 8, 12, 1)


def damage(data: bytes, rng: Random) -> tuple[str, bytes]:
    """Bytes that differ from ``data``, and in what way."""
    while True:
        (kind,) = rng.choices(list(DAMAGES), WEIGHTS)
        changed = DAMAGES[kind](bytearray(data), rng)
        if changed != data:
            return kind, changed
