import functools
import hashlib
import http.server
import os
import re
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.data import download as cache
from benchmarks.data.download import FILES, DataError, RemoteFile, cache_folder, fetch, read_member

CONTENT = b"the file, as published\n" * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.SimpleHTTPRequestHandler):
    requests: list[str]

    def do_GET(self):
        self.requests.append(self.path)
        if self.path == "/silent":
            time.sleep(3)
        else:
            super().do_GET()

    def copyfile(self, source, outputfile):
        while piece := source.read(100_000):  # slowly, for two clients to overlap
            outputfile.write(piece)
            time.sleep(0.02)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty cache folder that does not exist yet."""
    monkeypatch.setenv("ORTHORNN_DATA", str(tmp_path / "deep" / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "deep" / "cache"


@pytest.fixture
def server(tmp_path, monkeypatch, place):
    """A server with the file ``good`` and a table whose one file, ``data.txt``, comes from it."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "good").write_bytes(CONTENT)
    (tmp_path / "www" / "bad").write_bytes(CONTENT[:-1] + b"!")
    handler = type("Handler", (Handler,), {"requests": []})
    serve = functools.partial(handler, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        server.requests = handler.requests
        server.url = f"http://127.0.0.1:{server.server_port}"
        set_urls(monkeypatch, f"{server.url}/good")
        yield server
        server.shutdown()
        thread.join()


def set_urls(monkeypatch, *urls):
    monkeypatch.setitem(FILES, "data.txt", RemoteFile(urls, SHA256, len(CONTENT)))


@pytest.fixture
def nowhere(monkeypatch, place):
    """A table whose one file comes from a port on which nobody listens."""
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/good"
    set_urls(monkeypatch, url)
    return url


def test_file_is_downloaded_once(server, place):
    assert fetch("data.txt") == place / "data.txt"
    assert (place / "data.txt").read_bytes() == CONTENT
    server.requests.clear()
    assert fetch("data.txt") == place / "data.txt"
    assert server.requests == []


def test_cached_file_needs_no_network(server, place, monkeypatch):
    fetch("data.txt")
    set_urls(monkeypatch, "http://127.0.0.1:1/good")
    assert fetch("data.txt").read_bytes() == CONTENT


def test_file_placed_by_hand_needs_no_network(nowhere, place):
    place.mkdir(parents=True)
    (place / "data.txt").write_bytes(CONTENT)
    assert fetch("data.txt") == place / "data.txt"


def test_nothing_but_the_file_is_left_in_the_cache(server, place):
    fetch("data.txt")
    assert [path.name for path in place.iterdir()] == ["data.txt"]


def test_wrong_checksum_leaves_nothing_behind(server, place, monkeypatch):
    set_urls(monkeypatch, f"{server.url}/bad")
    with pytest.raises(DataError, match="sha256 is not the expected one"):
        fetch("data.txt")
    assert list(place.iterdir()) == []


def test_next_address_is_tried_where_one_fails(server, monkeypatch):
    set_urls(monkeypatch, f"{server.url}/absent", f"{server.url}/bad", f"{server.url}/good")
    assert fetch("data.txt").read_bytes() == CONTENT
    assert server.requests == ["/absent", "/bad", "/good"]


def test_without_network_the_message_says_how_to_place_the_file(nowhere, place):
    with pytest.raises(DataError) as refusal:
        fetch("data.txt")
    message = str(refusal.value)
    assert "\n" not in message
    assert message.startswith("data.txt is not in the cache")
    assert f"{nowhere} (ConnectionRefusedError:" in message
    assert f"save it ({len(CONTENT):,} bytes, sha256 {SHA256}) as {place / 'data.txt'}" in message


def test_every_address_that_failed_is_named_with_its_reason(server, monkeypatch):
    set_urls(monkeypatch, f"{server.url}/absent", f"{server.url}/bad")
    with pytest.raises(DataError) as refusal:
        fetch("data.txt")
    assert re.search(r"/absent \(HTTPError: 404 .*/bad \(its sha256 is not", str(refusal.value))


def test_silent_server_is_given_up_after_the_timeout(server, monkeypatch):
    monkeypatch.setattr(cache, "TIMEOUT_SECONDS", (5, 0.2))
    set_urls(monkeypatch, f"{server.url}/silent")
    started = time.monotonic()
    with pytest.raises(DataError, match=r"/silent \(TimeoutError"):
        fetch("data.txt")
    assert time.monotonic() - started < 2.5


def test_timeout_is_bounded():
    assert all(0 < seconds <= 60 for seconds in cache.TIMEOUT_SECONDS)


def test_damaged_file_is_replaced_with_a_warning(server, place):
    place.mkdir(parents=True)
    (place / "data.txt").write_bytes(CONTENT[:100])
    with pytest.warns(UserWarning, match=r"data\.txt is damaged .* downloading it again"):
        fetch("data.txt")
    assert (place / "data.txt").read_bytes() == CONTENT


def test_damaged_file_without_network_is_an_error(nowhere, place):
    place.mkdir(parents=True)
    (place / "data.txt").write_bytes(CONTENT[:100])
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(DataError, match="could not be downloaded"),
    ):
        fetch("data.txt")


def test_folder_in_the_place_of_the_file_is_an_error(server, place):
    (place / "data.txt").mkdir(parents=True)
    with pytest.raises(DataError, match="IsADirectoryError"):
        fetch("data.txt")
    assert list((place / "data.txt").iterdir()) == []


def test_cache_that_is_no_folder_is_an_error(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ORTHORNN_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match=f"as {tmp_path / 'file' / 'data.txt'}"):
        fetch("data.txt")


def test_two_at_once_both_get_the_whole_file(server, place):
    together = threading.Barrier(4)

    def read(_):
        together.wait()
        return fetch("data.txt").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(read, range(4))) == {CONTENT}
    assert len(server.requests) > 1
    assert [path.name for path in place.iterdir()] == ["data.txt"]


def test_file_never_stands_in_the_cache_half_written(server, place):
    target, sizes = place / "data.txt", set()
    with ThreadPoolExecutor(1) as pool:
        download = pool.submit(fetch, "data.txt")
        while not download.done():
            if target.exists():
                sizes.add(target.stat().st_size)
    assert sizes <= {len(CONTENT)}


def test_unknown_name_lists_the_choices(place):
    with pytest.raises(DataError, match=r"file must be one of \['ptb.test.txt', .*, got 'ptb'"):
        fetch("ptb")


def test_cache_is_the_systems_unless_overridden(monkeypatch, tmp_path):
    monkeypatch.setenv("ORTHORNN_DATA", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("ORTHORNN_DATA", "~/texts")
    assert str(cache_folder()) == os.path.expanduser("~/texts")  # noqa: PTH111
    monkeypatch.setenv("ORTHORNN_DATA", "")
    assert cache_folder().name == "orthornn"
    monkeypatch.delenv("ORTHORNN_DATA")
    assert cache_folder().name == "orthornn"


@pytest.mark.parametrize("name", FILES)
def test_table_is_complete(name):
    file = FILES[name]
    assert re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert file.size > 0
    assert file.urls
    assert all(re.match(r"https://[^ ]+\.(txt|zip|gz)$", url) for url in file.urls)


def archive(place, monkeypatch, write):
    place.mkdir(parents=True)
    write(place / "data.zip")
    sha256 = hashlib.sha256((place / "data.zip").read_bytes()).hexdigest()
    monkeypatch.setitem(FILES, "data.zip", RemoteFile(("http://127.0.0.1:1/",), sha256, 1))


def test_member_of_an_archive_is_read_without_unpacking(place, monkeypatch):
    def write(path):
        with zipfile.ZipFile(path, "w") as made:
            made.writestr("../../evil", b"outside")
            made.writestr("inner/text", CONTENT)

    archive(place, monkeypatch, write)
    assert read_member("data.zip", "inner/text") == CONTENT
    assert [path.name for path in place.iterdir()] == ["data.zip"]
    with pytest.raises(DataError, match=r"data\.zip has no member 'inner/other'"):
        read_member("data.zip", "inner/other")


def test_broken_archive_is_an_error(place, monkeypatch):
    archive(place, monkeypatch, lambda path: path.write_bytes(CONTENT))
    with pytest.raises(DataError, match=r"data\.zip is not a readable zip archive"):
        read_member("data.zip", "inner/text")
