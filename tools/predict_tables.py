"""Rows of Parquet files and of tar shards, as WebDataset writes them, to uploads."""

import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from typing import Any, BinaryIO

from model_interface.files import OCTETS, Upload, guess_media_type
from tools.predict_sources import InputError, check_size, is_table, read_source
from tools.predict_storage import arrow, open_file

BATCH = 64  # rows of a Parquet file in memory
Rows = Iterator[tuple[str, Callable[[], Upload]]]


class TableReader:
    """Yield the inputs in a table, of files that a model accepts.

    In Parquet, `column` holds files, or their URLs or paths. In a tar, every file that
    the model accepts is an input. One of over `max_bytes` is an InputError.
    """

    def __init__(self, accepts: str, column: str, max_bytes: int) -> None:
        self.accepts, self.column, self.max_bytes = accepts, column, max_bytes

    def names(self, path: str) -> list[str]:
        """Return the names of a table's inputs; read no files from it."""
        if not is_table(path):
            return [path]
        with readable(), open_file(path) as file:
            if path.endswith(".tar"):
                return [f"{path}/{name}" for name, _ in self._members(file)]
            table = self._open(file)
            values: list[Any] = [None] * table.metadata.num_rows
            if arrow("types").is_string(table.schema_arrow.field(self.column).type):
                values = table.read([self.column])[0].to_pylist()
        return [self._name(path, *row) for row in enumerate(values, start=1)]

    def rows(self, path: str, is_wanted: Callable[[str], bool]) -> Rows:
        """Yield the name of each input that is wanted, and a function that reads it."""
        if is_table(path):
            rows = self._tar_rows if path.endswith(".tar") else self._parquet_rows
            with readable(), open_file(path) as file:
                yield from rows(path, file, is_wanted)
        elif is_wanted(path):
            yield path, partial(read_source, path, self.max_bytes)

    def _tar_rows(
        self, path: str, file: BinaryIO, is_wanted: Callable[[str], bool]
    ) -> Rows:
        for name, read in self._members(file):
            if is_wanted(name := f"{path}/{name}"):
                data = read(self.max_bytes + 1)
                yield name, partial(self._upload, data, guess_media_type(name))

    def _members(
        self, file: BinaryIO
    ) -> Iterator[tuple[str, Callable[[int], bytes | None]]]:
        """Yield the name of each input in a tar, and a function that reads it."""
        targets: dict[str, tarfile.TarInfo] = {}
        with tarfile.open(fileobj=file) as tar:
            for member in tar:
                # A hard link follows its file; tarfile itself would search all others.
                is_hard_link = member.islnk() and member.linkname in targets
                target = targets[member.linkname] if is_hard_link else member
                targets[member.name] = target
                is_input = fnmatch(guess_media_type(member.name), self.accepts)
                if is_input and not member.isdir():
                    yield member.name, partial(read_member, tar, target)

    def _parquet_rows(
        self, path: str, file: BinaryIO, is_wanted: Callable[[str], bool]
    ) -> Rows:
        number = 0
        for batch in self._open(file).iter_batches(BATCH, columns=[self.column]):
            for value in batch[0]:
                number, value = number + 1, value.as_py()
                if is_wanted(name := self._name(path, number, value)):
                    yield name, partial(self._read_value, value)

    def _open(self, file: BinaryIO) -> Any:
        table = arrow("parquet").ParquetFile(file)
        if self.column not in (columns := table.schema_arrow.names):
            known = ", ".join(columns)
            raise InputError(
                f"It has no column {self.column}; its columns are {known}."
            )
        return table

    def _name(self, path: str, number: int, value: Any) -> str:
        is_address = isinstance(value, str) and not self.accepts.startswith("text/")
        return value if is_address else f"{path}:{number}"

    def _read_value(self, value: Any) -> Upload:
        if isinstance(value, dict):  # an image as Hugging Face's data sets have it
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str) and self.accepts.startswith("text/"):
            value = value.encode()
        if isinstance(value, str):
            return read_source(value, self.max_bytes)
        if not isinstance(value, bytes):
            kind = type(value).__name__
            problem = f"The column {self.column} holds {kind}, not a file, URL or path."
            raise InputError(problem)
        return self._upload(value, OCTETS)

    def _upload(self, data: bytes | None, media_type: str) -> Upload:
        if data is None:
            raise InputError("It is a link to a file that is not in the tar.")
        check_size(len(data), self.max_bytes)
        return Upload(data, media_type)


def read_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, size: int
) -> bytes | None:
    """Return the first bytes of a file, None for a link to a file that is missing."""
    try:
        content = tar.extractfile(member)
    except KeyError:
        return None
    return content.read(size) if content else None


@contextmanager
def readable() -> Iterator[None]:
    """Raise InputError for a file that is no table."""
    try:
        yield
    except (tarfile.TarError, ValueError) as error:  # pyarrow's own are ValueErrors.
        raise InputError(f"It cannot be read: {error}") from None
