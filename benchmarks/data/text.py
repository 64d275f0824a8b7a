"""Text as tokens: clean decoding of files, characters or words, vocabularies, and back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from .download import DataError

LEVELS = ("character", "word")
END = "<eos>"  # a newline, at word level
UNKNOWN = "<unk>"
MAX_VOCABULARY = 100_000


def check_level(level: str) -> None:
    """Raise a :class:`DataError` unless the level is one of :data:`LEVELS`."""
    if level not in LEVELS:
        raise DataError(f"level must be one of {list(LEVELS)}, got {level!r}")


def decode_utf8(raw: bytes, origin: object) -> str:
    r"""The text of UTF-8 bytes without byte order mark, its lines ended by ``\n``.

    Args:
        raw: the contents of a file.
        origin: the file, for the message.

    Raises:
        DataError: if the bytes are not UTF-8, or hold a zero as only binary files do.
    """
    if b"\0" in raw:
        raise DataError(
            f"{origin} must be UTF-8 text, got a binary file: byte {raw.index(0)} is zero"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{origin} must be UTF-8 text, got 0x{raw[error.start]:02x} at byte {error.start} "
            f"({error.reason})"
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def split_text(text: str, level: str) -> Sequence[str]:
    r"""The characters of a text, or its words with ``"<eos>"`` for each newline.

    Blank lines count, as in WikiText-2's published 2 088 628 tokens (Merity et al., 2017).

    Raises:
        DataError: if there is no such level.
    """
    check_level(level)
    return text if level == "character" else text.replace("\n", f" {END} ").split()


def character_vocabulary(splits: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The characters of all splits, sorted.

    Raises:
        DataError: if there are more than :data:`MOST_TYPES`.
    """
    symbols = tuple(sorted(set().union(*splits)))
    if len(symbols) > MAX_VOCABULARY:
        raise DataError(
            f"a text may have {MAX_VOCABULARY:,} different characters, got {len(symbols):,}"
        )
    return symbols


def word_vocabulary(training: Sequence[str], size: int) -> tuple[str, ...]:
    """``"<unk>"``, ``"<eos>"`` and the words of the training split, most frequent first.

    Args:
        training: the words of the training split.
        size: how many symbols at most; the rarest words are left out, of equals the last in
            the alphabet.

    Raises:
        DataError: if size is not a whole number from 3 to :data:`MOST_TYPES`.
    """
    if not isinstance(size, int) or not 3 <= size <= MAX_VOCABULARY:
        raise DataError(
            f"vocabulary must be a whole number of words from 3 to {MAX_VOCABULARY:,}, got {size!r}"
        )
    count = Counter(training)
    del count[UNKNOWN], count[END]
    ranked = sorted(count, key=lambda word: (-count[word], word))
    return (UNKNOWN, END, *ranked[: size - 2])


def to_indices(sequence: Sequence[str], symbols: Sequence[str], level: str) -> Tensor:
    """Where each character or word stands in the vocabulary, int64 ``(N,)``.

    A word that is not in it is ``"<unk>"``.

    Raises:
        DataError: if a character is not in it.
    """
    if level == "word":
        place = {word: k for k, word in enumerate(symbols)}
        unknown = place[UNKNOWN]
        return torch.tensor([place.get(word, unknown) for word in sequence], dtype=torch.int64)
    strange = sorted(set(sequence).difference(symbols))
    if strange:
        raise DataError(
            f"characters must be among the {len(symbols)} of the corpus, {''.join(symbols)!r}, "
            f"got {''.join(strange)!r}"
        )
    # by code point, without a list: text8 has 100 million characters
    text = sequence if isinstance(sequence, str) else "".join(sequence)
    table = np.zeros(max(map(ord, symbols), default=0) + 1, dtype=np.int64)
    table[[ord(symbol) for symbol in symbols]] = np.arange(len(symbols))
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return torch.from_numpy(table[codes])


def encode(text: str, symbols: Sequence[str], level: str) -> Tensor:
    """The tokens of a text, int64 ``(N,)``; a word that is not in the vocabulary is ``"<unk>"``.

    Args:
        text: any text; at word level white space separates and a newline is ``"<eos>"``.
        symbols: the vocabulary of a corpus.
        level: its level, ``"character"`` or ``"word"``.

    Raises:
        DataError: if there is no such level, or the corpus lacks a character of the text.
    """
    return to_indices(split_text(text, level), symbols, level)


def decode(tokens: Tensor, symbols: Sequence[str], level: str) -> str:
    """The text of tokens ``(N,)``: the inverse of :func:`encode`, up to repeated spaces.

    Raises:
        DataError: if there is no such level or a token is not an index into symbols.
    """
    check_level(level)
    places = tokens.flatten().tolist()
    if places and not 0 <= min(places) <= max(places) < len(symbols):
        raise DataError(
            f"tokens must be from 0 to {len(symbols) - 1}, got {min(places)} to {max(places)}"
        )
    text = [symbols[place] for place in places]
    if level == "character":
        return "".join(text)
    return re.sub(" ?\n ?", "\n", " ".join("\n" if word == END else word for word in text))
