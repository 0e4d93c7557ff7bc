"""Files here, on S3, on Google Cloud or wherever else pyarrow finds a file system."""

import glob
import importlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache
from typing import Any, BinaryIO, cast

import click

BUFFER = 8_000_000  # bytes of one request to a bucket, for a file that is read in order
PART = ".part"  # the end of the name of a file that is being written


def arrow(module: str) -> Any:
    """Import a module of pyarrow, an optional package."""
    try:
        return importlib.import_module(f"pyarrow.{module}")
    except ModuleNotFoundError:
        problem = "Parquet and buckets need pyarrow: make extras GROUP=tables."
        raise click.ClickException(problem) from None


def is_url(source: str) -> bool:
    return "://" in source


def is_stored(source: str) -> bool:
    """Return whether a source is in a bucket, such as s3://bucket/cat.jpg."""
    return is_url(source) and not source.startswith(("http://", "https://"))


def locate(name: str) -> tuple[Any, str]:
    """Return the file system of a path or URL, and the path within it."""
    if not is_stored(name):
        return arrow("fs").LocalFileSystem(), os.path.abspath(name)
    scheme, _, path = name.partition("://")
    host, _, rest = path.partition("/")
    filesystem, root = _connect(f"{scheme}://{host}/")
    return filesystem, f"{root.rstrip('/')}/{rest}".rstrip("/")


@contextmanager
def stored(name: str) -> Iterator[None]:
    """End the command with a sentence where a folder or bucket cannot be used."""
    try:
        yield
    except (OSError, ValueError) as error:  # pyarrow's own are ValueErrors.
        reason = getattr(error, "strerror", None) or error
        raise click.ClickException(f"{name} cannot be used: {reason}") from None


@cache  # A new client asks for the region of its bucket first.
def _connect(root: str) -> tuple[Any, str]:
    return cast(tuple[Any, str], arrow("fs").FileSystem.from_uri(root))


def open_file(name: str) -> BinaryIO:
    """Open a file for reading; a bucket's is read in large pieces."""
    if not is_stored(name):
        return open(name, "rb")
    filesystem, path = locate(name)
    file = filesystem.open_input_file(path)
    return io.BufferedReader(file, min(BUFFER, max(file.size(), 1)))


def list_stored(source: str, accepts: Callable[[str], bool]) -> Iterator[str]:
    """Yield the URLs of a folder's files, of a glob's, or of a single file.

    In a glob, * also stands for slashes.
    """
    with stored(source):
        filesystem, path = locate(source)
        prefix = source.rstrip("/").removesuffix(path)
        pattern = path if glob.has_magic(path) else ""
        while glob.has_magic(path):
            path = path.rpartition("/")[0]
        kinds = arrow("fs").FileType
        if not pattern and filesystem.get_file_info(path).type != kinds.Directory:
            yield source
            return
        found = filesystem.get_file_info(arrow("fs").FileSelector(path, recursive=True))
    for info in sorted(found, key=lambda info: info.path):
        fits = fnmatch(info.path, pattern) if pattern else accepts(info.path)
        if fits and info.type == kinds.File:
            yield prefix + info.path


def save(name: str, data: bytes) -> None:
    """Write a file that appears whole, also if the process is killed."""
    filesystem, path = locate(name)
    folder, _, file = path.rpartition("/")
    part = f"{folder}/.{file}{PART}"
    filesystem.create_dir(folder)
    with filesystem.open_output_stream(part) as stream:
        stream.write(data)
    filesystem.move(part, path)
