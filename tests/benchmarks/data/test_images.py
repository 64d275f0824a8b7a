import functools
import gzip
import hashlib
import http.server
import struct
import threading

import numpy as np
import pytest
import torch

from benchmarks.data import images
from benchmarks.data.download import FILES, DataError, RemoteFile
from benchmarks.data.images import load_images, read_idx

SPLITS = ("training", "validation", "test")
NAMES = {
    "pixels": "train-images-idx3-ubyte.gz",
    "labels": "train-labels-idx1-ubyte.gz",
    "test pixels": "t10k-images-idx3-ubyte.gz",
    "test labels": "t10k-labels-idx1-ubyte.gz",
}


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), compresslevel=1)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put a file on a local server, from which alone the cache can have it."""
    monkeypatch.setenv("ORTHORNN_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "www").mkdir()
    serve = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()

        def publish(name, content):
            (tmp_path / "www" / name).write_bytes(content)
            url = f"http://127.0.0.1:{server.server_port}/{name}"
            sha256 = hashlib.sha256(content).hexdigest()
            monkeypatch.setitem(FILES, name, RemoteFile((url,), sha256, len(content)))

        yield publish
        server.shutdown()
        thread.join()


@pytest.fixture
def mnist(publish, monkeypatch):
    """12 training images, of which 5 for validation, and 3 test images."""
    monkeypatch.setattr(images, "MNIST_VALIDATION_IMAGES", 5)
    random = np.random.default_rng(0)
    made = {
        "pixels": random.integers(0, 256, (12, 28, 28)),
        "labels": np.arange(12) % 10,
        "test pixels": random.integers(0, 256, (3, 28, 28)),
        "test labels": np.array([9, 8, 7]),
    }
    for key, array in made.items():
        publish(NAMES[key], idx(array))
    return made


@pytest.mark.parametrize("permuted", [False, True])
def test_digits_are_rows_of_pixels_between_0_and_1(permuted):
    digits = load_images("digits", permuted=permuted)
    assert digits.classes == tuple("0123456789")
    for split in SPLITS:
        pixels, labels = getattr(digits, split)
        assert pixels.shape == (len(labels), 64)
        assert (pixels.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert (pixels.min(), pixels.max()) == (0, 1)
        assert set(labels.tolist()) == set(range(10))


def test_digits_are_split_60_20_20_class_by_class():
    digits = load_images()
    counts = torch.stack([getattr(digits, split)[1].bincount() for split in SPLITS])
    assert counts.sum() == 1797
    shares = counts / counts.sum(0)
    torch.testing.assert_close(
        shares, torch.tensor([[0.6], [0.2], [0.2]]).expand(3, 10), rtol=0, atol=0.008
    )


def test_digits_are_split_without_loss_or_repetition():
    from sklearn.datasets import load_digits

    def rows(pixels, labels):
        return sorted(zip(pixels.tolist(), labels.tolist(), strict=True))

    digits, bundled = load_images(), load_digits()
    found = [torch.cat([getattr(digits, split)[k] for split in SPLITS]) for k in (0, 1)]
    assert rows(*found) == rows(bundled.data / 16, bundled.target)


def test_digits_are_the_same_on_every_machine():
    digits = load_images()
    labels = [getattr(digits, split)[1].tolist() for split in SPLITS]
    assert hashlib.sha256(str(labels).encode()).hexdigest()[:16] == "846e4cc5b1d8df35"
    again = load_images()
    assert all(torch.equal(a[0], b[0]) for a, b in zip(digits[2:], again[2:], strict=True))


def test_pixels_of_the_digits_stand_row_by_row():
    from sklearn.datasets import load_digits

    bundled = load_digits()
    digits = load_images()
    pictures = {tuple(picture.flatten().tolist()) for picture in bundled.images / 16}
    assert {tuple(pixels.tolist()) for pixels in digits.test[0]} <= pictures


@pytest.mark.parametrize(("name", "length"), [("digits", 64), ("mnist", 784)])
def test_permutation_is_the_published_one_in_every_split(name, length, mnist):
    order = np.random.RandomState(92916).permutation(length)
    plain, permuted = load_images(name), load_images(name, permuted=True)
    for split in SPLITS:
        (x, a), (y, b) = getattr(plain, split), getattr(permuted, split)
        assert torch.equal(x[:, order], y)
        assert not torch.equal(x, y)
        assert torch.equal(a, b)


def test_titles_tell_the_order_of_the_pixels(mnist):
    assert load_images("digits").title == "scikit-learn's digits, 64 pixels row by row"
    assert load_images("digits", permuted=True).title == "scikit-learn's digits, 64 pixels permuted"
    assert load_images("mnist").title == "MNIST, 784 pixels row by row"


def test_mnist_is_read_from_its_idx_files(mnist):
    read = load_images("mnist")
    pixels = torch.from_numpy(mnist["pixels"].reshape(12, 784)).float() / 255
    assert torch.equal(read.training[0], pixels[:7])
    assert torch.equal(read.validation[0], pixels[7:])
    assert torch.equal(read.test[0] * 255, torch.from_numpy(mnist["test pixels"]).reshape(3, 784))
    assert read.training[1].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert read.validation[1].tolist() == [7, 8, 9, 0, 1]
    assert read.test[1].tolist() == [9, 8, 7]
    assert read.training[0].dtype == torch.float32
    assert read.test[1].dtype == torch.int64


def test_mnist_keeps_5000_images_for_validation():
    assert images.MNIST_VALIDATION_IMAGES == 5000


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 28, 28)])
def test_idx_file_keeps_its_shape_and_order(shape, publish):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    publish("array.gz", idx(array))
    assert np.array_equal(read_idx("array.gz"), array)
    assert read_idx("array.gz").shape == shape


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", r"array\.gz is not a readable gzip file"),
        (idx(np.zeros(50))[:-12], r"array\.gz is not a readable gzip file"),
        (gzip.compress(b""), "must open with the idx header 00 00 08 .*, got $"),
        (gzip.compress(b"\0\0\x0d\1\0\0\0\1\5"), "got 00 00 0d 01"),
        (gzip.compress(b"\0\0\x08\3\0\0\0\1"), "got 00 00 08 03"),
        (gzip.compress(b"\0\0\x08\1\0\0\0\3\5\5"), r"must hold 3 bytes for shape \(3,\), got 2"),
        (gzip.compress(b"\0\0\x08\1\0\0\0\3\5\5\5\5"), "must hold 3 bytes for .*, got 4"),
        (gzip.compress(b"\0\0\x08\4" + b"\xff" * 16), "must hold 340282366604.* bytes"),
    ],
    ids=["no gzip", "cut", "empty", "floats", "half a header", "short", "long", "overflow"],
)
def test_damaged_idx_file_is_refused(content, message, publish):
    publish("array.gz", content)
    with pytest.raises(DataError, match=message):
        read_idx("array.gz")


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("labels", np.zeros(11), r"train files must hold .* got \(12, 28, 28\) and \(11,\)"),
        ("labels", np.zeros((12, 2)), r"got \(12, 28, 28\) and \(12, 2\)"),
        ("test pixels", np.zeros((3, 8, 8)), r"t10k files must hold .* got \(3, 8, 8\)"),
        ("test labels", np.array([0, 1, 10]), "labels must be from 0 to 9, got 10"),
    ],
)
def test_mnist_files_must_fit_together(key, array, message, mnist, publish):
    publish(NAMES[key], idx(array))
    with pytest.raises(DataError, match=message):
        load_images("mnist")


def test_mnist_needs_more_images_than_validation_takes(mnist, monkeypatch):
    monkeypatch.setattr(images, "MNIST_VALIDATION_IMAGES", 12)
    with pytest.raises(DataError, match="must have over 12 images, got 12"):
        load_images("mnist")


def test_mnist_without_network_says_how_to_place_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHORNN_DATA", str(tmp_path))
    name = NAMES["pixels"]
    monkeypatch.setitem(FILES, name, FILES[name]._replace(urls=("http://127.0.0.1:1/file",)))
    with pytest.raises(DataError, match=rf"by hand, save it .* as {tmp_path}/{name}"):
        load_images("mnist")


def test_unknown_name_lists_the_choices():
    with pytest.raises(DataError, match=r"name must be one of \['digits', 'mnist'\], got 'cifar'"):
        load_images("cifar")
