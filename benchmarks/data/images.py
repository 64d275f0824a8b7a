"""Images as rows of pixels: digits bundled with scikit-learn, and MNIST from its idx files."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .download import DataError, fetch

PERMUTATION_SEED = 92916  # the seed of the published permutation
MNIST_VALIDATION_IMAGES = 5_000
DIGITS_SPLIT_SEED = 0  # the seed of the split of the digits

Bytes = NDArray[np.uint8]
Part = tuple[Tensor, Tensor]


class Images(NamedTuple):
    """Images whose pixels stand in a row, and their classes.

    Attributes:
        title: what they are, for a person.
        classes: the name of each class; a label is an index into it.
        training: pixels, float32 ``(N, L)`` in [0, 1], and labels, int64 ``(N,)``.
        validation: the same.
        test: the same.
    """

    title: str
    classes: tuple[str, ...]
    training: Part
    validation: Part
    test: Part


def load_images(name: str = "digits", permuted: bool = False) -> Images:
    """Images, the same on every machine, their pixels row by row or permuted.

    Args:
        name: ``"digits"`` (scikit-learn's, 8 x 8, L = 64, 1 797 images split 60/20/20 class by
            class, no network) or ``"mnist"`` (28 x 28, L = 784; 60 000 images, of which the last
            5 000 for validation, and 10 000 for the test).
        permuted: whether to put the pixels in the order ``RandomState(92916).permutation(L)``,
            the one of uRNN's successors for MNIST (Lezcano-Casado & Martinez-Rubio, 2019).

    Raises:
        DataError: if there is no such name, permuted is no bool, or the files cannot be had or
            read.
    """
    if name not in SOURCES:
        raise DataError(f"name must be one of {sorted(SOURCES)}, got {name!r}")
    if not isinstance(permuted, bool):
        raise DataError(f"permuted must be true or false, got {permuted!r}")
    title, parts = SOURCES[name]()
    length = parts[0][0].shape[1]
    if permuted:
        order = torch.from_numpy(np.random.RandomState(PERMUTATION_SEED).permutation(length))
        parts = [(pixels[:, order], labels) for pixels, labels in parts]
    title = f"{title}, {length} pixels {'permuted' if permuted else 'row by row'}"
    return Images(title, tuple("0123456789"), *parts)


def _digits() -> tuple[str, list[Part]]:
    """60/20/20 of each class, drawn by a generator whose stream numpy has frozen."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    digits = load_digits()
    pixels = torch.from_numpy(digits.data / 16).float()
    labels = torch.from_numpy(digits.target).long()
    random = np.random.RandomState(DIGITS_SPLIT_SEED)
    drawn: list[list[int]] = [[], [], []]
    for label in range(10):
        members = random.permutation(np.flatnonzero(digits.target == label)).tolist()
        a, b = len(members) * 60 // 100, len(members) * 80 // 100
        for part, piece in zip(drawn, (members[:a], members[a:b], members[b:]), strict=True):
            part.extend(piece)
    return "scikit-learn's digits", [(pixels[sorted(p)], labels[sorted(p)]) for p in drawn]


def _mnist() -> tuple[str, list[Part]]:
    """The papers disagree on validation (expRNN has none, scoRNN takes 5 000): the last 5 000."""
    pixels, labels = _mnist_part("train")
    cut = len(labels) - MNIST_VALIDATION_IMAGES
    if cut < 1:
        raise DataError(f"MNIST must have over {MNIST_VALIDATION_IMAGES} images, got {len(labels)}")
    training, validation = (pixels[:cut], labels[:cut]), (pixels[cut:], labels[cut:])
    return "MNIST", [training, validation, _mnist_part("t10k")]


def _mnist_part(prefix: str) -> Part:
    images = read_idx(f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(f"{prefix}-labels-idx1-ubyte.gz")
    if images.shape != (len(labels), 28, 28) or labels.ndim != 1:
        raise DataError(
            f"MNIST's {prefix} files must hold images (N, 28, 28) and labels (N,), "
            f"got {images.shape} and {labels.shape}"
        )
    if labels.max(initial=0) > 9:
        raise DataError(f"MNIST's {prefix} labels must be from 0 to 9, got {labels.max()}")
    pixels = torch.from_numpy(images.reshape(len(images), -1)).float() / 255
    return pixels, torch.from_numpy(labels).long()


def read_idx(name: str) -> Bytes:
    """The array in a gzipped idx file of bytes from the cache.

    The header is two zeros, 8 for unsigned bytes, the number of axes, and the length of each as
    32 bits, the highest first; the bytes follow, the last axis fastest (LeCun et al., 1998).

    Raises:
        DataError: if the file cannot be had, or is not what its header says.
    """
    path = fetch(name)
    try:
        with gzip.open(path) as packed:
            raw = packed.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a readable gzip file: {error}") from error
    start = 4 + 4 * raw[3] if len(raw) > 3 else 4
    if raw[:3] != b"\0\0\x08" or len(raw) < start:
        raise DataError(
            f"{path} must open with the idx header 00 00 08 and its axes, got {raw[:4].hex(' ')}"
        )
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", count=raw[3], offset=4))
    expected, got = int(np.prod(shape, dtype=object)), len(raw) - start
    if got != expected:
        raise DataError(f"{path} must hold {expected} bytes for shape {shape}, got {got}")
    array: Bytes = np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()
    return array


SOURCES: dict[str, Callable[[], tuple[str, list[Part]]]] = {"digits": _digits, "mnist": _mnist}
