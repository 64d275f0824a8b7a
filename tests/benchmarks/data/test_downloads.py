"""What a server may send: over https alone, no more than the file has, unpacked within bounds."""

import gzip
import hashlib
import http.server
import re
import threading
import zipfile

import pytest

from benchmarks.data import download, images
from benchmarks.data.download import FILES, Bounded, DataError, RemoteFile, fetch, read_member

CONTENT = b"the file, as published\n" * 1_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ENDLESS = 2**26  # more than a server could hide in the buffers between


class Hostile(http.server.BaseHTTPRequestHandler):
    """Sends more than it should, however the path asks for it."""

    sent: list[int]

    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/good")
            self.end_headers()
            return
        said = {"/honest": ENDLESS, "/lying": len(CONTENT), "/odd": "many"}.get(self.path)
        self.send_response(200)
        if said is not None:
            self.send_header("Content-Length", str(said))
        if self.path == "/packed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        try:
            if self.path == "/packed":
                self.wfile.write(gzip.compress(bytes(ENDLESS)))
            while self.path in ("/honest", "/unsaid") and sum(self.sent) < ENDLESS:
                self.sent.append(self.wfile.write(bytes(2**16)))
            if self.path == "/lying":
                self.wfile.write(CONTENT[:-1] + bytes(2**16))
        except OSError:  # the other side has had enough
            pass

    def log_message(self, format, *args):
        pass


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("ORTHORNN_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch, place):
    """A server from which the file ``data.txt`` comes, from the path that is asked for."""
    monkeypatch.setattr(download, "SCHEMES", ("https", "http"))
    handler = type("Handler", (Hostile,), {"sent": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        server.sent = handler.sent
        server.offer = lambda path: offer(
            monkeypatch, f"http://127.0.0.1:{server.server_port}{path}"
        )
        yield server
        server.shutdown()
        thread.join()


def offer(monkeypatch, url):
    monkeypatch.setitem(FILES, "data.txt", RemoteFile((url,), SHA256, len(CONTENT)))


@pytest.mark.parametrize("path", ["/honest", "/unsaid", "/packed"])
def test_a_server_that_sends_more_than_the_file_is_stopped(path, server, place):
    server.offer(path)
    with pytest.raises(DataError, match=f"it sends more than the {len(CONTENT):,} bytes"):
        fetch("data.txt")
    assert list(place.iterdir()) == []
    assert sum(server.sent) < ENDLESS


@pytest.mark.parametrize(
    ("path", "told"),
    [("/lying", "its sha256 is not the expected one"), ("/odd", "many"), ("/short", "sha256")],
)
def test_a_server_that_lies_of_the_length_gets_nothing_in(path, told, server, place):
    server.offer(path)
    with pytest.raises(DataError, match=re.escape(told)):
        fetch("data.txt")
    assert list(place.iterdir()) == []


def test_a_server_cannot_lead_on_to_another_protocol(server, place):
    server.offer("/moved")
    with pytest.raises(DataError, match="ftp is not https or http"):
        fetch("data.txt")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "ftp://127.0.0.1/x", "file:///x", "x"])
def test_no_protocol_but_https_is_spoken(url, place, monkeypatch):
    offer(monkeypatch, url)
    with pytest.raises(DataError, match=r"is not https\)"):
        fetch("data.txt")


def test_a_file_takes_what_it_may_have_and_no_more(tmp_path):
    with (tmp_path / "file").open("wb") as target:
        bounded = Bounded(target, 5)
        bounded.write(b"abc")
        bounded.write(b"de")
        with pytest.raises(OSError, match="more than the 5 bytes"):
            bounded.write(b"f")
    assert (tmp_path / "file").read_bytes() == b"abcde"


def by_hand(place, monkeypatch, name, content):
    place.mkdir()
    (place / name).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(FILES, name, RemoteFile((), sha256, len(content)))


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_a_member_of_an_archive_unpacks_within_bounds(size, place, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_UNPACKED_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "made.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("text", bytes(size))
    by_hand(place, monkeypatch, "data.zip", (tmp_path / "made.zip").read_bytes())
    if size <= 1000:
        assert read_member("data.zip", "text") == bytes(size)
    else:
        with pytest.raises(DataError, match="text must have at most 1,000 bytes"):
            read_member("data.zip", "text")


def test_a_packed_file_unpacks_within_bounds(place, monkeypatch):
    monkeypatch.setattr(images, "MOST_UNPACKED", 1000)
    by_hand(place, monkeypatch, "data.gz", gzip.compress(bytes(1001)))
    with pytest.raises(DataError, match="must unpack to at most 1,000 bytes"):
        images.read_idx("data.gz")
