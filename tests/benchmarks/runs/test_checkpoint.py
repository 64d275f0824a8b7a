"""No damage to a checkpoint changes what is read from it, and none runs code."""

import hashlib
import io
import pickle
import random
import struct
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


def is_content(loaded):
    rest = {key: value for key, value in loaded.items() if key != "weights"}
    return torch.equal(loaded["weights"], CONTENT["weights"]) and rest == {
        "step": 3,
        "rows": [1, 2.5, None, "ä"],
    }


def test_what_was_saved_comes_back(path):
    assert is_content(checkpoints.read_file(path))


def test_torch_and_zipfile_read_it_too(path):
    for mmap in (False, True):
        assert is_content(torch.load(path, weights_only=True, mmap=mmap))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_a_checkpoint_that_was_sealed_by_a_comment_is_read(path):
    archive = path.read_bytes()
    assert archive.endswith(bytes(2))  # no comment
    prefix = b"orthornn sha256 "
    archive = archive[:-2] + struct.pack("<H", len(prefix) + 64)
    path.write_bytes(archive + prefix + hashlib.sha256(archive).hexdigest().encode())
    with zipfile.ZipFile(path) as sealed:
        assert sealed.comment.startswith(prefix)
    assert is_content(checkpoints.read_file(path))


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


def reads(path, data):
    """Whether damaged bytes are still read as what was written; else they must be refused."""
    path.write_bytes(data)
    try:
        loaded = checkpoints.read_file(path)
    except zipfile.BadZipFile:
        return False
    assert is_content(loaded)
    return True


@pytest.mark.parametrize("damage", [flip, zero, cut, lose, insert, append])
def test_no_damage_changes_what_is_read(path, damage):
    whole = path.read_bytes()
    random.seed(0)
    length = len(whole)
    places = [*range(60), *range(length - 200, length), *random.sample(range(length), 100)]
    for place in places:
        data = bytearray(whole)
        damage(data, place)
        harmless = reads(path, data)
        assert not (harmless and damage in (cut, lose))


def test_every_flipped_bit_of_the_weights_is_seen(path):
    whole = path.read_bytes()
    start = whole.index(CONTENT["weights"].numpy().tobytes())
    for place in range(start, start + 2000, 7):
        data = bytearray(whole)
        flip(data, place)
        assert not reads(path, data)


def test_no_flipped_bit_of_the_directory_changes_what_is_read(path):
    whole = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        start = archive.start_dir
    random.seed(0)
    for place in range(start, len(whole), 2):
        data = bytearray(whole)
        flip(data, place)
        reads(path, data)


def test_a_member_that_torch_would_take_for_an_empty_folder_is_refused(path):
    whole = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        start = archive.start_dir
    entry = whole.rindex(b"PK\1\2", start, whole.index(b"data/0", start))
    data = bytearray(whole)
    data[entry + 38] ^= 0x10  # the attribute of a folder
    assert not reads(path, data)
    loaded = torch.load(path, weights_only=True)  # it was no empty threat
    assert not torch.equal(loaded["weights"], CONTENT["weights"])


def test_a_pickle_of_more_than_tensors_runs_no_code(path, tmp_path):
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
