"""Texts that are none are refused with file and reason; unusual ones run; all data are fixed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.harness import check_refusal
from tests.faults.runs import FOLDER, Run

pytestmark = pytest.mark.slow

PROSE = "The cat sat on the mat, and the dog sat too.\n" * 120
SMALL_RUN = Run(
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
HASH_SEEDS = ("0", "4711")  # of strings, by which sets are ordered


class RefusedText(NamedTuple):
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


REFUSED_TEXTS: dict[str, RefusedText] = {
    "empty": RefusedText(_write("text.txt", ""), "text.txt", ("text.txt", "empty")),
    "binary": RefusedText(
        _write("text.txt", PROSE.encode() + b"\0\1"), "text.txt", ("text.txt", "binary")
    ),
    "not UTF-8": RefusedText(
        _write("text.txt", PROSE.encode() + b"\xe9t\xe9"), "text.txt", ("text.txt", "UTF-8", "0xe9")
    ),
    "UTF-16": RefusedText(
        _write("text.txt", PROSE.encode("utf-16")), "text.txt", ("text.txt", "UTF-8 text")
    ),
    "too short": RefusedText(_write("text.txt", "Cat.\n"), "text.txt", ("text.txt", "at least")),
    "missing": RefusedText(lambda folder: None, "text.txt", ("text.txt", "does not exist")),
    "a folder without splits": RefusedText(
        _splits("a.txt", "b.txt"), "texts", ("texts", "no file", "training")
    ),
    "two files of one split": RefusedText(
        _splits("train.txt", "train.old.txt", "valid.txt", "test.txt"),
        "texts",
        ("texts", "several files", "train.old.txt"),
    ),
    "a folder in place of a split": RefusedText(
        _splits("train.txt", "test.txt", folders=("valid.txt",)),
        "texts",
        ("texts", "no file", "validation"),
    ),
    "white space for a path": RefusedText(lambda folder: None, "'  '", ("path", "empty")),
    "a link to itself": RefusedText(_locked_away, "loop.txt", ("loop.txt",)),
    "a pipe": RefusedText(lambda folder: os.mkfifo(folder / "pipe"), "pipe", ("pipe", "neither")),
}
UNUSUAL_TEXTS: dict[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbf" + PROSE.encode(),
    "CRLF": PROSE.replace("\n", "\r\n").encode(),
    "CR alone": PROSE.replace("\n", "\r").encode(),
    "emoji": (PROSE + "🙂👩‍👩‍👧🏳️‍🌈\n" * 20).encode(),
    "one line of 180 kB": (PROSE.replace("\n", " ") * 34)[:180_000].encode(),
}


@pytest.mark.parametrize("kind", REFUSED_TEXTS)
def test_what_is_no_text_is_refused_with_file_and_reason_and_nothing_is_written(kind, tmp_path):
    text, folder = REFUSED_TEXTS[kind], tmp_path / "call"
    folder.mkdir()
    text.write(folder)
    before = sorted(folder.rglob("*"))
    ended = SMALL_RUN.start(folder, f"data.path={text.path}").end()
    check_refusal(ended, text.words, codes=[2])
    assert len(ended.err.strip().splitlines()) == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("kind", UNUSUAL_TEXTS)
def test_an_unusual_text_is_trained_on(kind, tmp_path):
    (tmp_path / "call").mkdir()
    (tmp_path / "call" / "text.txt").write_bytes(UNUSUAL_TEXTS[kind])
    ended = SMALL_RUN.start(tmp_path / "call", "data.path=text.txt").end()
    assert ended.code == 0, ended.err
    assert (tmp_path / "call" / FOLDER / "best.pt").exists()


def test_data_are_the_same_whatever_the_hashes_of_strings_are(tmp_path, outcome):
    (tmp_path / "text.txt").write_text(PROSE + "🙂\n", encoding="utf-8")
    hashes = {
        subprocess.run(
            [sys.executable, "-m", "tests.faults.data_hash", "text.txt"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in HASH_SEEDS
    }
    assert len(hashes) == 1
    outcome(f"hash {hashes.pop()[:8]}")
