"""Answers to lines of JSON, CSV or text, in a file that a later run continues."""

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import click

from model_interface.files import guess_media_type
from tools.predict_files import FileOutput, FolderOutput
from tools.predict_parts import SUFFIXES, PartsOutput
from tools.predict_storage import is_url

FORMATS = ("jsonl", "csv", "text")
EXTENSIONS = {".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv", ".txt": "text"}
# Names in CSV and text: without these characters, each answer is one line.
ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def escape(name: str) -> str:
    """Write a name on one line: a line break in it as \\n, a tab as \\t."""
    return name.translate(ESCAPES)


def open_output(path: str | None, format: str | None) -> "AnyOutput":
    """Return a folder, a file of one answer's own type, or rows of answers."""
    suffix = Path(path or "").suffix.lower()
    is_folder = path is not None and (path.endswith("/") or os.path.isdir(path))
    is_parts = suffix == ".parquet" or is_url(path or "")
    is_parts = is_parts or (is_folder and suffix in SUFFIXES)
    is_media = guess_media_type(path or "").startswith(("image/", "audio/", "video/"))
    if format and (is_folder or is_media or is_parts):
        problem = f"--format {format} is for lines of answers: {path} holds files."
        raise click.UsageError(problem)
    if path and is_parts:
        return PartsOutput(path)
    if path and is_folder:
        return FolderOutput(Path(path))
    if path and suffix not in ("", ".text", *EXTENSIONS) and not format:
        return FileOutput(Path(path))
    return Output(Path(path) if path else None, format)


class Output:
    """A file of answers, or standard output.

    Each line is written at once and whole, so an incomplete last line comes from a run
    that was killed: it is cut off, and its input is run again.
    """

    takes_files = False

    def __init__(self, path: Path | None, format: str | None) -> None:
        extension = path.suffix.lower() if path else ""
        self.format = format or EXTENSIONS.get(extension, "text")
        self.is_terminal = path is None and sys.stdout.isatty()
        self._columns: list[str] = []  # of CSV
        self._done: set[str] = set()  # names as they are written in the file
        self._path = path
        self._file: IO[bytes] = self._open(path) if path else sys.stdout.buffer

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not sys.stdout.buffer:
            self._file.close()

    def plan(self, names: Iterable[str], sources: Sequence[str]) -> list[str]:
        """Return all inputs: each of them can get a line."""
        return list(names)

    def has_answer(self, name: str) -> bool:
        """Return whether the file held an answer for an input before this run."""
        return self._written(name) in self._done

    def write(self, name: str, answer: dict[str, Any]) -> None:
        name = self._written(name)
        if self.format == "jsonl":
            line = json.dumps({"input": name} | answer) + "\n"
        elif self.format == "text":
            line = f"{name}\t{_one_line(next(iter(answer.values())))}\n"
        else:
            line = self._csv_row({"input": name} | answer)
        try:
            # The bytes of a name that is not UTF-8 are written as they are.
            self._file.write(line.encode(errors="surrogateescape"))
            self._file.flush()
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends quietly, for `| head`.
                raise
            file = self._path or "Standard output"
            problem = f"{file} cannot be written: {error.strerror}."
            raise click.ClickException(problem) from None

    def _written(self, name: str) -> str:
        return name if self.format == "jsonl" else escape(name)

    def _csv_row(self, values: dict[str, Any]) -> str:
        """Return a row, the first one below the names of the columns."""
        rows = [] if self._columns else [list(values)]
        self._columns = self._columns or list(values)
        rows.append([_one_line(values.get(column, "")) for column in self._columns])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue()

    def _open(self, path: Path) -> IO[bytes]:
        try:
            if path.is_file():  # and not a pipe or a device
                self._resume(path)
            return path.open("ab", buffering=0)
        except OSError as error:
            raise click.FileError(str(path), error.strerror) from None

    def _resume(self, path: Path) -> None:
        """Read which inputs have an answer; cut off an incomplete last line."""
        csv.field_size_limit(2**31 - 1)  # The default is too low for an image.
        with path.open("rb+") as file:
            end = 0
            for line in file:
                if line.endswith(b"\n"):
                    end += len(line)
                    self._read_line(line.decode(errors="surrogateescape"), path)
            file.truncate(end)

    def _read_line(self, line: str, path: Path) -> None:
        try:
            if self.format == "jsonl":
                self._done.add(json.loads(line)["input"])
            elif self.format == "text":
                self._done.add(line[: line.index("\t")])
            elif self._columns:
                self._done.add(next(csv.reader([line]))[0])
            else:
                self._columns = next(csv.reader([line]))
                self._columns.index("input")
        except (ValueError, LookupError, TypeError, csv.Error):
            problem = (
                f"{path} has a line that is not an answer in the format {self.format}."
            )
            raise click.ClickException(problem) from None


def _one_line(value: Any) -> str:
    return " ".join((value if isinstance(value, str) else json.dumps(value)).split())


AnyOutput = Output | PartsOutput | FolderOutput | FileOutput
