"""What answers `flask predict`: the model in this process, or a server that has it."""

import json
import math
import mimetypes
import os
import sys
import time
import urllib.error
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import click
from flask import current_app
from PIL import Image
from werkzeug.datastructures import MultiDict

from endpoint import answers
from endpoint.uploads import Upload
from endpoint.batcher import Entry, Worker

PATIENCE = 600  # seconds for a batch, or for a server that is full or loading
FETCHING = 30  # seconds to fetch an address
FETCHERS = 16  # addresses that are fetched at the same time
CLIENTS = 64  # requests that a server holds at the same time, to batch them


class Refused(Exception):
    """A sentence that tells why there is no answer to an input."""


class Engine(NamedTuple):
    """What answers: `begin` takes an input's name, `end` what that returned.

    Each runs in so many threads; `at_once` inputs are on their way at the same time.
    """

    begin: Callable[[str], Any]
    end: Callable[[Any], dict[str, Any]]
    served: dict[str, Any]
    threads: int
    at_once: int


def here(fields: MultiDict, sources: list[str]) -> Engine:
    """Load the model into this process, behind the same worker that HTTP has."""
    from endpoint.app import load  # It imports the commands.

    # OpenMP's threads wait by spinning, on the very cores that decode the next inputs:
    # less of it gains a tenth here, and costs HTTP a twentieth of a lone answer's time.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    app = current_app._get_current_object()
    make = partial(load, app, app.config["APP"])
    worker = Worker(make, sys.maxsize, PATIENCE, app.config["MAX_BATCH"])
    worker.start()
    while worker.health()[0] != "ready":  # A failure ends the process.
        time.sleep(0.02)
    most = app.config["MAX_CONTENT_LENGTH"]

    def begin(name: str) -> Entry:
        return worker.submit(Upload(read(name, most), media_type(name), fields))

    def end(entry: Entry) -> dict[str, Any]:
        answer = worker.model.encode(entry.result())
        if isinstance(answer, Image.Image):
            answer = answers.png(answer)
        return answers.item(answer)

    # More threads than cores would only hand the interpreter from one to the other.
    fetches = any("://" in source for source in sources)
    threads = FETCHERS if fetches else min(os.cpu_count() or 1, FETCHERS)
    # While a batch runs, the next one waits and another is decoded.
    return Engine(begin, end, app.extensions["served"], threads, 3 * worker.max_batch)


def there(url: str, api_key: str | None, fields: MultiDict) -> Engine:
    """Wait until a server is ready; ask it over HTTP."""
    headers = {"Accept": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    most = current_app.config["MAX_CONTENT_LENGTH"]
    query = urlencode([*fields.items(True)])
    until = time.monotonic() + PATIENCE
    try:
        while (served := _send(Request(url, headers=headers)))["state"] == "loading":
            if time.monotonic() > until:
                raise Refused("it is still loading")
            time.sleep(1)
    except (OSError, ValueError, KeyError, TypeError, Refused) as error:
        raise click.ClickException(f"No endpoint answers at {url}: {error}") from None

    def begin(name: str) -> dict[str, Any]:
        sent = headers | {"Content-Type": media_type(name)}
        return _send(Request(f"{url}/predict?{query}", read(name, most), sent))

    return Engine(begin, dict, served, CLIENTS, CLIENTS)


def _send(request: Request) -> dict[str, Any]:
    """Return a server's answer; ask one that is full or not ready again."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(request, timeout=PATIENCE) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                wait = error.headers["Retry-After"] or ""
                if not wait.isdecimal() or time.monotonic() > until:
                    raise _refusal(error) from None
            time.sleep(min(int(wait), 10))


def _refusal(error: urllib.error.HTTPError) -> Exception:
    """Return the server's own sentence; without the right key there is no use."""
    try:
        sentence = json.load(error)["detail"]
    except (ValueError, KeyError, TypeError):
        sentence = f"{error.code} {error.reason}"
    return (click.ClickException if error.code == 401 else Refused)(sentence)


def read(name: str, most: int) -> bytes:
    """Return the bytes of a file, an address or, for -, of standard input."""
    data, until = bytearray(), math.inf
    try:
        if name == "-":
            stream = sys.stdin.buffer
        elif name.startswith(("http://", "https://")):
            until = time.monotonic() + FETCHING
            stream = urlopen(name, timeout=10)
        else:
            stream = open(name, "rb")
        with stream:
            while part := stream.read1(1 << 16):
                data += part
                if len(data) > most:
                    raise Refused(f"It has over {most:,} bytes.")
                if time.monotonic() > until:
                    raise Refused(f"It takes over {FETCHING} s to fetch.")
    except urllib.error.HTTPError as error:
        with error:
            raise Refused(f"{error}.") from None
    except (HTTPException, ValueError) as error:
        raise Refused(f"It cannot be fetched: {error}.") from None
    return bytes(data)


def media_type(name: str) -> str:
    # Not strict: Python counts WEBP among the types that are merely common.
    return mimetypes.guess_type(name, strict=False)[0] or Upload.media_type
