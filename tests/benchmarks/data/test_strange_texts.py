"""Texts of all kinds under ``data.path``: trained on, or refused with the file and the reason."""

import pytest

from benchmarks.data import corpora
from tests.benchmarks.commandline import TINY, load

VERSE = "the cat sat on the mat\n" * 40
REFUSED = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\t\r\n" * 50, "is blank"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "is empty"),
    "binary": (b"\x7fELF\x00\x01" * 50, "binary file: byte 4 is zero"),
    "UTF-16": (VERSE.encode("utf-16"), "must be UTF-8 text"),
    "Latin-1": (("né à Angoulême\n" * 40).encode("latin-1"), "got 0xe9 at byte 1"),
    "cut within a character": (VERSE.encode() + "é".encode()[:1], "at byte 920"),
    "a surrogate": (VERSE.encode() + b"\xed\xa0\x80", "must be UTF-8 text"),
    "too short": (b"a cat", "must have at least 2 characters"),
    "a zero in a text": (VERSE.encode() + b"\0", "binary file: byte 920 is zero"),
}
RUN = {
    "a byte order mark": b"\xef\xbb\xbf" + VERSE.encode(),
    "CRLF": VERSE.replace("\n", "\r\n").encode(),
    "CR": VERSE.replace("\n", "\r").encode(),
    "emoji": ("the 🐈 sat 👩‍👩‍👧 on 🇩🇪\n" * 40).encode(),
    "one line": b"the cat sat on the mat " * 8_000,
    "one symbol": b"a" * 2_000,
    "strange white space": ("a\u2028b\x0b\x0c\x1c\x85c\n" * 100).encode(),
}


@pytest.fixture
def language(command, tmp_path, monkeypatch):
    """Run the language benchmark on a text of bytes, elsewhere than in the folder of the call."""

    def call(content, *overrides):
        (tmp_path / "texts").mkdir()
        (tmp_path / "texts" / "my text").write_bytes(content)
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        path = f"data.path='{tmp_path}/texts/my text'"
        return command(*TINY["language"], "logger=disabled", path, *overrides, name="language")

    return call


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_text_is_refused_with_the_file_and_the_reason(language, kind, capsys, tmp_path):
    content, told = REFUSED[kind]
    with pytest.raises(SystemExit) as stop:
        language(content)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert "my text" in line
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", RUN)
def test_a_strange_text_is_trained_on(language, kind):
    (folder,) = language(RUN[kind], "model=gru")
    assert load(folder)[0]["status"] == "finished"


def test_line_ends_and_byte_order_mark_make_no_difference(tmp_path):
    found = set()
    for kind in ("a byte order mark", "CRLF", "CR"):
        (tmp_path / "text").write_bytes(RUN[kind])
        corpus = corpora.load_corpus(path=str(tmp_path / "text"))
        found.add((corpus.title, corpus.vocabulary, tuple(corpus.training.tolist())))
    assert len(found) == 1


def test_a_path_that_cannot_be_looked_at_is_refused(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(corpora.Path, "is_dir", refuse)
    with pytest.raises(corpora.DataError, match=r"path .*text cannot be read: Permission denied"):
        corpora.load_corpus(path=str(tmp_path / "text"))


def test_a_text_that_is_far_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "MAX_TEXT_BYTES", 100)
    (tmp_path / "text").write_text("a" * 101)
    with pytest.raises(corpora.DataError, match="at most 100 bytes, got 101"):
        corpora.load_corpus(path=str(tmp_path / "text"))
