"""Files are written whole or not at all."""

import pytest
import torch

from benchmarks import checkpoint


def test_checkpoint_replaces_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "c.pt"
    for value in (1, 2):
        checkpoint.save(path, {"value": value})
    assert checkpoint.load(path) == {"value": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"value": 1})

    def broken(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, {"value": 2})
    assert checkpoint.load(path) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]
