"""Files, folders, globs, URLs, standard input and lines of text to uploads."""

import codecs
import glob
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from fnmatch import fnmatch
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, cast
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import click

from model_interface.files import Upload, guess_media_type
from tools.predict_storage import is_stored, is_url, list_stored, open_file

CONNECT_TIMEOUT = 10  # seconds, for a URL to connect or to send its next bytes
FETCH_TIMEOUT = 30  # seconds, for all of a URL


class InputError(Exception):
    """The reason, in a sentence, why an input has no answer."""


def is_table(name: str) -> bool:
    """Return whether a file is a table of many inputs: Parquet or tar."""
    is_fetched = is_url(name) and not is_stored(name)
    return name.endswith((".parquet", ".tar")) and not is_fetched


def is_input(name: str, accepts: str) -> bool:
    """Return whether a file is a table, or of a type that the model accepts."""
    return is_table(name) or fnmatch(guess_media_type(name), accepts)


def expand_sources(sources: Iterable[str], accepts: str) -> Iterator[str]:
    """Yield the name of every file; of a folder, tables and what a model accepts."""
    for source in sources:
        if is_stored(source):
            yield from list_stored(source, partial(is_input, accepts=accepts))
        elif not is_url(source) and os.path.isdir(source):
            for path in sorted(Path(source).rglob("*")):
                if is_input(path.name, accepts) and path.is_file():
                    yield str(path)
        elif is_url(source) or os.path.exists(source) or not glob.has_magic(source):
            yield source
        else:
            yield from sorted(glob.glob(source, recursive=True)) or [source]


def read_lines(names: Iterable[str]) -> dict[str, Upload]:
    """Return the lines of text files that are not empty, by names like a.txt:12."""
    lines = {}
    for name in names:
        try:
            data = read_source(name).data
        except (InputError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise click.ClickException(f"{name}: {reason}") from None
        texts = data.removeprefix(codecs.BOM_UTF8).splitlines()
        for number, text in enumerate(texts, start=1):
            if text.strip():
                lines[f"{name}:{number}"] = Upload(text, "text/plain")
    return lines


def read_source(name: str, max_bytes: int = -1) -> Upload:
    """Read a file, a URL or, for -, standard input; -1 is no limit.

    Raises InputError, or OSError for a file that cannot be read.
    """
    read = _fetch if is_url(name) else _read
    try:
        return Upload(read(name, max_bytes), guess_media_type(name))
    except HTTPError as error:
        with error:
            raise InputError(f"It cannot be fetched: {error}.") from None
    except URLError as error:
        raise InputError(f"It cannot be fetched: {error.reason}.") from None
    except (HTTPException, ValueError) as error:
        raise InputError(f"It cannot be fetched: {error}.") from None


def check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes >= 0:
        raise InputError(f"It has over {max_bytes:,} bytes.")


def _open(name: str) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    if name.startswith(("http://", "https://")):
        return cast(BinaryIO, urlopen(name, timeout=CONNECT_TIMEOUT))
    return open_file(name)


def _read(name: str, max_bytes: int) -> bytes:
    with _open(name) as stream:
        data = stream.read(max_bytes + 1 or -1)
    check_size(len(data), max_bytes)
    if length := getattr(stream, "length", None):  # what a URL has announced
        raise InputError(f"It cannot be fetched: {length:,} bytes are missing.")
    return data


def _fetch(url: str, max_bytes: int) -> bytes:
    """Read a URL within FETCH_TIMEOUT, its redirects and headers included."""
    # A socket's own timeout restarts with every byte. The thread may stay behind, but
    # as a daemon it does not keep the process running.
    result: Future[bytes] = Future()

    def run() -> None:
        try:
            result.set_result(_read(url, max_bytes))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return result.result(FETCH_TIMEOUT)
    except TimeoutError:
        problem = f"Fetching it takes over {FETCH_TIMEOUT:g} s."
        raise InputError(problem) from None
