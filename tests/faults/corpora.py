"""Texts that are none are refused with file and reason; unusual ones run; all data are fixed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.faults.bench import Bench, Row
from tests.faults.starting import command, fork
from tests.faults.trials import FOLDER, Trial, refused

PROSE = "The cat sat on the mat, and the dog sat too.\n" * 120
SMALL = Trial(
    "language",
    (
        *(
            "task.window=5",
            "parameter_budget=null",
            "model.hidden_size=8",
            "network.embedding_size=4",
        ),
        *(
            "train.epochs=null",
            "train.steps=3",
            "train.batch_size=4",
            "train.gradient_flow_every=null",
        ),
        "train.evaluation_batches=2",
    ),
)
SEEDS = ("0", "4711")  # of the hashes of strings, by which sets are ordered


class Bad(NamedTuple):
    """A text that is to be refused.

    Attributes:
        write: makes it in a folder.
        path: as the command line gives it.
        words: the file and the reason, as the refusal has to name them.
    """

    write: Callable[[Path], object]
    path: str
    words: tuple[str, ...]


def _write(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def _splits(*names: str, folders: tuple[str, ...] = ()) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "texts").mkdir()
        for name in names:
            (folder / "texts" / name).write_text(PROSE, encoding="utf-8")
        for name in folders:
            (folder / "texts" / name).mkdir()

    return write


def _locked_away(folder: Path) -> None:
    """A file that cannot be read, by root neither."""
    (folder / "loop.txt").symlink_to("loop.txt")


BAD: dict[str, Bad] = {
    "empty": Bad(_write("text.txt", ""), "text.txt", ("text.txt", "empty")),
    "binary": Bad(_write("text.txt", PROSE.encode() + b"\0\1"), "text.txt", ("text.txt", "binary")),
    "not UTF-8": Bad(
        _write("text.txt", PROSE.encode() + b"\xe9t\xe9"), "text.txt", ("text.txt", "UTF-8", "0xe9")
    ),
    "UTF-16": Bad(
        _write("text.txt", PROSE.encode("utf-16")), "text.txt", ("text.txt", "UTF-8 text")
    ),
    "too short": Bad(_write("text.txt", "Cat.\n"), "text.txt", ("text.txt", "at least")),
    "missing": Bad(lambda folder: None, "text.txt", ("text.txt", "does not exist")),
    "a folder without splits": Bad(
        _splits("a.txt", "b.txt"), "texts", ("texts", "no file", "training")
    ),
    "two files of one split": Bad(
        _splits("train.txt", "train.old.txt", "valid.txt", "test.txt"),
        "texts",
        ("texts", "several files", "train.old.txt"),
    ),
    "a folder in place of a split": Bad(
        _splits("train.txt", "test.txt", folders=("valid.txt",)),
        "texts",
        ("texts", "no file", "validation"),
    ),
    "white space for a path": Bad(lambda folder: None, "'  '", ("path", "empty")),
    "a link to itself": Bad(_locked_away, "loop.txt", ("loop.txt",)),
    "a pipe": Bad(lambda folder: os.mkfifo(folder / "pipe"), "pipe", ("pipe", "neither")),
}
GOOD: dict[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbf" + PROSE.encode(),
    "CRLF": PROSE.replace("\n", "\r\n").encode(),
    "CR alone": PROSE.replace("\n", "\r").encode(),
    "emoji": (PROSE + "🙂👩‍👩‍👧🏳️‍🌈\n" * 20).encode(),
    "one line of 180 kB": (PROSE.replace("\n", " ") * 34)[:180_000].encode(),
}


def measure(bench: Bench, times: int) -> None:
    """Run the table of texts (``times`` of the bad ones), and hash all data twice."""
    chosen = list(BAD)[:times]
    with bench.row("bad corpora", len(chosen)) as row:
        refusals = sum(_bad(bench, row, name) for name in chosen)
        row.came = f"{refusals} refused with file and reason"
    with bench.row("good corpora", len(GOOD)) as row:
        row.came = f"{sum(_good(bench, row, name) for name in GOOD)} ran"
    with bench.row("hashes of all data, by PYTHONHASHSEED", len(SEEDS)) as row:
        _hash(bench, row)


def _bad(bench: Bench, row: Row, name: str) -> bool:
    with bench.case(row, "bad-corpus") as case:
        BAD[name].write(case.call)
        before = sorted(case.call.rglob("*"))
        arguments = SMALL.arguments(f"data.path={BAD[name].path}")
        ended = fork(SMALL.name, arguments, case.call).end(20)
        wrong = refused(ended, BAD[name].words, codes=[2])
        if len(ended.err.strip().splitlines()) > 1:
            wrong.append(f"more than a line: {ended.err[-300:]!r}")
        if sorted(case.call.rglob("*")) != before:
            wrong.append("something was written")
        for told in wrong:
            case.expect(False, f"{name}: {told}")
        bench.tick()
        return not wrong


def _good(bench: Bench, row: Row, name: str) -> bool:
    with bench.case(row, "good-corpus") as case:
        (case.call / "text.txt").write_bytes(GOOD[name])
        ended = fork(SMALL.name, SMALL.arguments("data.path=text.txt"), case.call).end()
        case.expect(ended.code == 0, f"{name}: exit code {ended.code}, {ended.err[-300:]!r}")
        there = (case.call / FOLDER / "best.pt").exists()
        case.expect(there, f"{name}: the run has left no weights")
        bench.tick()
        return not case.broken


def _hash(bench: Bench, row: Row) -> None:
    """The data of every benchmark are the same whatever the hashes of strings are."""
    found = []
    with bench.case(row, "hash") as case:
        (case.call / "text.txt").write_text(PROSE + "🙂\n", encoding="utf-8")
        both = [command("faults.data_hash", ["text.txt"], case.call, seed) for seed in SEEDS]
        for started in both:
            ended = started.end()
            case.expect(ended.code == 0, f"the hash failed: {ended.err[-300:]!r}")
            found.append(ended.out.strip())
            bench.tick()
        case.expect(len(set(found)) == 1 and found[0], f"different data: {found}")
    row.came = f"{len(set(found))} hash: {found[0][:8]}" if found else "none"
