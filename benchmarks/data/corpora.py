"""Texts for language models: which there are, how each is split, and its vocabulary."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from .download import DataError, fetch, read_member
from .text import (
    character_vocabulary,
    check_level,
    decode_utf8,
    split_text,
    to_indices,
    word_vocabulary,
)

PUBLISHED_VOCABULARY_SIZES = {"wikitext2": 33_278}  # words of a text, as published
DEFAULT_VOCABULARY_SIZE = 10_000
MAX_TEXT_BYTES = 2**30  # of a text; its tokens take eight times as much
SPLITS = ("training", "validation", "test")
SPELLINGS = {
    "training": ("train", "training"),
    "validation": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
}


class Corpus(NamedTuple):
    """A text as tokens.

    Attributes:
        title: what it is, for a person.
        level: ``"character"`` or ``"word"``.
        vocabulary: the symbols; a token is an index into it.
        training: int64 ``(N,)``.
        validation: int64 ``(N,)``.
        test: int64 ``(N,)``.
    """

    title: str
    level: str
    vocabulary: tuple[str, ...]
    training: Tensor
    validation: Tensor
    test: Tensor


class Text(NamedTuple):
    """What a text is called, and either its three splits or one document to be split."""

    title: str
    parts: tuple[str, ...]
    note: str = ""


def load_corpus(
    name: str | None = None,
    path: str | None = None,
    level: str = "character",
    vocabulary: int | None = None,
    least: int = 2,
) -> Corpus:
    """A text, split and indexed, the same on every machine (pydoc: with the same Python).

    One document is split by position: its first 90 % of tokens, the next 5 % and the last 5 %.
    Characters are all those of the three splits. Words are separated by white space, a newline is
    ``"<eos>"``, and a word outside the vocabulary is ``"<unk>"``.

    Args:
        name: ``"pydoc"`` (the default; the help texts within Python, 0.5 M characters, no network),
            ``"ptb"``, ``"text8"``, ``"tinyshakespeare"`` or ``"wikitext2"``.
        path: instead of a name, a UTF-8 file, or a folder with one file for each split whose name
            holds the word train, valid or test (or training, validation, val, dev, testing).
        level: ``"character"`` or ``"word"``.
        vocabulary: how many words at most, the most frequent of the training split, ``"<unk>"`` and
            ``"<eos>"`` among them; None for 10 000, or 33 278 for WikiText-2.
        least: tokens that each split must have.

    Raises:
        DataError: if the text cannot be had or read, or does not suit; the message says why.
    """
    check_level(level)
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise DataError(f"least must be a whole number of tokens >= 1, got {least!r}")
    for key, value in (("name", name), ("path", path)):
        if value is not None and not isinstance(value, str):
            raise DataError(f"{key} must be a text or null, got {value!r}")
    if level == "character" and vocabulary is not None:
        raise DataError(f"vocabulary counts words: at level 'character' got {vocabulary!r}")
    if name is not None and path is not None:
        raise DataError(f"either name or path, got both: name={name!r}, path={path!r}")
    if path is not None and not str(path).strip():
        raise DataError("path must be a text file or a folder, got an empty one")
    name = "pydoc" if name is None and path is None else name
    if name is not None and name not in TEXTS:
        raise DataError(f"name must be one of {sorted(TEXTS)}, got {name!r}")
    text = TEXTS[name](level) if name is not None else _from_path(Path(str(path)).expanduser())
    parts = [split_text(part, level) for part in text.parts]
    if len(parts) == 1:
        length = len(parts[0])
        cuts = (0, length * 90 // 100, length * 95 // 100, length)
        parts = [parts[0][a:b] for a, b in pairwise(cuts)]
    for split, part in zip(SPLITS, parts, strict=True):
        if len(part) < least:
            raise DataError(
                f"the {split} split of {text.title} must have at least {least:,} {level}s, "
                f"got {len(part):,}"
            )
    if level == "word":
        size = (
            PUBLISHED_VOCABULARY_SIZES.get(str(name), DEFAULT_VOCABULARY_SIZE)
            if vocabulary is None
            else vocabulary
        )
        symbols = word_vocabulary(parts[0], size)
    else:
        symbols = character_vocabulary(parts)
    title = f"{text.title} {level}s" + (f" ({text.note})" if text.note else "")
    return Corpus(title, level, symbols, *(to_indices(part, symbols, level) for part in parts))


def _pydoc(level: str) -> Text:
    """Python's reference as ``help()`` shows it: it grows from one release to the next."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            f"this Python {platform.python_version()} lacks pydoc_data: give another name or a path"
        ) from None
    text = "\n".join(topics[key] for key in sorted(topics))
    version = ".".join(platform.python_version_tuple()[:2])
    return Text("pydoc", (text,), f"Python {version}, {len(text):,} characters")


def _ptb(level: str) -> Text:
    r"""Penn Treebank's words (Mikolov et al., 2010), or their characters with ``_`` for a space."""
    files = ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")
    parts = [decode_utf8(fetch(file).read_bytes(), file) for file in files]
    if level == "character":
        parts = [
            "".join(f"{line.strip().replace(' ', '_')}\n" for line in part.split("\n")[:-1])
            for part in parts
        ]
    return Text("PTB", tuple(parts))


def _wikitext2(level: str) -> Text:
    """Wikipedia's good articles, rare words replaced (Merity et al., 2017)."""
    archive = "wikitext-2-v1.zip"
    members = [f"wikitext-2/wiki.{split}.tokens" for split in ("train", "valid", "test")]
    return Text(
        "WikiText-2", tuple(decode_utf8(read_member(archive, name), name) for name in members)
    )


def _text8(level: str) -> Text:
    """Wikipedia in small letters: 90, 5 and 5 million characters (Mikolov et al., 2012)."""
    return Text("text8", (decode_utf8(read_member("text8.zip", "text8"), "text8"),))


def _tinyshakespeare(level: str) -> Text:
    """40 000 lines of Shakespeare (Karpathy, 2015)."""
    file = "tinyshakespeare.txt"
    return Text("TinyShakespeare", (decode_utf8(fetch(file).read_bytes(), file),))


TEXTS: dict[str, Callable[[str], Text]] = {
    "pydoc": _pydoc,
    "ptb": _ptb,
    "text8": _text8,
    "tinyshakespeare": _tinyshakespeare,
    "wikitext2": _wikitext2,
}


def _from_path(path: Path) -> Text:
    try:
        if not path.is_dir() and not path.is_file():
            what = "is neither" if path.exists() else "does not exist"
            raise DataError(f"path must be a text file or a folder, but {path} {what}")
        files = _split_files(path) if path.is_dir() else [path]
        parts = tuple(_read(file) for file in files)
    except OSError as error:
        raise DataError(f"path {path} cannot be read: {error.strerror or error}") from error
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    size = sum(map(len, parts))
    return Text(path.resolve().name, parts, f"{size:,} characters, sha256 {digest[:8]}")


def _split_files(folder: Path) -> list[Path]:
    """The training, validation and test file; a file that names two splits stands for none."""
    found: dict[str, list[Path]] = {split: [] for split in SPLITS}
    files = sorted(file for file in folder.iterdir() if file.is_file())
    for file in files:
        parts = set(re.split(r"[^a-z]+", file.name.lower()))
        named = [split for split in SPLITS if parts.intersection(SPELLINGS[split])]
        if len(named) == 1:
            found[named[0]].append(file)
    for split, candidates in found.items():
        if len(candidates) != 1:
            names = [file.name for file in candidates or files]
            what = "several files" if candidates else "no file"
            raise DataError(
                f"folder {folder} has {what} for the {split} split: expected one whose name holds "
                f"one of {list(SPELLINGS[split])}, got {names[:20]}"
            )
    return [found[split][0] for split in SPLITS]


def _read(path: Path) -> str:
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise DataError(f"{path} must have at most {MAX_TEXT_BYTES:,} bytes, got {size:,}")
    text = decode_utf8(path.read_bytes(), path)
    if not text.strip():
        raise DataError(f"{path} is {'blank' if text else 'empty'}")
    return text
