"""Checkpoints with damaged bytes: none is loaded in silence, and the one before takes over."""

from __future__ import annotations

import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.records.files import BEST, CHECKPOINT, METRICS
from benchmarks.runs import checkpoints
from tests.faults.bench import Bench, Case, Row
from tests.faults.left import Left, differences, left
from tests.faults.starting import PATIENCE, command, fork
from tests.faults.trials import FOLDER, PLAIN, whole

ENOUGH_STEPS = 60  # after which the run that is to go on is killed
SAMPLE = 0.01  # the share of damages after which a run goes on
COMMANDS = 2  # of these by the command itself
BLOCK = 512  # bytes
ENDS = 200  # bytes, of the directory at the end of the archive
DIRECTORY = 6000  # bytes at the end, of the archive's directory
PREVIOUS = "checkpoint-1.pt"


def _anywhere(data: bytearray, dice: Random) -> int:
    """A position: every second one of all, the others of the first and the last bytes."""
    size = len(data)
    start, end = dice.choice(
        [(0, size)] * 3 + [(0, BLOCK), (size - DIRECTORY, size), (size - ENDS, size)]
    )
    return dice.randrange(max(0, start), min(end, size))


def _flip_bit(data: bytearray, dice: Random) -> bytes:
    data[_anywhere(data, dice)] ^= 1 << dice.randrange(8)
    return bytes(data)


def _change_byte(data: bytearray, dice: Random) -> bytes:
    data[_anywhere(data, dice)] ^= dice.randrange(1, 256)
    return bytes(data)


def _zero(data: bytearray, dice: Random) -> bytes:
    start = _anywhere(data, dice)
    end = min(start + BLOCK, len(data))
    data[start:end] = bytes(end - start)
    return bytes(data)


def _truncate(data: bytearray, dice: Random) -> bytes:
    return bytes(data[: _anywhere(data, dice)])


def _append(data: bytearray, dice: Random) -> bytes:
    return bytes(data) + dice.randbytes(dice.randrange(1, BLOCK))


def _swap(data: bytearray, dice: Random) -> bytes:
    a, b = sorted((_anywhere(data, dice) // BLOCK * BLOCK, _anywhere(data, dice) // BLOCK * BLOCK))
    first, second = data[a : a + BLOCK], data[b : b + BLOCK]
    if a + BLOCK > b:
        return bytes(data)
    return bytes(data[:a] + second + data[a + BLOCK : b] + first + data[b + BLOCK :])


def _empty(data: bytearray, dice: Random) -> bytes:
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


def damaged(data: bytes, dice: Random) -> tuple[str, bytes]:
    """Bytes that differ from ``data``, and in what way."""
    while True:
        (kind,) = dice.choices(list(DAMAGES), WEIGHTS)
        changed = DAMAGES[kind](bytearray(data), dice)
        if changed != data:
            return kind, changed


def measure(bench: Bench, times: int) -> None:
    """Damage both files of weights so often, and let runs go on from some of the damages."""
    sample = max(1, round(SAMPLE * times))
    with bench.row("checkpoint.load of a damaged file", times) as row:
        with bench.case(row, "damage") as case:
            expected = whole(case, PLAIN)
            for k in range(times):
                name = (CHECKPOINT, BEST)[k % 2]
                _load(bench, case, case.call / FOLDER / name)
                bench.tick()
            silent = len(case.broken)
        row.came = f"{silent} not refused"
    with bench.row("runs that go on past a damaged checkpoint", sample) as row:
        same = Counter(_go_on(bench, row, expected, k) for k in range(sample))
        row.came = f"{same[True]} of {sample} with a warning and bit-identical"
    with bench.row("runs whose checkpoints are all damaged", 1) as row:
        _nothing_left(bench, row)


def _load(bench: Bench, case: Case, path: Path) -> None:
    """See that a damaged copy of a file is refused, or read as the whole file."""
    kind, data = damaged(path.read_bytes(), bench.dice)
    copy = case.folder / f"{len(case.broken)}-{path.name}"
    copy.write_bytes(data)
    try:
        loaded = checkpoints.read_file(copy)
    except zipfile.BadZipFile:
        copy.unlink()
    except Exception as error:
        case.expect(False, f"{kind}: {copy.name} raises {type(error).__name__}, not BadZipFile")
    else:
        same = not differences(loaded, checkpoints.read_file(path))
        case.expect(same, f"{kind}: {copy.name} is loaded in silence")


def damage_for_good(path: Path, dice: Random) -> str:
    """Damage a file so that it cannot be read as it was; returns in what way."""
    whole = path.read_bytes()
    while True:
        kind, data = damaged(whole, dice)
        path.write_bytes(data)
        try:
            checkpoints.read_file(path)
        except zipfile.BadZipFile:
            return kind


def stopped(case: Case) -> Path:
    """The folder of a run that was killed when it had checkpoints."""
    folder = case.call / FOLDER
    started = fork(PLAIN.name, PLAIN.arguments(), case.call)
    until = time.monotonic() + PATIENCE
    rows = folder / METRICS
    while not (rows.exists() and rows.read_bytes().count(b"\n") > ENOUGH_STEPS):
        if started.wait(0.01) is not None or time.monotonic() > until:
            raise RuntimeError(f"a run ended too early: {started.err.read_text(encoding='utf-8')}")
    started.kill()
    return folder


def _go_on(bench: Bench, row: Row, expected: Left, number: int) -> bool:
    """Damage the newest checkpoint of a stopped run, in turn the best weights too; go on."""
    with bench.case(row, "go-on") as case:
        folder = stopped(case)
        names = [CHECKPOINT, *([BEST] if number % 2 else [])]
        for name in names:
            kind = damage_for_good(folder / name, bench.dice)
        start = command if number < COMMANDS else fork
        ended = start(PLAIN.name, PLAIN.arguments(), case.call).end()
        if not case.expect(
            ended.code == 0, f"{kind}: exit code {ended.code}, {ended.err[-300:]!r}"
        ):
            return False
        lines = ended.err.splitlines()
        warned = [line for line in lines if CHECKPOINT in line and PREVIOUS in line]
        case.expect(len(warned) == 1, f"{kind}: no one line names both files: {lines[:3]}")
        case.expect("from step 0" not in ended.out, "the run began anew")
        case.expect("from step" in ended.out, "the run does not say from where it goes on")
        for wrong in differences(expected, left(folder))[:3]:
            case.expect(False, f"{kind}: the run is another: {wrong}")
        return not case.broken


def _nothing_left(bench: Bench, row: Row) -> None:
    """See that a run without a sound checkpoint is refused, and stays as it is."""
    with bench.case(row, "nothing-left") as case:
        folder = stopped(case)
        for path in folder.glob("checkpoint*.pt"):
            damage_for_good(path, bench.dice)
        before = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix == ".pt"}
        ended = fork(PLAIN.name, PLAIN.arguments(), case.call).end()
        lines = ended.err.strip().splitlines()
        case.expect(ended.code == 2, f"exit code {ended.code}, expected 2")
        case.expect(lines and lines[-1].startswith("error: "), f"no line of error: {lines[-3:]}")
        after = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix == ".pt"}
        case.expect(before == after, "the files of weights are not as they were")
        row.came = "refused" if not case.broken else "not refused"
    bench.tick()
