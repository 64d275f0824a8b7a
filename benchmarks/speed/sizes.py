"""At which sizes layers are compared, and how a size is written on the command line."""

from __future__ import annotations

import argparse
import re
from typing import NamedTuple


class Size(NamedTuple):
    """Time, batch, input and hidden size of one comparison."""

    T: int
    B: int
    I: int
    H: int

    def __str__(self) -> str:
        return ", ".join(f"{letter} = {value}" for letter, value in self._asdict().items())


LAYER_SIZES = (
    Size(200, 50, 10, 128),
    Size(200, 128, 10, 128),
    Size(1000, 128, 10, 190),
    Size(200, 128, 10, 512),
    Size(150, 128, 10, 1024),
)
PACKED_SIZES = (Size(30, 16, 10, 32), Size(300, 64, 10, 64), Size(500, 128, 10, 128))
TINY_SIZE = Size(5, 2, 3, 4)


def parse_size(text: str) -> Size:
    """The size that ``"1000,128,10,190"`` means.

    Raises:
        argparse.ArgumentTypeError: for any other text.
    """
    numbers = text.split(",")
    if len(numbers) != len(Size._fields) or not all(
        re.fullmatch("0*[1-9][0-9]*", n) for n in numbers
    ):
        raise argparse.ArgumentTypeError(
            f"a size is {','.join(Size._fields)}, four whole numbers from 1 up such as "
            f"1000,128,10,190, got {text!r}"
        )
    return Size(*map(int, numbers))
