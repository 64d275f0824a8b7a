import hashlib
import os
import platform
import re
import zipfile
from pathlib import Path

import pytest
import torch

from benchmarks.data import corpora, download
from benchmarks.data.corpora import TEXTS, load_corpus
from benchmarks.data.download import FILES, DataError, RemoteFile
from benchmarks.data.text import decode

PTB = ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")
SPLITS = ("training", "validation", "test")
VERSE = "the cat sat on the mat\n\nand the dog sat too\n" * 20


def sizes(corpus):
    return tuple(len(getattr(corpus, split)) for split in SPLITS)


def whole(corpus):
    tokens = torch.cat([getattr(corpus, split) for split in SPLITS])
    return decode(tokens, corpus.vocabulary, corpus.level)


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.fixture
def by_hand(tmp_path, monkeypatch):
    """A cache whose files are placed by hand, with no way to the network."""
    monkeypatch.setenv("ORTHORNN_DATA", str(tmp_path))

    def place(name, content):
        (tmp_path / name).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(FILES, name, RemoteFile((), sha256, len(content)))

    return place


@pytest.fixture
def three(tmp_path):
    """A folder with a file for each split."""
    folder = tmp_path / "three"
    folder.mkdir()
    for name, content in (("train", "a b\nc d\n"), ("valid", "b a\n"), ("test", "e a\n")):
        (folder / f"{name}.txt").write_text(content)
    return folder


@pytest.mark.parametrize("level", ["character", "word"])
def test_pydoc_needs_nothing_and_splits_90_5_5(level, monkeypatch):
    def refuse(name):
        raise AssertionError(name)

    monkeypatch.setattr(corpora, "fetch", refuse)
    corpus = load_corpus(level=level)
    total = sum(sizes(corpus))
    assert sizes(corpus) == (
        total * 90 // 100,
        total * 95 // 100 - total * 90 // 100,
        total - total * 95 // 100,
    )
    assert total > {"character": 400_000, "word": 60_000}[level]
    assert all(getattr(corpus, split).dtype == torch.int64 for split in SPLITS)


def test_splits_are_disjoint_pieces_that_cover_the_text_in_order():
    from pydoc_data.topics import topics

    assert whole(load_corpus("pydoc")) == "\n".join(topics[key] for key in sorted(topics))


def test_title_names_the_interpreter_whose_text_it_is():
    corpus = load_corpus()
    version = ".".join(platform.python_version().split(".")[:2])
    assert corpus.title == f"pydoc characters (Python {version}, {sum(sizes(corpus)):,} characters)"
    assert load_corpus(level="word").title.startswith(f"pydoc words (Python {version}, ")


def test_python_without_pydoc_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match="lacks pydoc_data: give another name or a path"):
        load_corpus()


@pytest.mark.parametrize("level", ["character", "word"])
def test_same_call_gives_the_same_corpus(level):
    first, second = load_corpus(level=level), load_corpus("pydoc", level=level)
    assert first[:3] == second[:3]
    assert all(torch.equal(a, b) for a, b in zip(first[3:], second[3:], strict=True))


def small_ptb(by_hand):
    by_hand("ptb.train.txt", b" no it was n't <unk> \n pierre N \n")
    by_hand("ptb.valid.txt", b" no pierre \n")
    by_hand("ptb.test.txt", b" it was zz \n")


def test_ptb_characters_are_stripped_lines_with_underscores(by_hand):
    small_ptb(by_hand)
    corpus = load_corpus("ptb")
    shown = [decode(getattr(corpus, split), corpus.vocabulary, "character") for split in SPLITS]
    assert shown == ["no_it_was_n't_<unk>\npierre_N\n", "no_pierre\n", "it_was_zz\n"]
    assert sizes(corpus) == (20 + 9, 10, 10)
    assert corpus.vocabulary == tuple(sorted(set("".join(shown))))
    assert corpus.title == "PTB characters"


def test_ptb_words_end_each_line_once(by_hand):
    small_ptb(by_hand)
    corpus = load_corpus("ptb", level="word")
    assert sizes(corpus) == (9, 3, 4)
    assert corpus.vocabulary == ("<unk>", "<eos>", "N", "it", "n't", "no", "pierre", "was")
    shown = decode(corpus.test, corpus.vocabulary, "word")
    assert shown == "it was <unk>\n"


ptb_folder = Path(os.environ.get("ORTHORNN_DATA") or "absent")


@pytest.mark.skipif(
    not all((ptb_folder / name).is_file() for name in PTB),
    reason="ORTHORNN_DATA holds no PTB files",
)
@pytest.mark.parametrize(
    ("level", "types", "published"),
    [("character", 50, (5_017_482, 393_042, 442_423)), ("word", 10_000, (929_589, 73_760, 82_430))],
)
def test_ptb_has_the_published_counts(level, types, published):
    corpus = load_corpus("ptb", level=level)
    assert len(corpus.vocabulary) == types
    assert sizes(corpus) == published


def test_wikitext2_counts_blank_lines(by_hand, tmp_path):
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        for split, lines in (("train", " \n = Title = \n \n"), ("valid", " a \n"), ("test", "b\n")):
            archive.writestr(f"wikitext-2/wiki.{split}.tokens", lines)
    by_hand("wikitext-2-v1.zip", (tmp_path / "made.zip").read_bytes())
    corpus = load_corpus("wikitext2", level="word", least=1)
    assert sizes(corpus) == (6, 2, 2)
    assert corpus.vocabulary == ("<unk>", "<eos>", "=", "Title")
    assert corpus.title == "WikiText-2 words"


def test_wikitext2_keeps_its_33278_words(by_hand, tmp_path):
    content = " ".join(f"w{k}" for k in range(40_000))
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        for split in ("train", "valid", "test"):
            archive.writestr(f"wikitext-2/wiki.{split}.tokens", content)
    by_hand("wikitext-2-v1.zip", (tmp_path / "made.zip").read_bytes())
    assert len(load_corpus("wikitext2", level="word").vocabulary) == 33_278


@pytest.mark.parametrize("level", ["character", "word"])
def test_text8_and_tinyshakespeare_split_90_5_5(level, by_hand, tmp_path):
    content = " ".join(f"w{k % 7}" for k in range(200)) + "\n"
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr("text8", content)
    by_hand("text8.zip", (tmp_path / "made.zip").read_bytes())
    by_hand("tinyshakespeare.txt", content.encode())
    text8, shakespeare = (
        load_corpus("text8", level=level),
        load_corpus("tinyshakespeare", level=level),
    )
    assert sizes(text8) == sizes(shakespeare)
    assert sizes(text8) == {"character": (540, 30, 30), "word": (180, 10, 11)}[level]
    assert whole(text8) == content
    assert (text8.title, shakespeare.title) == (f"text8 {level}s", f"TinyShakespeare {level}s")


@pytest.mark.parametrize("name", ["ptb", "wikitext2", "text8", "tinyshakespeare"])
def test_text_that_cannot_be_had_says_how_to_place_it(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHORNN_DATA", str(tmp_path))
    for file, known in list(FILES.items()):
        monkeypatch.setitem(FILES, file, known._replace(urls=("http://127.0.0.1:1/file",)))
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", (1, 1))
    with pytest.raises(DataError, match=rf"place it by hand, save it .* as {tmp_path}/"):
        load_corpus(name)


@pytest.mark.parametrize("level", ["character", "word"])
def test_file_is_split_by_position(level, tmp_path):
    corpus = load_corpus(path=written(tmp_path / "verse.txt", VERSE), level=level)
    assert whole(corpus) == VERSE
    total = {"character": len(VERSE), "word": 14 * 20}[level]
    assert sizes(corpus) == (total * 90 // 100, total * 5 // 100, total * 5 // 100)
    assert corpus.title.startswith(f"verse.txt {level}s ({len(VERSE)} characters, sha256 ")
    other = load_corpus(path=written(tmp_path / "verse.txt", VERSE.upper()), level=level)
    assert other.title != corpus.title  # texts of one name are told apart


@pytest.mark.parametrize("path", ["", "  ", "/dev/zero"])
def test_what_is_no_file_is_refused(path):
    with pytest.raises(DataError, match="path must be a text file or a folder"):
        load_corpus(path=path)


def test_folder_gives_a_file_to_each_split(three):
    corpus = load_corpus(path=str(three))
    shown = [decode(getattr(corpus, split), corpus.vocabulary, "character") for split in SPLITS]
    assert shown == ["a b\nc d\n", "b a\n", "e a\n"]
    assert corpus.vocabulary == tuple("\n abcde")  # of all three splits
    assert re.fullmatch(r"three characters \(16 characters, sha256 [0-9a-f]{8}\)", corpus.title)


def test_words_are_those_of_the_training_split(three):
    corpus = load_corpus(path=str(three), level="word")
    assert corpus.vocabulary == ("<unk>", "<eos>", "a", "b", "c", "d")
    assert decode(corpus.test, corpus.vocabulary, "word") == "<unk> a\n"


@pytest.mark.parametrize(
    "names",
    [
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("my-training", "my-validation", "my-testing"),
        ("TRAIN.TXT", "val.txt", "test_1.txt"),
        ("train.txt", "dev.txt", "test.txt"),
    ],
)
def test_names_of_split_files(names, tmp_path):
    (tmp_path / "testimony.md").write_text("not a split: test is no word of its name")
    for k, name in enumerate(names):
        (tmp_path / name).write_text("abc"[k] * 5)
    corpus = load_corpus(path=str(tmp_path))
    assert [corpus.vocabulary[getattr(corpus, split)[0]] for split in SPLITS] == ["a", "b", "c"]


def test_missing_split_is_named_with_what_is_there(three):
    (three / "valid.txt").rename(three / "other.txt")
    message = (
        r"no file for the validation split: expected .*\['valid', .*"
        r"got \['other.txt', 'test.txt', 'train.txt'\]"
    )
    with pytest.raises(DataError, match=message):
        load_corpus(path=str(three))


def test_two_files_for_a_split_are_refused(three):
    (three / "old-test.txt").write_text("ab")
    message = r"several files for the test split.*got \['old-test.txt', 'test.txt'\]"
    with pytest.raises(DataError, match=message):
        load_corpus(path=str(three))


def test_file_for_two_splits_is_refused(three):
    (three / "test.txt").rename(three / "train-test.txt")
    with pytest.raises(DataError, match="no file for the test split"):
        load_corpus(path=str(three))


def test_short_split_says_how_many_tokens_it_needs(tmp_path):
    path = written(tmp_path / "verse", VERSE)
    assert sizes(load_corpus(path=path, level="word", least=14))[1] == 14
    with pytest.raises(DataError, match=r"the validation .* at least 15 words, got 14"):
        load_corpus(path=path, level="word", least=15)
    with pytest.raises(DataError, match=r"the training .* at least 1,000 words, got 252"):
        load_corpus(path=path, level="word", least=1_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "ptbb"}, re.escape(f"name must be one of {sorted(TEXTS)}, got 'ptbb'")),
        (
            {"name": "ptb", "level": "byte"},
            r"level must be one of \['character', 'word'\], got 'byte'",
        ),
        ({"name": "ptb", "path": "x"}, "either name or path, got both: name='ptb', path='x'"),
        ({"path": "/no/such"}, "path must be a text file or a folder, but /no/such does not exist"),
        ({"vocabulary": 50}, "vocabulary counts words: at level 'character' got 50"),
        ({"level": "word", "vocabulary": 0}, "from 3 to 100,000, got 0"),
        ({"level": "word", "vocabulary": 100_001}, "from 3 to 100,000, got 100001"),
        ({"level": "word", "vocabulary": "1e4"}, "must be a whole number .* got '1e4'"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        load_corpus(**options)


def test_folder_without_files_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no file for the training split.*got \[\]"):
        load_corpus(path=str(tmp_path))
