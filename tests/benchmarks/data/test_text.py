from pathlib import Path

import pytest
import torch

from benchmarks.data import text
from benchmarks.data.corpora import load_corpus
from benchmarks.data.download import DataError
from benchmarks.data.text import decode, encode

VERSE = "the cat sat on the mat\n\nand the dog sat too\n" * 20


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def whole(corpus):
    return decode(torch.cat(corpus[3:]), corpus.vocabulary, corpus.level)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbfabcd" * 1 + b"e" * 36, "abcd" + "e" * 36),
        (b"ab\r\ncd\r\n" * 20, "ab\ncd\n" * 20),
        (b"ab\rcd\r" * 20, "ab\ncd\n" * 20),
        ("naïve \U0001f600 Ωx".encode() * 10, "naïve \U0001f600 Ωx" * 10),
        (b"one line and no end of it, but long enough", None),
    ],
    ids=["byte order mark", "CRLF", "CR", "any script", "one line"],
)
def test_text_is_read_clean(content, expected, tmp_path):
    path = written(tmp_path / "text", content)
    assert whole(load_corpus(path=path, least=1)) == (expected or content.decode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"abcd\xff\xfe", r"must be UTF-8 text, got 0xff at byte 4 \(invalid start byte\)"),
        (b"\xef\xbb\xbfab\xe9", "got 0xe9 at byte 5"),
        (b"GIF\0\0\xff", "must be UTF-8 text, got a binary file: byte 3 is zero"),
        ("abcdef".encode("utf-16"), "must be UTF-8 text, got a binary file"),
        (b"a" * 30, "the validation split of text must have at least 2 characters, got 1$"),
    ],
)
def test_unreadable_file_is_named(content, message, tmp_path):
    with pytest.raises(DataError, match=message) as refusal:
        load_corpus(path=written(tmp_path / "text", content))
    assert "text" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_file_that_cannot_be_opened_is_refused(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    path = written(tmp_path / "text", VERSE)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"path .*text cannot be read: Permission denied"):
        load_corpus(path=path)


def test_too_many_characters_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "MAX_VOCABULARY", 50)
    path = written(tmp_path / "text", "".join(chr(0x4E00 + k) for k in range(51)))
    with pytest.raises(DataError, match="may have 50 different characters, got 51"):
        load_corpus(path=path)


def test_vocabulary_keeps_the_most_frequent_words(tmp_path):
    path = written(tmp_path / "verse", VERSE)
    corpus = load_corpus(path=path, level="word", vocabulary=5)
    assert corpus.vocabulary == ("<unk>", "<eos>", "the", "sat", "and")
    assert decode(corpus.training[:8], corpus.vocabulary, "word") == (
        "the <unk> sat <unk> the <unk>\n\n"
    )


def test_words_default_to_10000(tmp_path):
    path = written(tmp_path / "text", " ".join(f"w{k}" for k in range(20_000)))
    assert len(load_corpus(path=path, level="word").vocabulary) == 10_000


@pytest.mark.parametrize(
    ("level", "sentence"),
    [
        ("character", "  two  spaces, Ω and \U0001f600\n\n"),
        ("character", ""),
        ("word", "the cat\n\n\nsat on the mat"),
        ("word", "\nthe cat\n"),
        ("word", ""),
    ],
)
def test_decoding_inverts_encoding(level, sentence):
    symbols = tuple(sorted(set(sentence)))
    if level == "word":
        symbols = ("<unk>", "<eos>", *sorted(set(sentence.split())))
    tokens = encode(sentence, symbols, level)
    assert tokens.dtype == torch.int64
    assert tokens.dim() == 1
    assert decode(tokens, symbols, level) == sentence


def test_unknown_word_is_unk_and_unknown_character_is_refused():
    assert encode("a zebra", ("<unk>", "<eos>", "a"), "word").tolist() == [2, 0]
    message = r"characters must be among the 2 of the corpus, 'ab', got 'xz'"
    with pytest.raises(DataError, match=message):
        encode("zax", ("a", "b"), "character")


@pytest.mark.parametrize("tokens", [[0, -1], [2, 1]])
def test_tokens_outside_the_vocabulary_are_refused(tokens):
    with pytest.raises(DataError, match="tokens must be from 0 to 1, got"):
        decode(torch.tensor(tokens), ("a", "b"), "character")


@pytest.mark.parametrize("call", [encode, decode])
def test_coding_refuses_an_unknown_level(call):
    with pytest.raises(DataError, match=r"level must be one of .*, got 'byte'"):
        call("" if call is encode else torch.tensor([0]), ("a",), "byte")
