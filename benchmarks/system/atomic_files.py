"""Files that are written whole or not at all, and the one line for those that cannot be."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path


class WriteError(OSError):
    """A file cannot be written: the disk is full, or the folder read-only or gone.

    The message is one line that names the file and the cause.
    """

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(f"{relative(path)} cannot be written: {cause.strerror or cause}")


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Within it, an error of the operating system is :class:`WriteError`, of this file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(path, error) from error


def write(
    path: Path, content: bytes | memoryview, before: Callable[[], object] | None = None
) -> None:
    """Write a file beside ``path``, flush it to the disk, then move it into place.

    Whatever happens on the way, ``path`` holds the old content or the new one.

    Args:
        path: the file.
        content: all of it.
        before: done once the content is on the disk, right before it is moved into place.

    Raises:
        WriteError: if it cannot be done.
    """
    temporary = path.with_name(temporary_name(path.name))
    with write_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if before is not None:
                before()
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        fsync(path.parent)


def write_text(path: Path, text: str) -> None:
    """:func:`write` of a text in UTF-8."""
    write(path, text.encode())


def append(path: Path, text: str) -> None:
    """Add a text at the end of a file.

    Raises:
        WriteError: if it cannot be done; a part of the text may be there then.
    """
    with write_errors(path), path.open("ab", buffering=0) as file:
        write_all(file, text.encode())


def write_all(file: io.RawIOBase, content: bytes) -> None:
    """All bytes to an unbuffered file, which may take a part of them at a time."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) or 0 :]


def fsync(path: Path) -> None:
    """See that what was written to a file, or moved into a folder, is on the disk.

    Raises:
        WriteError: if it is not there, or the disk does not take it.
    """
    with write_errors(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def temporary_name(name: str) -> str:
    """How a file is called while it is being written."""
    return f".{name}.tmp"


def relative(path: Path) -> Path:
    """A path relative to where the user stands, if it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
