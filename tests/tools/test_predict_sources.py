"""Sources of `flask predict`: what a folder holds, and the limits of a URL."""

import socket
import threading
import time
from contextlib import suppress

import click
import pytest
from werkzeug.wrappers import Response

from tests.support.images import make_image
from tools import predict_sources
from tools.predict_sources import InputError, expand_sources, read_lines, read_source


def test_folder_expands_to_the_files_that_the_model_accepts(folder):
    images = [str(path) for path in sorted(folder.rglob("*.[pw]*"))]
    assert list(expand_sources([str(folder)], "image/*")) == images
    assert list(expand_sources([str(folder)], "text/plain")) == [f"{folder}/notes.txt"]


def test_sources_that_are_no_folder_are_kept(folder):
    odd = folder / "odd[1].png"
    odd.write_bytes(b"")
    sources = [str(odd), "-", "missing.png", "missing*.png", "http://host/*.png"]
    assert list(expand_sources(sources, "image/*")) == sources


def test_lines_that_are_not_empty_are_inputs(tmp_path):
    path = tmp_path / "reviews.txt"
    path.write_bytes(b"\xef\xbb\xbfgood\r\n\n \nbad: \xff\n")
    lines = {name: upload.data for name, upload in read_lines([str(path)]).items()}
    assert lines == {f"{path}:1": b"good", f"{path}:4": b"bad: \xff"}
    with pytest.raises(click.ClickException, match="none.txt: No such file"):
        read_lines([str(path), "none.txt"])


def test_url_is_fetched_within_a_limit_of_bytes(serve):
    bodies = {"/a.png": make_image(9, 9), "/large": bytes(10_001)}

    def app(environ, start):
        body = bodies.get(environ["PATH_INFO"])
        return Response(body, 200 if body else 404)(environ, start)

    url = serve(app)
    assert read_source(f"{url}/a.png", 10_000).data == bodies["/a.png"]
    problems = {
        f"{url}/large": "It has over 10,000 bytes",
        f"{url}/none": "It cannot be fetched: HTTP Error 404",
        "http://127.0.0.1:9/a.png": "It cannot be fetched: .*refused",
        "http://[": "It cannot be fetched: ",
    }
    for source, problem in problems.items():
        with pytest.raises(InputError, match=problem):
            read_source(source, 10_000)


RAW = "a server that sends raw bytes"


def raw_server(*parts: bytes) -> str:
    """Serve one connection that gets the parts, one every 0.1 s, whatever it asks."""

    def send(listener):
        connection, _ = listener.accept()
        with listener, connection, suppress(OSError):
            connection.recv(1000)
            for part in parts:
                connection.sendall(part)
                time.sleep(0.1)

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=send, args=[listener], name=RAW, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.attack(17)
def test_url_whose_headers_never_end_is_given_up(monkeypatch):
    monkeypatch.setattr(predict_sources, "FETCH_TIMEOUT", 0.5)
    url = raw_server(b"HTTP/1.1 200 OK\r\n", *[b"X-Drip: drip\r\n"] * 90)
    with pytest.raises(InputError, match="Fetching it takes over 0.5 s"):
        read_source(url, 10_000)
    # The server has not sent all of them, which takes nine seconds.
    assert RAW in [thread.name for thread in threading.enumerate()]


@pytest.mark.attack(17)
def test_url_that_sends_less_than_it_announced_has_no_answer():
    url = raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    with pytest.raises(InputError, match="It cannot be fetched: .*"):
        read_source(url, 10_000)


@pytest.mark.attack(17)
def test_url_that_never_ends_is_given_up(serve, monkeypatch):
    def drip():
        while True:
            yield b"0"
            time.sleep(0.1)

    monkeypatch.setattr(predict_sources, "FETCH_TIMEOUT", 0.5)
    with pytest.raises(InputError, match="Fetching it takes over 0.5 s"):
        read_source(serve(Response(drip())), 10_000)
