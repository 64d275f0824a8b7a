"""A small disk that can be filled to the last page, made read-only and emptied: a tmpfs."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PAGE = 4096  # bytes, the least that a file takes
BALLAST = ".ballast"  # the name of the file that fills it


class Disk:
    """A mounted disk.

    Args:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def free(self) -> int:
        """Pages that can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize // PAGE

    @property
    def used(self) -> int:
        """Pages that are taken."""
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize // PAGE

    def fill(self, leave: int = 0) -> None:
        """Take all but so many pages."""
        # unbuffered: what could not be written would be tried again when the file is closed
        with (self.path / BALLAST).open("ab", buffering=0) as file:
            while (pages := self.free - leave) > 0:
                with contextlib.suppress(OSError):  # somebody else was faster
                    file.write(bytes(PAGE * pages))

    def make_space(self) -> None:
        """Give back what :meth:`fill` took."""
        (self.path / BALLAST).unlink(missing_ok=True)

    def read_only(self, yes: bool) -> None:
        """Let nothing be written, or let it be written again."""
        _call("mount", "-o", f"remount,{'ro' if yes else 'rw'}", str(self.path))


@contextlib.contextmanager
def small_disk(path: Path, megabytes: int = 32) -> Iterator[Disk]:
    """Mount a disk at a folder, and take it away again whatever happens.

    Raises:
        OSError: if it cannot be mounted.
    """
    path.mkdir(parents=True, exist_ok=True)
    _call("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path))
    try:
        yield Disk(path)
    finally:
        try:
            _call("umount", str(path))
        except OSError:  # a process still stands in it
            _call("umount", "--lazy", str(path))


@functools.cache
def can_mount() -> bool:
    """Whether this process may mount disks: as root, also that of ``unshare -rm``."""
    try:
        with tempfile.TemporaryDirectory() as path, small_disk(Path(path), 1):
            return True
    except OSError:
        return False


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
