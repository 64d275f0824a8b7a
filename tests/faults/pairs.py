"""The same run started twice at once: one proceeds, the other is refused, and nothing is spoilt."""

from __future__ import annotations

import time

from tests.faults.bench import Bench, Row
from tests.faults.left import Left, differences, left
from tests.faults.starting import PATIENCE, Ended, Started, command, fork
from tests.faults.trials import FOLDER, PLAIN, refused, whole

COMMANDS = 0.04  # the share of pairs of the command itself
LONGER = "train.steps=200"  # that the first is at it when the second comes
AT_ONCE = 3.0  # seconds for a refusal by a fork, on a machine that does other work too


def measure(bench: Bench, times: int) -> None:
    """Start so many pairs."""
    with bench.row("pairs of simultaneous starts", times) as row:
        with bench.case(row, "whole-pairs") as case:
            expected = whole(case, PLAIN, LONGER)
        slowest = 0.0
        one = 0
        for k in range(times):
            of_command = k < COMMANDS * times
            seconds, proceeded = _pair(bench, row, expected, of_command)
            one += proceeded == 1
            slowest = max(slowest, 0.0 if of_command else seconds)
            bench.tick()
        row.came = f"exactly one proceeded in {one}; the other was refused within {slowest:.1f} s"


def _pair(bench: Bench, row: Row, expected: Left, of_command: bool) -> tuple[float, int]:
    """How long the slower refusal took, and how many of the two proceeded."""
    start = command if of_command else fork
    with bench.case(row, "pair") as case:
        both = [start(PLAIN.name, PLAIN.arguments(LONGER), case.call) for _ in range(2)]
        ends = ending(both)
        codes = sorted(str(ended.code) for ended in ends)
        case.expect(codes == ["0", "2"], f"exit codes {codes}, expected 0 and 2")
        seconds = 0.0
        for ended in ends:
            if ended.code == 0:
                continue
            wrong = refused(ended, ["is being written by process"], codes=[2])
            if len(ended.err.strip().splitlines()) != 1:
                wrong.append(f"not one line: {ended.err[-300:]!r}")
            for told in wrong:
                case.expect(False, f"the other: {told}")
            seconds = max(seconds, ended.seconds)
            within = of_command or ended.seconds < AT_ONCE
            case.expect(within, f"refused after {ended.seconds:.1f} s")
        if "0" in codes:
            for told in differences(expected, left(case.call / FOLDER))[:3]:
                case.expect(False, f"what the first left is another: {told}")
    return seconds, codes.count("0")


def ending(several: list[Started]) -> list[Ended]:
    """How each of several processes ends, with its own time."""
    took: dict[int, float] = {}
    until = time.monotonic() + PATIENCE
    while len(took) < len(several) and time.monotonic() < until:
        for started in several:
            if started.pid not in took and started.wait(0.01) is not None:
                took[started.pid] = time.monotonic() - started.began
    return [started.end(0)._replace(seconds=took.get(started.pid, PATIENCE)) for started in several]
