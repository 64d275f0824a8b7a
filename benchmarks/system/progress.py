"""What takes more than a few seconds says how far it is."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
BAR_DELAY_SECONDS = 3.0  # seconds without a word
SECONDS_BETWEEN_LINES = 10.0  # seconds between plain lines


def progress(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """The items; on a terminal with a bar while they last, elsewhere with a line now and then."""
    if sys.stderr.isatty():
        yield from tqdm(
            items, label, total, leave=False, delay=BAR_DELAY_SECONDS, dynamic_ncols=True
        )
        return
    began = said = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - said > SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            of = f" of {total}" if total else ""
            text = f"{label}: {number}{of} done in {said - began:.0f} s"
            with contextlib.suppress(OSError):  # whoever watched is gone
                print(text, file=sys.stderr, flush=True)
        yield item
