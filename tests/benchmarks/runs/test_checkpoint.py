"""No damage to a checkpoint goes unseen, and none runs code."""

import pickle
import random
import zipfile

import pytest
import torch

from benchmarks.runs import checkpoints

CONTENT = {"weights": torch.arange(500.0), "step": 3, "rows": [1, 2.5, None, "ä"]}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "c.pt"
    checkpoints.write_file(path, CONTENT)
    return path


def test_what_was_saved_comes_back(path):
    found = checkpoints.read_file(path)
    assert torch.equal(found.pop("weights"), CONTENT["weights"])
    assert found == {"step": 3, "rows": [1, 2.5, None, "ä"]}


def test_the_seal_disturbs_no_other_reader(path):
    for mmap in (False, True):
        found = torch.load(path, weights_only=True, mmap=mmap)
        assert torch.equal(found["weights"], CONTENT["weights"])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(checkpoints.SEAL)


def flip(data, at):
    data[at] ^= 1 << random.randrange(8)


def zero(data, at):
    part = slice(at, at + 40)
    data[part] = bytes(len(data[part])) if any(data[part]) else b"\1" * len(data[part])


def cut(data, at):
    del data[at:]


def lose(data, at):
    del data[at]


def insert(data, at):
    data.insert(at, random.randrange(256))


def append(data, at):
    data.extend(data[:at] or b"0")


@pytest.mark.parametrize("damage", [flip, zero, cut, lose, insert, append])
def test_every_damage_is_refused_before_torch_sees_it(path, damage, monkeypatch):
    whole = path.read_bytes()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch was given damage"))
    random.seed(0)
    length = len(whole)
    places = [*range(60), *range(length - 200, length), *random.sample(range(length), 100)]
    for place in places:
        data = bytearray(whole)
        damage(data, place)
        path.write_bytes(data)
        with pytest.raises(checkpoints.Damaged):
            checkpoints.read_file(path)


def test_a_file_of_torch_alone_has_no_seal(path):
    torch.save(CONTENT, path)
    with pytest.raises(checkpoints.Damaged, match="seal is missing"):
        checkpoints.read_file(path)


def test_a_sealed_pickle_runs_no_code(path, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    checkpoints.write_file(path, {"state": Evil()})
    with pytest.raises(pickle.UnpicklingError):
        checkpoints.read_file(path)
    assert not (tmp_path / "owned").exists()
    with pytest.warns(ResourceWarning):  # it was no empty threat
        torch.load(path, weights_only=False)
    assert (tmp_path / "owned").exists()
