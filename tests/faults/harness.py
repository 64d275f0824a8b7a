"""How often each fault is tried, and what a failure has to look like."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.processes import Ended

# an option of pytest: how often, and what is done so often
TIMES = {
    "kills": (12, "kill -9 of runs at random moments"),
    "damages": (100, "damages to checkpoints"),
    "full-disks": (4, "runs on disks that fill up"),
    "concurrent": (2, "pairs of simultaneous starts of one run"),
}


def check_refusal(ended: Ended, words: Sequence[str] = (), codes: Sequence[int] = (1, 2)) -> None:
    """Assert that a process failed with one line on stderr that names ``words``.

    Lines of progress and a warning may come before it.
    """
    lines = ended.err.strip().splitlines() or [""]
    assert ended.code in codes, ended
    assert "Traceback" not in ended.err
    assert lines[-1].startswith("error: "), ended
    assert len({line for line in lines if line.startswith("error")}) == 1, lines
    for word in words:
        assert word in lines[-1]
