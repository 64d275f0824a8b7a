"""Files are written whole or not at all, and what cannot be written is one line."""

import errno
import os

import pytest

from benchmarks.system import atomic_files


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "file"
    for content in (b"one", b"two"):
        atomic_files.write(path, content)
        assert path.read_bytes() == content
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_whatever_fails_leaves_the_old_content(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    atomic_files.write(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(atomic_files.WriteError, match=r"file cannot be written: No space left"):
            atomic_files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_everything_is_on_the_disk_before_the_old_content_goes(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic_files.write(path, b"old")
    happened = []

    def note(name):
        real = getattr(os, name)

        def noted(*arguments):
            happened.append(f"{name} {path.read_bytes().decode()}")
            return real(*arguments)

        monkeypatch.setattr(os, name, noted)

    note("fsync")
    note("replace")
    atomic_files.write(path, b"new", before=lambda: happened.append("before"))
    assert happened == ["fsync old", "before", "replace old", "fsync new"]


def test_a_folder_that_is_gone_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone" / "file"
    for action in (
        lambda: atomic_files.write(gone, b""),
        lambda: atomic_files.append(gone, ""),
        lambda: atomic_files.fsync(gone),
    ):
        with pytest.raises(
            atomic_files.WriteError, match=r"^gone/file cannot be written: No such file"
        ):
            action()


def test_a_text_is_appended_whole_where_the_system_takes_parts(tmp_path):
    class Reluctant:
        def __init__(self):
            self.taken = b""

        def write(self, content):
            self.taken += bytes(content[:3])
            return min(3, len(content))

    file = Reluctant()
    atomic_files.write_all(file, b"ten letters")
    assert file.taken == b"ten letters"
    for text in ("ä", "b"):
        atomic_files.append(tmp_path / "file", text)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "äb"
