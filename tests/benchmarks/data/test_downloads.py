"""Whatever a server sends, only the file with the known hash gets into the cache."""

import hashlib
import http.server
import re
import threading

import pytest

from benchmarks.data.download import FILES, DataError, RemoteFile, fetch

CONTENT = b"the file, as published\n" * 1_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Hostile(http.server.BaseHTTPRequestHandler):
    """Sends something else than it should, as the path asks for it."""

    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/good")
            self.end_headers()
            return
        length = {"/lying": len(CONTENT), "/odd": "many"}.get(self.path)
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        try:
            if self.path in ("/lying", "/longer"):
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
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        server.offer = lambda path: offer(
            monkeypatch, f"http://127.0.0.1:{server.server_port}{path}"
        )
        yield server
        server.shutdown()
        thread.join()


def offer(monkeypatch, url):
    monkeypatch.setitem(FILES, "data.txt", RemoteFile((url,), SHA256, len(CONTENT)))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/lying", "its sha256 is not the expected one"),
        ("/longer", "its sha256 is not the expected one"),
        ("/short", "its sha256 is not the expected one"),
        ("/odd", "many"),
        ("/moved", "ftp://"),
    ],
)
def test_a_server_that_sends_something_else_gets_nothing_in(path, told, server, place):
    server.offer(path)
    with pytest.raises(DataError, match=re.escape(told)):
        fetch("data.txt")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
def test_every_address_is_one_of_https(name):
    assert all(url.startswith("https://") for url in FILES[name].urls)
