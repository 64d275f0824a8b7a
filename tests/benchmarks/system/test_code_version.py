"""The commit that is running."""

import subprocess
import time

import pytest

from benchmarks.system.environment import git_commit


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A tiny repository with one commit; returns its folder and git."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        command = ["git", *identity, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "a.py").write_text("1\n")
    git("add", "a.py")
    git("commit", "-qm", "one")
    return tmp_path, git


def test_a_clean_checkout_is_its_commit(checkout):
    folder, git = checkout
    git("tag", "-a", "v1", "-m", "a tag says less")
    (folder / "runs").mkdir()
    (folder / "runs" / "log").write_text("what git does not follow\n")
    assert git_commit(folder) == git("rev-parse", "--short=7", "HEAD")


def test_changes_are_told(checkout):
    folder, git = checkout
    (folder / "a.py").write_text("2\n")
    assert git_commit(folder) == git("rev-parse", "--short=7", "HEAD") + ", with changes"


def test_the_commit_is_that_of_the_checkout_also_inside_a_hook(checkout, monkeypatch):
    folder, git = checkout
    head = git("rev-parse", "--short=7", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(folder / "elsewhere"))
    assert git_commit(folder) == head


def test_a_folder_inside_a_checkout_has_no_commit_of_its_own(checkout):
    folder, _ = checkout
    (folder / "site-packages").mkdir()
    assert git_commit(folder / "site-packages") == "unknown"


@pytest.mark.parametrize("broken", ["no commit", "no repository", "no git"])
def test_what_cannot_be_known_is_unknown(tmp_path, monkeypatch, broken):
    if broken == "no commit":
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    else:
        (tmp_path / ".git").mkdir()
    if broken == "no git":
        monkeypatch.setenv("PATH", "")
    assert git_commit(tmp_path) == "unknown"


def test_it_takes_no_time():
    began = time.monotonic()
    git_commit()
    assert time.monotonic() - began < 1  # about 0.01 s on an idle machine
